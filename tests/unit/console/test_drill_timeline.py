"""A drill's timeline as text: marks where things happened, at every size, readable without colour."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.contract.control import (
    DrillBucket,
    DrillFaultView,
    DrillPhasePlan,
    DrillPhaseView,
    DrillView,
    HypothesisView,
)
from backend.contract.words import DrillOutcome
from console.render import ability, drill_live
from console.render.spans import EMPTY, Line, line_width
from console.render.timeline import MARKS, axis_end, legend, timeline
from console.state.drill_live import LiveFault, LiveRun, detection_s, live


def text(lines: list[Line]) -> str:
    return "\n".join("".join(words for words, _ in line) for line in lines)


def view(elapsed: float = 20.0, *, failed: int = 0, outcome: DrillOutcome = DrillOutcome.RUNNING) -> DrillView:
    fault = DrillFaultView(
        id="kill", fault="process.kill", victims=("llm-1",), command_s=10.0, effective_s=10.003, detected_s=10.04
    )
    return DrillView(
        run_id="r1",
        name="llm-replica-kill",
        outcome=outcome,
        phase="killed",
        phase_index=2,
        phases=3,
        started_ts=1000.0,
        elapsed_s=elapsed,
        estimated_s=40.0,
        planned=tuple(
            DrillPhasePlan(name=n, seconds=s) for n, s in (("baseline", 9), ("killed", 16), ("recovery", 15))
        ),
        timeline=(
            DrillPhaseView(name="baseline", start_s=0.0, end_s=9.0),
            DrillPhaseView(name="killed", start_s=9.0),
        ),
        faults=(fault,),
        buckets=tuple(
            DrillBucket(at_s=float(s), ok=10 - failed, failed=failed, p50_s=0.1, p95_s=0.2) for s in range(int(elapsed))
        ),
        hypotheses=(
            HypothesisView(id="a", expr="failed(chat) == 0", state="holding", measured={"failed(chat)": 0.0}),
            HypothesisView(
                id="b", expr="p95(latency(chat)) < 1s", state="violated", measured={"p95(latency(chat))": 1.5}
            ),
            HypothesisView(id="c", expr="healthy(pool) == 2", state="no data"),
        ),
    )


def running(elapsed: float = 20.0, **parts: object) -> LiveRun:
    return msgspec.structs.replace(live(view(elapsed), 0.0), **parts)  # type: ignore[arg-type] # fields


def test_marks_stand_in_order_at_their_instants() -> None:
    shown = text(timeline(live(view(), 0.0), 100, 20))
    lane = next(line for line in shown.splitlines() if "▼" in line)
    assert "▼●◆" in lane, "closer than a cell: side by side, in order"
    assert "✓" not in lane, "not recovered yet"
    assert "kill llm-1" in lane
    plot = 100 - lane.index("▼")
    assert 0.70 < plot / 92 < 0.80, "injected a quarter into the expected forty seconds"


def test_recovery_is_marked_when_it_came_and_the_bar_ends_there() -> None:
    run = live(view(), 0.0)
    done = msgspec.structs.replace(run.faults[0], recovered_s=15.0)
    shown = text(timeline(msgspec.structs.replace(run, faults=(done,)), 100, 20))
    lane = next(line for line in shown.splitlines() if "▼" in line)
    assert lane.index("▼") < lane.index("◆") < lane.index("✓") < lane.index("kill llm-1")


def test_phases_done_present_and_to_come_differ_by_glyph() -> None:
    names = text(timeline(live(view(), 0.0), 100, 20)).splitlines()[0]
    assert "■ baseline" in names
    assert "◔ killed" in names
    assert "○ recovery" in names


def test_an_ended_run_has_no_now_and_no_phase_to_come() -> None:
    shown = text(timeline(live(view(outcome=DrillOutcome.FAIL), 0.0), 100, 20))
    assert "now" not in shown
    assert "end" in shown.splitlines()[-1]
    assert "recovery" not in shown
    assert "⊘ killed" in shown, "cut short, not passed"


def test_failures_are_said_in_words_and_drawn() -> None:
    shown = text(timeline(live(view(failed=3), 0.0), 100, 24))
    assert "✗ 60 of 200 requests" in shown
    assert "█" in shown
    assert "✓ 0 of 200 requests" in text(timeline(live(view(), 0.0), 100, 24))


@settings(deadline=None)
@given(
    st.integers(1, 220), st.integers(1, 70), st.floats(0, 90), st.integers(0, 10), st.sampled_from(["braille", "block"])
)
def test_every_size_gives_exactly_its_cells(width: int, height: int, elapsed: float, failed: int, dots: str) -> None:
    run = live(view(elapsed, failed=failed), 0.0)
    lines = timeline(run, width, height, dots)  # type: ignore[arg-type] # one of the two words
    assert [line_width(line) for line in lines] == [width] * height
    assert axis_end(run) >= run.elapsed_s
    for line in (*drill_live.head_lines(run, width, 3), *drill_live.fault_lines(run, width, height)):
        assert line_width(line) == width
    assert all(line_width(line) == width for line in drill_live.hypothesis_lines(run, width))
    assert line_width(drill_live.banner_line(run, "", width)) == width


def test_only_the_newest_column_changes_from_second_to_second() -> None:
    before, after = (text(timeline(live(view(at), 0.0), 100, 20)).splitlines() for at in (20.0, 20.2))
    changed = [sum(a != b for a, b in zip(one, other, strict=True)) for one, other in zip(before, after, strict=True)]
    assert sum(changed) <= 12, changed


def test_hypotheses_have_a_glyph_and_a_word_each() -> None:
    shown = text(drill_live.hypothesis_lines(live(view(), 0.0), 90))
    for words in ("✓ holding", "✗ violated", "? no data", "now 0", "now 1.50 s"):
        assert words in shown


def test_fault_stamps_are_intervals_from_the_effect() -> None:
    run = live(view(), 0.0)
    for height in (2, 20):
        shown = text(drill_live.fault_lines(run, 90, height))
        assert "0:10" in shown
        assert "+37 ms" in shown
    assert "detected" in text(drill_live.fault_lines(run, 90, 20))
    assert detection_s(view()) == pytest.approx(0.037)


def test_the_banner_says_phase_elapsed_and_the_way_out() -> None:
    shown = text([drill_live.banner_line(live(view(), 0.0), "", 120)])
    for words in ("llm-replica-kill", "2/3 killed", "0:20 / 0:40", "X stop", "1 hypothesis violated"):
        assert words in shown
    for width in (120, 40):
        looking = text([drill_live.banner_line(live(view(), 0.0), "", width, read_only=True)])
        assert "read-only" in looking
        assert "X stop" not in looking
    assert "P or" not in text([drill_live.banner_line(None, "console:ada: X", 120, read_only=True)])
    small = text([drill_live.banner_line(live(view(), 0.0), "", 40)])
    assert "killed" in small
    assert "X stop" in small
    blocked = text([drill_live.banner_line(None, "console:ada: X", 120)])
    for words in ("blocked", "P", "trinity drill allow", "console:ada"):
        assert words in blocked


def test_block_and_ascii_terminals_get_their_own_glyphs() -> None:
    run = live(view(failed=2), 0.0)
    blocks = text(timeline(run, 90, 20, "block"))
    assert not any(0x2800 <= ord(c) < 0x2900 for c in blocks)
    for lines in (timeline(run, 90, 20, "block"), timeline(run, 90, 20), [legend(90)]):
        plain = text(lines).translate(ability.ASCII)
        assert plain.isascii(), {c for c in plain if not c.isascii()}
        assert [len(line) for line in plain.splitlines()] == [len(line) for line in text(lines).splitlines()]
    marks = {glyph.translate(ability.ASCII) for glyph, _ in MARKS.values()}
    assert len(marks) == len(MARKS), "marks stay apart in ASCII"


@pytest.mark.parametrize(
    ("environ", "dots", "plain"),
    [
        ({}, "braille", False),
        ({"LANG": "en_US.UTF-8"}, "braille", False),
        ({"LC_CTYPE": "C.utf8", "LANG": "C"}, "braille", False),
        ({"TERM": "linux", "LANG": "en_US.UTF-8"}, "block", False),
        ({"LC_ALL": "C"}, "block", True),
        ({"LANG": "de_DE.ISO-8859-1"}, "block", True),
    ],
)
def test_what_a_terminal_can_show(environ: dict[str, str], dots: str, plain: bool) -> None:
    assert ability.dots(environ) == dots
    assert ability.is_ascii(environ) == plain


@pytest.mark.parametrize(
    ("environ", "palette"),
    [
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, "none"),
        ({"TERM": "dumb"}, "none"),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, "truecolor"),
        ({"TERM": "xterm-256color"}, "256"),
        ({"TERM": "linux"}, "16"),
    ],
)
def test_how_many_colours_a_terminal_has(environ: dict[str, str], palette: str) -> None:
    assert ability.colors(environ) == palette


def test_a_run_that_begins_or_only_is_looked_at_says_what_there_is() -> None:
    head = text(drill_live.head_lines(running(estimated_s=0.0), 80, 3, read_only=True))
    assert "about" not in head, "no estimate, none said"
    assert "read-only" in head
    assert "X" not in text(drill_live.head_lines(running(), 40, 3, read_only=True))
    ended = msgspec.structs.replace(running(), outcome=DrillOutcome.PASS)
    assert "0:20 in all" in text(drill_live.head_lines(ended, 80, 3))
    assert "no fault yet" in text(drill_live.fault_lines(running(faults=()), 80, 5))
    assert "no hypothesis" in text(drill_live.hypothesis_lines(running(hypotheses=()), 80))
    assert drill_live.banner_line(None, "", 80) == EMPTY
    assert "P allows" in text([drill_live.banner_line(None, "console:ada: X", 40)])


def test_a_fault_without_effect_has_no_interval_and_says_its_problem() -> None:
    fault = LiveFault(id="kill", kind="process.kill", victim="llm-1", injected_s=10.0, problem="still answers")
    run = running(faults=(fault,))
    shown = text(drill_live.fault_lines(run, 80, 20))
    assert "▲ still answers" in shown
    assert "+" not in shown
    assert "─" not in next(line for line in text(timeline(run, 100, 20)).splitlines() if "kill llm-1" in line)


def test_faults_after_the_last_lane_share_it_and_a_name_of_wide_letters_gives_way_to_the_id() -> None:
    kill = live(view(), 0.0).faults[0]
    faults = tuple(msgspec.structs.replace(kill, id=f"f{at}", victim="漢字" if at == 0 else "") for at in range(6))
    lanes = [line for line in text(timeline(running(faults=faults), 100, 30)).splitlines() if "▼" in line]
    assert [f"f{at}" in lane for at, lane in enumerate(lanes)] == [True, True, True, False]
    assert "f" not in lanes[3], "the shared one has no name"
    wide = msgspec.structs.replace(kill, id="漢", victim="")
    assert "漢" not in text(timeline(running(faults=(wide,)), 100, 20))
    phases = tuple(msgspec.structs.replace(phase, name="漢字") for phase in running().phases)
    assert "漢" not in text(timeline(running(phases=phases), 100, 20))


def test_times_to_first_token_are_said_where_they_are_measured() -> None:
    buckets = tuple(msgspec.structs.replace(bucket, ttft_p95_s=0.05) for bucket in running().buckets)
    assert "TTFT p95 50 ms" in text(timeline(running(buckets=buckets), 100, 20))
    assert "TTFT" not in text(timeline(running(), 100, 20))


def test_a_run_of_days_has_an_axis_and_a_flat_strip_no_errors() -> None:
    assert "end" in text(timeline(running(elapsed_s=3e6, outcome=DrillOutcome.PASS), 60, 12))
    assert "%" not in text(timeline(running(), 60, 8)), "no room for the errors"
    assert legend(40) == EMPTY


def test_counts_of_the_daemon_are_taken_as_they_are() -> None:
    counted = msgspec.structs.replace(view(), counts={"ok": 90, "shed": 4, "failed": 6, "of a newer daemon": 1})
    counts = live(counted, 0.0).counts
    assert (counts.arrivals, counts.ok, counts.shed, counts.failed) == (100, 90, 4, 6)


@pytest.mark.parametrize("width", [24, 36, 44, 52, 90])
def test_stamps_of_a_fault_go_below_its_name_where_both_have_no_room(width: int) -> None:
    lines = drill_live.fault_lines(running(), width, 2)
    assert "kill" in text(lines)
    assert len(lines) == (1 if width == 90 else 2)
    assert ("+37 ms" in text(lines)) == (width >= 36)


def test_before_the_first_answer_it_says_so() -> None:
    assert "no answer yet" in text(timeline(running(buckets=()), 100, 20))
