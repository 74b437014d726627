"""The report as Markdown, for a pull request or a terminal. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from backend.drills.compare import sentence
from backend.drills.report import FaultResult, LoadInPhase, Report

_COLUMNS: Final = (
    *("phase", "load", "arrivals", "ok", "slow", "wrong", "shed", "failed", "truncated", "before 1st byte"),
    *("proven success", "p50", "p95", "p99", "TTFT p95"),
)


def markdown(report: Report) -> str:
    """The whole report."""
    seconds = 0.0 if report.ended_ts is None else report.ended_ts - report.started_ts
    origin = (
        f"Run `{report.run_id}` on {report.fleet} ({report.environment}), {seconds:.0f} s, seed {report.seed}, "
        f"scenario `{report.scenario_digest[:12]}`, ledger `{report.ledger_digest[:12]}`."
    )
    lines = [
        f"# {report.name}: {report.outcome} (exit {report.exit_code})",
        "",
        report.title,
        "",
        *(f"- {reason}" for reason in report.reasons),
        "",
        origin,
        "",
        "## Requests",
        "",
        *_heading(_COLUMNS),
        *(_row(phase.name, load) for phase in report.phases for load in phase.loads),
        "",
        "Proven success is what the sample proves at 95 % confidence. Latency counts from the intended send.",
        "",
    ]
    if report.faults:
        lines += [
            "## Faults",
            "",
            *_heading(["fault", "victim", "effective", "detected", "exposure", "failover", "recovery", "evidence"]),
            *(_fault(fault) for fault in report.faults),
            "",
        ]
    lines += [*_comparison(report), *_slowest(report), *_undo(report)]
    lines += ["## Checks", "", *_heading(["result", "phase", "check", "measured"])]
    for check in report.verdict.checks:
        values = ", ".join(f"{_cell(t)} = {'no data' if v is None else f'{v:.4g}'}" for t, v in check.measured.items())
        lines.append(f"| {check.result} | {check.phase} | {_cell(check.text)} | {values or _cell(check.note)} |")
    lines += ["", "## Plan", "", *(f"    {line}" for line in report.plan)]
    return "\n".join(lines) + "\n"


def _comparison(report: Report) -> list[str]:
    found = report.comparison
    if found is None:
        return []
    if found.not_comparable:
        return ["## Comparison", "", f"Not comparable with `{found.reference}`: {found.not_comparable}.", ""]
    rows = [
        f"| {'worse' if one.regression else 'better' if one.improvement else '='} | {_cell(sentence(one))} |"
        for one in found.differences
    ]
    if found.across:
        rows += ["", f"The drivers differ ({found.across}): differences are shown, none is judged."]
    return [f"## Compared with `{found.reference}`", "", *_heading(["", "difference"]), *rows, ""]


def _slowest(report: Report) -> list[str]:
    rows = [
        f"| {one.phase} | {one.load} | `{one.request_id}` | {_ms(one.latency_s)} | {one.replica or '-'} "
        f"| {_cell('; '.join(one.attempts) or f'{one.retries} retries')} |"
        for one in report.slowest
    ]
    head = _heading(["phase", "load", "request", "took", "replica", "attempts"])
    return ["## Slowest answers", "", *head, *rows, ""] if rows else []


def _undo(report: Report) -> list[str]:
    rows = [
        f"| {'verified' if undo.verified else 'NOT PROVEN'} | {undo.id} | {_cell(undo.what)} "
        f"| {_cell(f'{undo.by}: {undo.detail}')} |"
        for undo in report.record.undo
    ]
    return ["## Undo", "", *_heading(["result", "fault", "undo", "by"]), *rows, ""] if rows else []


def _heading(columns: Sequence[str]) -> list[str]:
    return [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]


def _row(phase: str, load: LoadInPhase) -> str:
    counts = (load.arrivals, load.ok, load.slow, load.wrong, load.shed, load.failed, load.truncated)
    times = (load.latency.p50_s, load.latency.p95_s, load.latency.p99_s, load.ttft.p95_s)
    cells = [phase, load.load, *map(str, counts), str(load.failed_before_first_byte)]
    cells += [f"≥ {100 * load.success_at_least:.2f} %", *map(_ms, times)]
    return f"| {' | '.join(cells)} |"


def _fault(fault: FaultResult) -> str:
    stamps = fault.stamps
    effective = (
        None if stamps.t_effective is None or stamps.t_command is None else stamps.t_effective - stamps.t_command
    )
    proof = _cell("; ".join(stamps.evidence) or stamps.problem)
    return (
        f"| {stamps.id} ({stamps.fault}) | {stamps.replica or stamps.target} | {_ms(effective)} "
        f"| {_ms(fault.detection_s)} | {_ms(fault.exposure_s)} | {_ms(fault.failover_s)} | {_ms(fault.recovery_s)} "
        f"| {proof} |"
    )


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.0f} ms"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
