"""A run's report as text: the verdict first, nothing claimed beyond what was measured, all of it at every width."""

from __future__ import annotations

from typing import Any

import pytest

from backend.contract.errors import InternalError
from backend.contract.words import DrillOutcome
from console.render.drill_report import (
    DIFFERENCE_COLUMNS,
    FAULT_COLUMNS,
    MEANINGS,
    PHASE_COLUMNS,
    banner_lines,
    comparison_lines,
    outcome_span,
    report_lines,
)
from console.render.spans import Line, line_width
from console.render.words import UNKNOWN
from console.state.drill_report import DrillReport, read_comparison, read_report
from console.state.sim_drills import SimDrills

NOW = 1_000_000.0
PASSED, FAILED = "llm-replica-kill-day-1", "llm-engine-hang-day-3"
PATHS = (("report", "drills/report.json"), ("page", "drills/report.html"))


def text(lines: list[Line]) -> str:
    return "\n".join("".join(part for part, _ in line) for line in lines)


def data(run_id: str = PASSED, **parts: Any) -> dict[str, Any]:
    """A report as the daemon answers it, with any part replaced."""
    return SimDrills(1, NOW).report(run_id) | parts


def shown(report: DrillReport, width: int = 120) -> str:
    return text(report_lines(report, PATHS, width))


def difference(**parts: Any) -> dict[str, Any]:
    return {"phase": "killed", "load": "chat", "measure": "p95 latency", "reference": 0.1, "current": 0.4} | parts


def test_every_verdict_is_a_glyph_a_word_and_its_meaning() -> None:
    for outcome in set(DrillOutcome) & set(MEANINGS):
        words = text(banner_lines(read_report(data(outcome=str(outcome))), 120, NOW))
        assert outcome.upper() in words
        assert MEANINGS[outcome] in words
    assert outcome_span("transcended") == (f"{UNKNOWN[0]} transcended", UNKNOWN[1])


def test_the_banner_says_how_long_it_took_and_when_and_the_reasons_of_a_newer_daemon() -> None:
    report = read_report(data(outcome="transcended", reasons=["one", "two"]))
    assert "one; two" in text(banner_lines(report, 80, NOW))
    assert "24 s  24h ago" in text(banner_lines(report, 80, NOW))
    assert "ago" not in text(banner_lines(report, 40, NOW)), "no room"
    assert "–" in text(banner_lines(read_report(data(ended_ts=None)), 80, NOW))  # noqa: RUF001
    assert all(line_width(line) == 40 for line in banner_lines(report, 40, NOW))


@pytest.mark.parametrize("width", [40, 60, 80, 120, 150, 200])
@pytest.mark.parametrize("run_id", [PASSED, FAILED])
def test_a_report_tells_all_at_every_width(run_id: str, width: int) -> None:
    report = read_report(data(run_id))
    lines = report_lines(report, PATHS, width)
    assert all(line_width(line) <= width for line in lines)
    for words in ("What users felt", "Faults", "Why", "Undo", "The run", "FAILED", report.run_id[:12]):
        assert words in text(lines)
    if width >= 150:
        side = next(line for line in text(lines).splitlines() if "What users felt" in line)
        assert "Undo" in side, "side by side"


def test_a_failed_check_is_said_with_its_phase_and_numbers_and_those_that_held_are_counted() -> None:
    words = shown(read_report(data(FAILED)))
    assert "✗ hang: failed(chat) == 0 (failed(chat) = 3)" in words
    assert "checks held" in words
    assert "✗ 3" in words


