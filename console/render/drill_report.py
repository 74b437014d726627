"""The report of a drill run as lines: verdict, phases, faults, undo, checks, where it is. Pure; computes no number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

from backend.contract.words import DrillOutcome
from console.render import units
from console.render.description import field
from console.render.panels import wrapped
from console.render.spans import EMPTY, Line, Span, clean, fit_line, fit_text
from console.render.words import DRILLS, UNKNOWN
from console.state.drill_report import Check, Comparison, Difference, DrillReport, Fault, PhaseLoad
from console.state.table import Column, fit_columns

T = TypeVar("T")
PhaseRow = tuple[str, PhaseLoad]
RESULTS: Final[dict[str, Span]] = {"pass": ("✓", "ok"), "fail": ("✗", "error b"), "unknown": ("?", "warn")}
MEANINGS: Final[dict[str, str]] = {
    "pass": "every expectation held",
    "fail": "an expectation did not hold",
    "inconclusive": "it proves nothing: something was not measured, or no fault took effect",
    "aborted-clean": "ended early; every undo is verified",
    "baseline-failed": "the fleet was not well before any fault; nothing was injected",
    "dirty": "AN UNDO IS NOT VERIFIED: run `trinity drill recover`",
    "regression": "it held, and is worse than the run it is compared with",
    "refused": "a guard rail said no",
}


def outcome_span(outcome: str) -> Span:
    """Glyph and word of a verdict."""
    try:
        glyph, style = DRILLS[DrillOutcome(outcome)]
    except ValueError:
        glyph, style = UNKNOWN
    return (f"{glyph} {outcome}", style)


def banner_lines(report: DrillReport, width: int, now: float) -> list[Line]:
    """The verdict, unmistakable: glyph, word and meaning."""
    words, style = outcome_span(report.outcome)
    took = None if report.ended_ts is None else report.ended_ts - report.started_ts
    badge: Line = ((f" {words.upper()} ", f"{style.removesuffix(' b')} b r"), ("  ", "text"))
    ago = f"{units.age(now - report.started_ts)} ago"
    tail: Line = ((f"  {units.duration(took)}  {ago}" if width >= 60 else "", "muted"),)
    meaning = MEANINGS.get(report.outcome, "; ".join(report.reasons))
    return [
        fit_line((*badge, (clean(report.name), "text b"), *tail), width),
        fit_line(((clean(meaning), style if report.outcome != "pass" else "text"),), width),
    ]


def _share(value: float | None) -> str:
    """A proven share, rounded down: never more than was proven."""
    if value is None:
        return units.NOTHING
    percent = int(value * 100_000) / 1000
    return f"≥ {percent:.2f}%" if percent < 99.95 else f"≥ {percent:.3f}%"


def _number(value: int, style: str) -> Span:
    return (str(value), style if value else "faint")


PHASE_COLUMNS: Final[tuple[Column[PhaseRow], ...]] = (
    Column(
        key="phase", title="PHASE", width=10, flex=1, cell=lambda r, _: (clean(r[0]), "text b"), sort=lambda r: r[0]
    ),
    Column(key="load", title="LOAD", width=6, priority=8, cell=lambda r, _: (r[1].load, "muted"), sort=lambda r: r[0]),
    Column(
        key="arrivals",
        title="SENT",
        width=6,
        align="right",
        priority=3,
        cell=lambda r, _: (str(r[1].arrivals), "text"),
        sort=lambda r: r[1].arrivals,
    ),
    Column(
        key="ok",
        title="OK",
        width=6,
        align="right",
        priority=6,
        cell=lambda r, _: (str(r[1].ok), "text"),
        sort=lambda r: r[1].ok,
    ),
    Column(
        key="slow",
        title="SLOW",
        width=4,
        align="right",
        priority=9,
        cell=lambda r, _: _number(r[1].slow, "warn"),
        sort=lambda r: r[1].slow,
    ),
    Column(
        key="failed",
        title="FAILED",
        width=6,
        align="right",
        cell=lambda r, _: (f"✗ {r[1].failed}" if r[1].failed else "0", "error b" if r[1].failed else "ok"),
        sort=lambda r: r[1].failed,
    ),
    Column(
        key="shed",
        title="SHED",
        width=4,
        align="right",
        priority=7,
        cell=lambda r, _: _number(r[1].shed, "warn"),
        sort=lambda r: r[1].shed,
    ),
    Column(
        key="proven",
        title="PROVEN OK",
        width=10,
        align="right",
        priority=4,
        cell=lambda r, _: (_share(r[1].success_at_least), "text"),
        sort=lambda r: r[1].success_at_least,
    ),
    Column(
        key="p50",
        title="P50",
        width=7,
        align="right",
        priority=5,
        cell=lambda r, _: (units.latency(r[1].latency.p50_s), "text"),
        sort=lambda r: r[1].latency.p50_s,
    ),
    Column(
        key="p95",
        title="P95",
        width=7,
        align="right",
        priority=1,
        cell=lambda r, _: (units.latency(r[1].latency.p95_s), "text"),
        sort=lambda r: r[1].latency.p95_s,
    ),
    Column(
        key="p99",
        title="P99",
        width=7,
        align="right",
        priority=2,
        cell=lambda r, _: (units.latency(r[1].latency.p99_s), "text"),
        sort=lambda r: r[1].latency.p99_s,
    ),
    Column(
        key="ttft",
        title="TTFT P95",
        width=8,
        align="right",
        priority=10,
        cell=lambda r, _: (units.latency(r[1].ttft.p95_s), "text" if r[1].ttft.p95_s is not None else "faint"),
        sort=lambda r: r[1].ttft.p95_s,
    ),
)
FAULT_COLUMNS: Final[tuple[Column[Fault], ...]] = (
    Column(
        key="id",
        title="FAULT",
        width=8,
        flex=1,
        cell=lambda f, _: (clean(f.stamps.id), "text b"),
        sort=lambda f: f.stamps.id,
    ),
    Column(
        key="kind",
        title="KIND",
        width=14,
        flex=1,
        priority=4,
        cell=lambda f, _: (clean(f.stamps.fault), "text"),
        sort=lambda f: f.stamps.fault,
    ),
    Column(
        key="victim",
        title="VICTIM",
        width=11,
        flex=1,
        priority=5,
        cell=lambda f, _: (clean(f.stamps.replica or f.stamps.target), "muted"),
        sort=lambda f: f.stamps.replica,
    ),
    Column(
        key="effect",
        title="EFFECT",
        width=8,
        priority=3,
        cell=lambda f, _: ("✓ proven", "ok") if f.stamps.verified else ("? not", "warn"),
        sort=lambda f: str(f.stamps.verified),
    ),
    *(
        Column(
            key=name,
            title=title,
            width=8,
            align="right",
            priority=priority,
            cell=lambda f, _, name=name: (units.latency(getattr(f, f"{name}_s")), "text"),  # type: ignore[misc] # bound
            sort=lambda f, name=name: getattr(f, f"{name}_s"),  # type: ignore[misc] # bound now
        )
        for name, title, priority in (
            ("detection", "DETECTED", 0),
            ("exposure", "EXPOSED", 6),
            ("failover", "FAILOVER", 2),
            ("recovery", "RECOVERED", 1),
        )
    ),
)


def report_lines(report: DrillReport, paths: Sequence[tuple[str, str]], width: int) -> list[Line]:
    """The whole report; two columns where there is room for both."""
    head = wrapped(report.title, width, "muted") if report.title and report.title != report.name else []
    head.append(EMPTY)
    if width < 150:
        return [*head, *_proof(report, width), EMPTY, *_evidence(report, paths, width)]
    first = width * 6 // 10
    second = width - first - 3
    left, right = _proof(report, first), _evidence(report, paths, second)
    height = max(len(left), len(right))
    left += [EMPTY] * (height - len(left))
    right += [EMPTY] * (height - len(right))
    return [
        *head,
        *(
            (*fit_line(one, first), ("   ", "text"), *fit_line(other, second))
            for one, other in zip(left, right, strict=True)
        ),
    ]


def _proof(report: DrillReport, width: int) -> list[Line]:
    lines: list[Line] = [_heading("What users felt, phase by phase")]
    rows = [(phase.name, load) for phase in report.phases for load in phase.loads]
    lines += _table(PHASE_COLUMNS, rows, width, "no phase was run")
    lines += [EMPTY, _heading("Faults, seconds after the effect")]
    lines += _table(FAULT_COLUMNS, report.faults, width, "no fault was injected")
    wrong = [check for check in report.verdict.checks if check.result != "pass"]
    held = len(report.verdict.checks) - len(wrong)
    lines += [EMPTY, _heading("Why")]
    if not wrong or report.outcome not in ("fail", "inconclusive"):
        lines += [line for reason in report.reasons for line in wrapped(reason, width)]
    for check in wrong:
        lines += _check(check, width)
    if held:
        lines.append(((f"✓ {units.plural(held, 'check')} held", "ok"),))
    if report.comparison is not None:
        lines += [EMPTY, _heading("Compared with the last pass"), *_compared(report.comparison, width)]
    return lines


def _compared(comparison: Comparison, width: int) -> list[Line]:
    """The outcome of a comparison in a few lines."""
    if comparison.not_comparable:
        return _marked(("? ", "warn"), f"Not comparable: {comparison.not_comparable}.", width, "warn")
    if comparison.across:
        said = f"The drivers differ ({comparison.across}): differences are shown, none is judged."
        return _marked(("? ", "warn"), said, width, "warn")
    if not comparison.differences:
        return [(("the two runs have no phase and load in common", "faint"),)]
    worse = [one for one in comparison.differences if one.regression]
    better = sum(one.improvement for one in comparison.differences)
    lines = _marked(("↘ ", "error b"), f"{units.plural(len(worse), 'measure')} measurably worse", width, "error b")
    if not worse:
        said = f"none of {units.plural(len(comparison.differences), 'measure')} is measurably worse"
        lines = _marked(("= ", "ok"), said, width, "ok")
    for one in worse:
        words = f"{one.phase} {one.load} {one.measure}: {_measured(one, one.reference)} → {_measured(one, one.current)}"
        lines += _marked(("↘ ", "error b"), words.strip(), width, "text")
    if better:
        lines.append(((f"↗ {units.plural(better, 'measure')} measurably better", "ok"),))
    return lines


def _heading(text: str) -> Line:
    return ((text, "accent b"),)


def _evidence(report: DrillReport, paths: Sequence[tuple[str, str]], width: int) -> list[Line]:
    lines: list[Line] = [_heading("Undo")]
    for undo in report.record.undo:
        glyph: Span = ("✓ ", "ok") if undo.verified else ("✗ ", "error b")
        word = "undone" if undo.verified else "NOT VERIFIED"
        by = f" by the {undo.by}" if undo.by else ""
        text = f"{undo.what}: {word}{by}{f'; {undo.detail}' if undo.detail else ''}"
        lines += _marked(glyph, text, width, "text" if undo.verified else "error")
    if not report.record.undo:
        lines.append((("there was nothing to undo", "faint"),))
    evidence = [(fault.stamps.id, text) for fault in report.faults for text in fault.stamps.evidence]
    if evidence:
        lines += [EMPTY, _heading("Evidence that the faults were real")]
        for name, text in evidence:
            lines += _marked(("• ", "muted"), f"{name}: {text}", width, "text")
    for load in report.record.loads:
        lag = units.latency(load.lag_p99_s)
        lines += [EMPTY, _heading(f"Load {clean(load.name)}")]
        lines += wrapped(f"{load.arrivals} arrivals called for, {load.rows} ended; generator lag p99 {lag}", width)
    lines += [EMPTY, _heading("The run"), *_origin(report, paths, width)]
    return lines


def _origin(report: DrillReport, paths: Sequence[tuple[str, str]], width: int) -> list[Line]:
    pairs = [
        ("run", report.run_id),
        ("by", f"{report.actor} on {report.fleet} ({report.environment})"),
        ("seed", f"{report.seed}, scenario {report.scenario_digest[:12]}"),
        ("durability", report.durability or units.NOTHING),
        *paths,
    ]
    lines: list[Line] = []
    for label, value in pairs:
        words = wrapped(value, max(10, width - 14))
        lines += [field(label if at == 0 else "", *line) for at, line in enumerate(words)]
    return lines


def _marked(glyph: Span, text: str, width: int, style: str) -> list[Line]:
    words = wrapped(text, max(8, width - 2), style)
    return [((glyph if at == 0 else ("  ", "text")), *line) for at, line in enumerate(words)]


def _check(check: Check, width: int) -> list[Line]:
    glyph, style = RESULTS.get(check.result, UNKNOWN)
    values = ", ".join(
        f"{name} = {'no data' if value is None else f'{value:.4g}'}" for name, value in check.measured.items()
    )
    where = f"{check.phase}: " if check.phase else ""
    tail = f" ({values or check.note})" if values or check.note else ""
    return _marked((f"{glyph} ", style), f"{where}{check.text}{tail}", width, style.removesuffix(" b"))


def _measured(one: Difference, value: float) -> str:
    return f"{value:g}" if one.measure == "failures" else units.latency(value)


def _change(one: Difference) -> Span:
    """The interval of the change, or how likely chance alone would do it."""
    if one.low is not None and one.high is not None:
        return (f"{round(one.low * 1000):+d} to {round(one.high * 1000):+d} ms", "text")
    if one.p_value is not None:
        return (f"p = {one.p_value:.2g}", "muted")
    return ("one sample each", "faint")


def _judged(one: Difference) -> Span:
    if one.regression:
        return ("↘ worse", "error b")
    return ("↗ better", "ok") if one.improvement else ("= same", "muted")


DIFFERENCE_COLUMNS: Final[tuple[Column[Difference], ...]] = (
    Column(
        key="phase",
        title="PHASE",
        width=9,
        flex=1,
        cell=lambda d, _: (clean(d.phase), "text b"),
        sort=lambda d: d.phase,
    ),
    Column(
        key="load",
        title="LOAD",
        width=7,
        flex=1,
        priority=4,
        cell=lambda d, _: (clean(d.load), "muted"),
        sort=lambda d: d.load,
    ),
    Column(
        key="measure",
        title="MEASURE",
        width=11,
        flex=1,
        cell=lambda d, _: (d.measure, "text"),
        sort=lambda d: d.measure,
    ),
    Column(
        key="before",
        title="BEFORE",
        width=8,
        align="right",
        priority=2,
        cell=lambda d, _: (_measured(d, d.reference), "muted"),
        sort=lambda d: d.reference,
    ),
    Column(
        key="now",
        title="NOW",
        width=8,
        align="right",
        priority=1,
        cell=lambda d, _: (_measured(d, d.current), "text b"),
        sort=lambda d: d.current,
    ),
    Column(
        key="change",
        title="CHANGE AT 95 %",
        width=20,
        align="right",
        priority=3,
        cell=lambda d, _: _change(d),
        sort=lambda d: d.low,
    ),
    Column(key="judged", title="VERDICT", width=8, cell=lambda d, _: _judged(d), sort=lambda d: _judged(d)[0]),
)


def comparison_lines(comparison: Comparison, width: int) -> list[Line]:
    """This run against an earlier one: what got measurably worse first, then everything."""
    lines: list[Line] = [_heading("Compared with"), *wrapped(comparison.reference, width), EMPTY]
    if comparison.not_comparable:
        return [*lines, *_compared(comparison, width)]
    worse = [one for one in comparison.differences if one.regression]
    lines += _compared(comparison, width)
    note = "Worse: more than 20 % and 50 ms, and the interval lies above zero. Failures: Fisher's exact test at 5 %."
    lines += [
        EMPTY,
        *_table(
            DIFFERENCE_COLUMNS,
            [*worse, *(d for d in comparison.differences if not d.regression)],
            width,
            "nothing to compare",
        ),
    ]
    return [*lines, EMPTY, *wrapped(note, width, "faint")]


def _table(columns: Sequence[Column[T]], rows: Sequence[T], width: int, empty: str) -> list[Line]:
    """Rows under their titles; columns of least weight go where room is short."""
    if not rows:
        return [((empty, "faint"),)]
    fitted = fit_columns(columns, width)
    head: list[Span] = []
    for column, size in fitted:
        head += [(fit_text(column.title, size, column.align), "muted"), ("  ", "text")]
    lines: list[Line] = [tuple(head[:-1])]
    for row in rows:
        cells: list[Span] = []
        for column, size in fitted:
            text, style = column.cell(row, 0.0)
            cells += [(fit_text(text, size, column.align), style), ("  ", "text")]
        lines.append(tuple(cells[:-1]))
    return lines
