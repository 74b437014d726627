"""The report as one HTML file: nothing to fetch, nothing to run, light or dark as the reader's system is. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from backend.drills.compare import Comparison, sentence
from backend.drills.html_charts import duration, legend, load_chart
from backend.drills.html_style import STYLE
from backend.drills.report import FaultResult, Report

_TONES: Final[dict[str, str]] = {"pass": "good-tone", "fail": "bad-tone", "dirty": "bad-tone", "regression": "bad-tone"}
_PROVEN: Final = '<span class="pill pass">verified</span>'
_NOT_PROVEN: Final = '<span class="pill fail">not proven</span>'
_WORDS: Final[dict[str, str]] = {"pass": "holds", "fail": "failed", "unknown": "no proof"}


def html(report: Report) -> str:
    """The whole page."""
    body = "".join(
        (
            _banner(report),
            _tiles(report),
            _section("Over time", _charts(report)),
            _section("Faults", "".join(_fault(fault) for fault in report.faults)),
            _section("Requests", _requests(report)),
            _section("What was checked", _checks(report)),
            _section("Compared with an earlier run", _comparison(report.comparison)),
            _section("Not answered", _failed(report)),
            _section("Slowest answers", _slowest(report)),
            _section("Undo", _undo(report)),
            _section("Load generator", _generator(report)),
            _section("Plan and evidence", _plan(report)),
        )
    )
    title = escape(f"{report.name}: {report.outcome}")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head><body><main>{body}{_footer(report)}</main></body></html>\n"
    )


def _section(title: str, content: str) -> str:
    return f"<h2>{title}</h2>{content}" if content else ""


def _banner(report: Report) -> str:
    tone = _TONES.get(report.outcome, "warn-tone")
    seconds = 0.0 if report.ended_ts is None else report.ended_ts - report.started_ts
    began = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(report.started_ts))
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in report.reasons)
    return (
        f'<header class="banner {tone}"><div class="verdict">{escape(report.outcome)} · exit {report.exit_code}</div>'
        f'<h1>{escape(report.title)}</h1><p class="meta">{escape(report.name)} on {escape(report.fleet)} '
        f"({escape(report.environment)}) · {began} · {seconds:.0f} s · seed {report.seed}</p>"
        f"<ul>{reasons}</ul></header>"
    )


def _tiles(report: Report) -> str:
    loads = [load for phase in report.phases for load in phase.loads]
    arrivals = sum(load.arrivals for load in loads)
    lost = sum(load.failed + load.shed + load.wrong for load in loads)
    found = [(f"{arrivals:,}", "requests"), (f"{lost:,}", "not answered")]
    detected = [fault.detection_s for fault in report.faults if fault.detection_s is not None]
    back = [fault.recovery_s for fault in report.faults if fault.recovery_s is not None]
    if loads and arrivals:
        found.append((f"≥ {_percent(min(load.success_at_least for load in loads))}", "proven success, least phase"))
    if detected:
        found.append((duration(max(detected)), "slowest detection"))
    if back:
        found.append((duration(max(back)), "slowest recovery"))
    lags = [load.lag_p99_s for load in report.record.loads if load.lag_p99_s is not None]
    if lags:
        found.append((duration(max(lags)), "generator lag p99"))
    tiles = "".join(f'<div class="tile"><b>{value}</b><span>{label}</span></div>' for value, label in found)
    return f'<div class="tiles">{tiles}</div>'


def _charts(report: Report) -> str:
    shown = [series for series in report.series if series.points]
    return "".join(
        f'<div class="card"><h3 style="margin-top:0">{escape(series.load)}</h3>{load_chart(report, series)}'
        f"{legend(series)}</div>"
        for series in shown
    ) + (
        '<p class="meta">Half-second buckets by intended send. Upper part: time of answered requests; below: requests '
        "per second. The tinted span is a fault from its effect until everything was Ready.</p>"
        if shown
        else ""
    )


def _fault(fault: FaultResult) -> str:
    stamps = fault.stamps
    to_effect = (
        None if stamps.t_effective is None or stamps.t_command is None else stamps.t_effective - stamps.t_command
    )
    steps = (
        ("effective", to_effect, "effective after the command"),
        ("detected", fault.detection_s, "detected by the edge"),
        ("detected", fault.exposure_s, "last request sent to it"),
        ("recovered", fault.failover_s, "first answer of another"),
        ("recovered", fault.recovery_s, "Ready after undo" if stamps.t_healed else "Ready again"),
        ("recovered", fault.steady_s, "steady again"),
        ("injected", fault.undo_s, "undone and verified gone"),
    )
    items = "".join(
        f'<li class="{style}"><b>{duration(seconds)}</b><span>{label}</span></li>'
        for style, seconds, label in steps
        if seconds is not None
    )
    proof = "; ".join(stamps.evidence) or stamps.problem or "never injected"
    state = '<span class="pill pass">proven</span>' if stamps.verified else '<span class="pill unknown">unproven</span>'
    victims = ", ".join(stamps.victims) or stamps.target
    return (
        f'<div class="card"><p style="margin:0"><b>{escape(stamps.id)}</b> '
        f'<span class="soft">{escape(stamps.fault)} of {escape(victims)}</span> {state}</p>'
        f'<ul class="steps">{items}</ul>'
        f'<p class="meta" style="margin:0">{escape(proof)}</p></div>'
    )


def _requests(report: Report) -> str:
    head = ("phase", "load", *("#" + name for name in _COUNTS), "#proven success", "#p50", "#p95", "#p99", "#TTFT p95")
    rows = []
    for phase in report.phases:
        for load in phase.loads:
            counts = [getattr(load, name.replace(" ", "_")) for name in _COUNTS]
            cells = [escape(phase.name), escape(load.load)]
            cells += [_count(name, value) for name, value in zip(_COUNTS, counts, strict=True)]
            times = (load.latency.p50_s, load.latency.p95_s, load.latency.p99_s, load.ttft.p95_s)
            cells += [f"≥ {_percent(load.success_at_least)}", *(duration(value) for value in times)]
            rows.append(cells)
    proofs = "; ".join(
        f"{escape(phase.name)} {escape(load.load)}: {load.arrivals} without a failure prove ≥ {_percent(load.provable)}"
        for phase in report.phases
        for load in phase.loads
        if load.arrivals
    )
    return _table(head, rows) + (
        f'<p class="meta">Success is bounded from below at {_percent(report.confidence)} confidence (Clopper-Pearson). '
        f"What these samples can prove: {proofs}.</p>"
    )


_COUNTS: Final = ("arrivals", "ok", "slow", "wrong", "shed", "failed", "truncated", "retried", "spanning")
_BAD: Final = frozenset({"wrong", "shed", "failed", "truncated"})


def _count(name: str, value: int) -> str:
    style = "hot" if value and name in _BAD else "zero" if not value else ""
    return f'<span class="{style}">{value}</span>' if style else str(value)


def _checks(report: Report) -> str:
    rows = []
    for check in report.verdict.checks:
        values = ", ".join(
            f"{escape(text)} = {'no data' if value is None else f'{value:.4g}'}"
            for text, value in check.measured.items()
        )
        note = values or escape(check.note)
        pill = f'<span class="pill {check.result}">{_WORDS[check.result]}</span>'
        rows.append(
            [pill, escape(check.phase), f"<code>{escape(check.text)}</code>", f'<span class="soft">{note}</span>']
        )
    return _table(("", "phase", "check", "measured"), rows)


def _comparison(comparison: Comparison | None) -> str:
    if comparison is None:
        return ""
    name = f"<code>{escape(comparison.reference)}</code>"
    if comparison.not_comparable:
        return f"<p>Not comparable with {name}: {escape(comparison.not_comparable)}.</p>"
    rows = []
    for one in comparison.differences:
        pill = '<span class="soft">no change proven</span>'
        if one.regression:
            pill = '<span class="pill fail">worse</span>'
        elif one.improvement:
            pill = '<span class="pill pass">better</span>'
        rows.append([pill, escape(sentence(one))])
    return f"<p>Reference: {name}, the last run that passed.</p>" + _table(("", "difference"), rows)


def _failed(report: Report) -> str:
    if not report.failed:
        return "<p class='soft'>Every request was answered.</p>" if report.phases else ""
    rows = [
        [
            escape(one.phase),
            escape(one.load),
            f"<code>{escape(one.request_id)}</code>",
            escape(f"{one.outcome} {one.status if one.status > 0 else ''} {one.error or one.termination}".strip()),
            "after first byte" if one.began else "before first byte",
            duration(one.after_intended_s),
            escape(", ".join(one.spans)),
            escape("; ".join(one.attempts) or f"{one.edge_replica or '-'} {one.edge_termination or ''}".strip()),
        ]
        for one in report.failed
    ]
    return _table(("phase", "load", "request", "what", "when", "#after", "spans", "edge's attempts"), rows)


def _slowest(report: Report) -> str:
    rows = [
        [
            escape(one.phase),
            escape(one.load),
            f"<code>{escape(one.request_id)}</code>",
            duration(one.latency_s),
            duration(one.ttft_s),
            escape(one.replica or "-"),
            escape("; ".join(one.attempts) or (f"{one.retries} more" if one.retries else "first try")),
            escape(", ".join(one.spans)),
        ]
        for one in report.slowest
    ]
    return _table(("phase", "load", "request", "#took", "#TTFT", "replica", "attempts", "spans"), rows) if rows else ""


def _undo(report: Report) -> str:
    rows = [
        [
            _PROVEN if undo.verified else _NOT_PROVEN,
            escape(undo.id),
            escape(undo.what),
            escape(f"{undo.by}: {undo.detail}" if undo.by else undo.detail),
        ]
        for undo in report.record.undo
    ]
    return _table(("", "fault", "undo", "by"), rows) if rows else ""


def _generator(report: Report) -> str:
    rows = [
        [
            escape(load.name),
            f"{load.rate:.2f}/s",
            str(load.arrivals),
            str(load.rows),
            *(duration(value) for value in (load.lag_p50_s, load.lag_p99_s, load.lag_max_s)),
            escape(load.problem),
        ]
        for load in report.record.loads
    ]
    head = ("load", "#rate", "#arrivals", "#ended", "#lag p50", "#lag p99", "#lag max", "")
    return _table(head, rows) if rows else ""


def _plan(report: Report) -> str:
    plan = escape("\n".join(report.plan))
    facts = {**report.host, **report.versions, "clock": report.clock, "durability": report.durability}
    known = escape("\n".join(f"{name}: {value}" for name, value in facts.items()))
    return (
        f'<div class="card"><details open><summary>Plan</summary><pre>{plan}</pre></details>'
        f"<details><summary>Host and versions</summary><pre>{known}</pre></details></div>"
    )


def _footer(report: Report) -> str:
    return (
        f"<footer>Run <code>{escape(report.run_id)}</code> by {escape(report.actor)}. "
        f"Scenario <code>{report.scenario_digest[:16]}</code>, ledger <code>{report.ledger_digest[:16]}</code>. "
        "Each number here is computed again from the ledger by <code>trinity drill verify</code>.</footer>"
    )


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.2f} %" if ratio < 0.9995 else f"{100 * ratio:.3f} %"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A card with a table; columns whose title begins with `#` hold numbers. Cells are HTML."""
    numeric = [title.startswith("#") for title in head]
    titles = "".join(
        f"<th{' class=n' if number else ''}>{escape(title.lstrip('#'))}</th>"
        for title, number in zip(head, numeric, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(f"<td{' class=n' if number else ''}>{cell}</td>" for cell, number in zip(row, numeric, strict=True))
        + "</tr>"
        for row in rows
    )
    return f'<div class="card"><table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>'