def test_what_was_not_measured_is_no_data_and_what_nobody_proved_is_not_claimed() -> None:
    checks = [
        {"text": "p95 <= 1 s", "result": "unknown", "measured": {"p95": None}},
        {"text": "a fault took effect", "result": "fail", "note": "its port still answers"},
        {"text": "of a newer daemon", "result": "later"},
    ]
    lost = {"load": "chat", "arrivals": 5, "success_at_least": None}
    proven = {"load": "embed", "arrivals": 9000, "success_at_least": 0.99967}
    record = {"undo": [{"what": "thaw", "detail": "pid is gone"}]}
    faults = [{"stamps": {"id": "freeze", "target": "llm-1", "verified": False}}]
    report = read_report(
        data(
            outcome="dirty",
            reasons=["an undo is not verified"],
            verdict={"checks": checks},
            phases=[{"name": "hang", "loads": [lost, proven]}],
            record=record,
            faults=faults,
            durability="",
        )
    )
    words = shown(report)
    for part in (
        "? p95 <= 1 s (p95 = no data)",
        "✗ a fault took effect (its port still answers)",
        f"{UNKNOWN[0]} of a newer daemon",
        "an undo is not verified",
        "✗ thaw: NOT VERIFIED; pid is gone",
        "≥ 99.967%",
        "? not",
    ):
        assert part in words
    assert "held" not in words
    assert "Evidence" not in words


def test_a_run_that_did_nothing_says_so() -> None:
    report = read_report({"run_id": "r", "name": "kill", "title": "kill", "reasons": ["refused"]})
    words = shown(report, 80)
    for part in ("no phase was run", "no fault was injected", "there was nothing to undo", "refused"):
        assert part in words
    assert words.startswith("\nWhat users felt"), "a title that is the name is not said twice"


def test_a_comparison_says_first_what_got_worse() -> None:
    differences = [
        difference(low=0.2, high=0.4, regression=True),
        difference(phase="recovery", low=-0.2, high=-0.1, improvement=True),
        difference(measure="failures", reference=0, current=2, p_value=0.31),
        difference(measure="p50 latency"),
    ]
    compared = read_comparison({"reference": "run-1", "differences": differences[1:] + differences[:1]})
    lines = comparison_lines(compared, 120)
    assert all(line_width(line) <= 120 for line in lines)
    words = text(lines)
    for part in (
        "run-1",
        "1 measure measurably worse",
        "killed chat p95 latency: 100 ms → 400 ms",
        "1 measure measurably better",
        "+200 to +400 ms",
        "p = 0.31",
        "one sample each",
        "= same",
    ):
        assert part in words
    assert words.index("↘ worse") < words.index("↗ better")


def test_a_report_has_its_comparison_with_the_last_pass_in_it() -> None:
    def told(**parts: Any) -> str:
        return shown(read_report(data(comparison={"reference": "run-1"} | parts)))

    assert "none of 1 measure is measurably worse" in told(differences=[difference()])
    assert "Not comparable: the scenarios differ." in told(not_comparable="the scenarios differ")
    assert "The drivers differ (local and docker)" in told(across="local and docker")
    assert "no phase and load in common" in told()
    assert "Compared" not in shown(read_report(data()))


def test_runs_of_two_scenarios_are_not_compared() -> None:
    compared = read_comparison(SimDrills(1, NOW).compare(FAILED, PASSED))
    words = text(comparison_lines(compared, 80))
    assert "Not comparable: the scenarios differ." in words
    assert "VERDICT" not in words


def test_columns_sort_by_what_they_show() -> None:
    report = read_report(data())
    rows = [(phase.name, load) for phase in report.phases for load in phase.loads]
    assert {column.key for column in PHASE_COLUMNS if column.sort(rows[0]) is None} == set()
    assert [column.sort(report.faults[0]) for column in FAULT_COLUMNS][:2] == ["kill", "process.kill"]
    worse = read_comparison({"differences": [difference(regression=True, low=0.1)]}).differences[0]
    assert [column.sort(worse) for column in DIFFERENCE_COLUMNS] == [
        "killed",
        "chat",
        "p95 latency",
        0.1,
        0.4,
        0.1,
        "↘ worse",
    ]


def test_what_is_no_report_is_refused_with_a_sentence() -> None:
    with pytest.raises(InternalError, match="The run's report was not understood"):
        read_report({"name": "kill"})
    with pytest.raises(InternalError, match="The run's comparison was not understood"):
        read_comparison({"differences": 7})
