"""Marks say what happened and when: a glyph for each kind, spans for drills and faults, words at the cursor."""

from __future__ import annotations

from backend.contract.control import DrillFaultView, DrillView, Frame
from backend.contract.words import ActionOutcome, DrillOutcome, Severity
from console.render import ability
from console.render.marks import GLYPHS, HEALED, MOST_RULERS, legend, mark_row, mark_words, ruled_columns
from console.render.spans import line_width
from console.state.marks import Mark, MarkBook, marks_of, near
from console.state.series import grid
from console.state.store import FleetState

from .sample import action, event, snapshot

CELLS = grid(999.5, 100.0, 100, 1)
"""A cell a second: column 0 is 900 s."""


def text(line):
    return "".join(part for part, _ in line)


def drill(**parts):
    values = {
        "run_id": "r1",
        "name": "kill-one",
        "outcome": DrillOutcome.RUNNING,
        "started_ts": 920.0,
        "elapsed_s": 40.0,
    }
    return DrillView(**(values | parts))


def fault(**parts):
    values = {"id": "f1", "fault": "kill", "victims": ("llm-0",), "command_s": 9.0, "effective_s": 10.0}
    return DrillFaultView(**(values | parts))


def test_what_wants_eyes_is_marked_and_the_rest_is_not():
    rows = [
        event(1),
        event(2, Severity.WARNING),
        event(3, Severity.ERROR),
        event(4, Severity.CRITICAL),
        event(5, Severity.ERROR, kind="drill.ended"),
    ]
    assert [mark.kind for mark in marks_of(rows, [], [])] == ["warning", "error", "critical"]


def test_actions_say_who_did_what():
    rows = [
        action("a", args={"replicas": 4}),
        action("b", verb="note", target="", args={"text": "deploy 42"}, ts=1001.0),
        action("c", verb="restart", target="llm-0", actor="autoscaler", outcome=ActionOutcome.FAILED, ts=1002.0),
        action("d", outcome=ActionOutcome.REFUSED),
        action("e", verb="acknowledge"),
        action("f", actor="drill:r1"),
    ]
    assert [mark.words for mark in marks_of([], rows, [])] == [
        "scale llm 4 by ada",
        "note deploy 42 by ada",
        "restart llm-0 by autoscaler, failed",
    ]


def test_a_drill_is_a_span_and_its_fault_holds_until_it_is_healed():
    run, hurt = marks_of([], [], [drill(faults=(fault(healed_s=25.0),), ended_ts=970.0, outcome=DrillOutcome.PASS)])
    assert (run.ts, run.until, run.words) == (920.0, 970.0, "drill kill-one pass")
    assert (hurt.ts, hurt.until, hurt.words) == (930.0, 945.0, "kill-one: kill llm-0")
    _, going_on = marks_of([], [], [drill(faults=(fault(),))])
    assert (going_on.until, going_on.healed) == (960.0, False)
    assert len(marks_of([], [], [drill(faults=(fault(command_s=None, effective_s=None),))])) == 1


def test_the_row_has_a_glyph_for_each_kind_at_its_second():
    marks = [Mark(905.2, "action", ""), Mark(910, "warning", ""), Mark(915, "error", ""), Mark(920, "critical", "")]
    row = text(mark_row(marks, CELLS))
    assert line_width(mark_row(marks, CELLS)) == 100
    assert {row[5], row[10], row[15], row[20]} == {GLYPHS[m.kind][0] for m in marks}
    assert row.replace(" ", "") == "▸▲✗‼"


def test_spans_are_bands_that_end_where_the_fault_was_healed():
    marks = [Mark(910, "drill", "", 940), Mark(920, "fault", "", 930), Mark(925, "warning", "")]
    row = text(mark_row(marks, CELLS))
    assert row[9:42] == " ◆─────────▼━━━━━━━━━✓────────── "
    going_on = text(mark_row([Mark(890, "fault", "", 905, healed=False)], CELLS))
    assert going_on.rstrip() == "━━━━━━"
    assert text(mark_row([Mark(100, "error", ""), Mark(2000, "error", "")], CELLS)).strip() == ""


def test_the_weightier_mark_is_seen_where_two_meet():
    for marks in (
        [Mark(950, "critical", ""), Mark(950.5, "action", "")],
        [Mark(950.5, "action", ""), Mark(950, "critical", "")],
    ):
        assert text(mark_row(marks, CELLS)).strip() == "‼"
    found = near([Mark(950, "warning", "w"), Mark(951, "error", "e"), Mark(960, "error", "far")], 949, 952)
    assert [mark.words for mark in found] == ["e", "w"]


def test_thin_lines_are_few_and_the_newest():
    marks = [Mark(900 + 3 * at, "action", "") for at in range(30)] + [Mark(995, "warning", "")]
    columns = ruled_columns(marks, CELLS)
    assert len(columns) == MOST_RULERS
    assert columns[-1] == 87
    assert 95 not in columns, "a warning is told by its glyph alone"


def test_the_cursor_tells_the_marks_near_it():
    marks = [Mark(1, "action", "scale llm 4 by ada"), Mark(2, "error", "llm-1:\x1b[2J died")]
    assert text(mark_words(marks)).startswith("▸ scale llm 4 by ada   ✗ llm-1: died")
    assert text(mark_words(marks, most=1)).endswith("+1")
    assert mark_words([]) == ()


def test_every_kind_has_its_own_glyph_also_in_ascii():
    glyphs = [glyph for glyph, _ in (*GLYPHS.values(), HEALED)]
    assert len(set(glyphs)) == len(glyphs)
    plain = [glyph.translate(ability.ASCII) for glyph in glyphs]
    assert all(glyph.isascii() and len(glyph) == 1 for glyph in plain)
    assert len(set(plain)) == len(plain)
    assert all(kind in text(legend()) for kind in GLYPHS)


def test_the_book_is_written_again_only_when_something_was_added():
    state, book = FleetState(), MarkBook()
    state.apply(Frame(seq=1, snapshot=snapshot(), events=(event(1, Severity.ERROR),), actions=(action("a"),)))
    first = book.of(state)
    assert len(first) == 2
    state.apply(Frame(seq=2, snapshot=snapshot(ts=1001.0)))
    assert book.of(state) is first
    state.apply(Frame(seq=3, snapshot=snapshot(drill=drill())))
    assert len(book.of(state)) == 3
    book.runs = (drill(run_id="r0", started_ts=100.0), drill())
    assert len(book.of(state)) == 4, "a run that is told twice is one"


def test_rows_that_the_state_no_longer_holds_are_marked_once() -> None:
    state, book = FleetState(), MarkBook()
    state.apply(Frame(seq=1, events=(event(7, Severity.ERROR),), actions=(action("b"),)))
    assert len(book.of(state)) == 2
    book.events = (event(3, Severity.WARNING), event(7, Severity.ERROR))
    book.actions = (action("a", ts=900.0), action("b", ActionOutcome.RUNNING))
    assert [mark.kind for mark in book.of(state)] == ["action", "action", "warning", "error"]
