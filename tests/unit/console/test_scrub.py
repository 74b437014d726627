"""The bar of time travel: the playhead's arithmetic, and what the bar says at every width."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.contract.words import ActionOutcome, Severity
from console.render.scrubber import Bar, column_in, happening_words, scrubber_lines, span_words
from console.render.spans import line_width
from console.state.scrub import LEAST_WINDOW_S, SPEEDS, Scrub, happenings

from .sample import action, event

DAY = 1_000_000.0
FOUND = happenings(
    [
        event(1, ts=DAY + 100, kind="replica.ready"),
        event(2, ts=DAY + 100, kind="replica.restarted"),
        event(3, Severity.ERROR, ts=DAY + 200, kind="replica.died", message="pid 42 was ended"),
        event(4, Severity.DEBUG, ts=DAY + 210),
        event(5, ts=DAY + 220, kind="action.ended"),
        event(6, ts=DAY + 300, kind="drill.started", message="a drill began"),
    ],
    [
        action("a1", ActionOutcome.RUNNING, ts=DAY + 250, verb="kill", target="llm-0"),
        action("a1", ts=DAY + 255, verb="kill", target="llm-0"),
    ],
)


def text(lines):
    return ["".join(part for part, _ in line) for line in lines]


def scrub(span=600.0):
    return Scrub(DAY, DAY + span)


def test_what_happened_is_in_order_without_debug_and_repeats():
    assert [(one.ts - DAY, one.kind) for one in FOUND] == [
        (100, "event"),
        (100, "event"),
        (200, "alarm"),
        (250, "action"),
        (300, "drill"),
    ]
    assert FOUND[3].words == "console:ada kill llm-0"


def test_steps_by_event_take_every_one_and_stop_at_the_ends():
    one = scrub()
    one.move_to(DAY)
    seen = []
    while (found := one.step_to(FOUND, 1)) is not None:
        seen.append(found)
        assert one.ts == found.ts
    assert seen == FOUND
    back = []
    while (found := one.step_to(FOUND, -1)) is not None:
        back.append(found)
    assert back == FOUND[-2::-1]


def test_steps_begin_from_where_the_playhead_stands():
    one = scrub()
    one.move_to(DAY + 205)
    assert one.here(FOUND).kind == "alarm"
    assert one.step_to(FOUND, -1).kind == "alarm"
    one.move_to(DAY + 205)
    assert one.at is None, "it was moved away by hand"
    assert one.step_to(FOUND, 1).kind == "action"
    one.move_to(DAY)
    assert one.here(FOUND) is None
    assert scrub().step_to([], 1) is None


def test_what_is_not_recorded_is_no_step():
    one = Scrub(DAY + 150, DAY + 260)
    one.move_to(DAY + 210)
    assert one.step_to(FOUND, -1).ts == DAY + 200
    assert one.step_to(FOUND, -1) is None
    one.move_to(DAY + 255)
    assert one.step_to(FOUND, 1) is None


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(["move", "zoom", "reach"]), st.floats(-2000, 2000)), max_size=20))
def test_the_playhead_is_always_recorded_and_always_seen(moves):
    one = scrub()
    for kind, amount in moves:
        match kind:
            case "move":
                one.move_to(one.ts + amount)
            case "zoom":
                one.zoom(0.5 if amount < 0 else 2.0)
            case _:
                one.reach(one.first + abs(amount) / 100, one.last + abs(amount) / 10)
        assert one.first <= one.ts <= one.last
        assert one.low - 1e-6 <= one.ts <= one.high + 1e-6
        assert one.span >= LEAST_WINDOW_S - 1e-6
        assert one.low >= one.first - 1e-6


def test_zoom_keeps_the_playhead_in_its_place():
    one = scrub()
    one.move_to(DAY + 300)
    one.zoom(0.5)
    assert (one.low, one.high) == (DAY + 150, DAY + 450)
    one.zoom(4.0)
    assert (one.low, one.high) == (DAY, DAY + 600)


def test_an_axis_that_shows_all_goes_on_showing_all():
    one = scrub()
    one.reach(DAY + 60, DAY + 900)
    assert (one.low, one.high) == (DAY + 60, DAY + 900)
    one.zoom(0.5)
    low, high = one.low, one.high
    one.reach(DAY + 60, DAY + 1000)
    assert (one.low, one.high) == (low, high)


def test_columns_and_instants_belong_together():
    one = scrub()
    for column in (0, 17, 99):
        assert one.column_of(one.ts_at(column, 100), 100) == column
    assert one.column_of(one.high, 100) == 99
    assert one.column_of(one.high + 1, 100) is None
    assert one.column_of(one.low, 0) is None
    assert one.in_column(FOUND, one.column_of(DAY + 200, 100), 100).kind == "alarm"
    assert one.in_column(FOUND, one.column_of(DAY + 250, 6), 6).kind == "alarm", "the gravest of a wide cell"
    assert one.in_column(FOUND, 0, 100) is None
    assert column_in(0, 80) == (0, 78)
    assert column_in(5, 80) == (4, 78)
    assert column_in(200, 80) == (77, 78)


def test_playing_gets_faster_and_then_stands():
    one = scrub()
    seen = []
    for _ in SPEEDS:
        one.play()
        seen.append(one.speed)
    assert seen == [1, 4, 16, 0]


# -- the picture ---------------------------------------------------------------------------------------------------


def bar(**parts):
    return Bar(now=DAY + 7800, found=FOUND, **parts)


@pytest.mark.parametrize(("width", "height"), [(16, 2), (40, 2), (80, 3), (120, 3), (200, 3)])
@pytest.mark.parametrize("at", [0, 200, 600])
def test_every_line_has_its_width(width, height, at):
    one = scrub()
    one.move_to(DAY + at)
    lines = scrubber_lines(one, bar(marked=DAY + 50, waiting=True), width, height)
    assert [line_width(line) for line in lines] == [width] * height


def test_the_head_says_when_and_what_happened_there():
    one = scrub()
    one.move_to(DAY)
    one.step_to(FOUND, 1)
    one.step_to(FOUND, 1)
    one.step_to(FOUND, 1)
    head = text(scrubber_lines(one, bar(), 120, 3))[0]
    assert " ◷ " in head
    assert "2 h 6 m ago" in head
    assert "✗ llm-0 pid 42 was ended" in head
    assert head.rstrip().endswith("10 m")
    one.speed = 4
    one.move_to(DAY + 260)
    head = text(scrubber_lines(one, bar(marked=DAY + 60, waiting=True), 120, 3))[0]
    assert " ◔ " in head
    assert "▸ 4x" in head
    assert "✓ console:ada kill llm-0" in head


def test_alarms_actions_and_drills_are_marked_by_glyphs():
    one = scrub()
    happened = text(scrubber_lines(one, bar(), 122, 3))[1]
    for at, glyph in ((200, "✗"), (250, "◆"), (300, "▸"), (100, "▃"), (600, "┃")):
        assert happened[1 + one.column_of(DAY + at, 120)] == glyph
    one.move_to(DAY + 200)
    line = scrubber_lines(one, bar(), 122, 3)[1]
    assert ("✗", "error r b") in line, "a mark under the playhead stays readable"
    assert "┃" not in "".join(part for part, _ in line)


def test_the_axis_has_times_the_mark_the_playhead_and_the_present():
    one = scrub()
    one.move_to(DAY + 300)
    axis = text(scrubber_lines(one, bar(marked=DAY + 60), 122, 3))[2]
    assert axis.rstrip().endswith("now")
    assert axis[1 + one.column_of(DAY + 300, 120)] == "▲"
    assert axis[1 + one.column_of(DAY + 60, 120)] == "A"
    assert axis.count(":") >= 3
    assert text(scrubber_lines(one, bar(live=False), 122, 3))[2].rstrip().endswith("end")
    one.zoom(0.05)
    seconds = text(scrubber_lines(one, bar(marked=DAY), 122, 3))
    assert seconds[2].count(":") >= 6, "seconds are told where they are seen"
    assert "A" not in seconds[2]
    days = Scrub(DAY, DAY + 30 * 86_400)
    assert "Jan" in text(scrubber_lines(days, bar(), 122, 3))[2]


def test_one_event_is_seen_beside_a_hundred():
    many = happenings([event(n, ts=DAY + 100) for n in range(100)] + [event(200, ts=DAY + 300)], [])
    line = text(scrubber_lines(scrub(), Bar(now=DAY, found=many), 122, 3))[1]
    assert "█" in line
    assert any(block in line for block in "▁▂▃")


def test_without_focus_the_playhead_is_quiet():
    one = scrub()
    one.move_to(DAY + 10)
    lines = scrubber_lines(one, bar(focused=False), 80, 3)
    assert ("┃", "text b") in lines[1]
    assert lines[0][0][1] == "text b"


def test_words_of_what_happened():
    assert "llm-0 " in text([happening_words(FOUND[2], stepped=True, now=DAY)])[0]
    assert text([happening_words(FOUND[2], stepped=False, now=DAY)])[0].count(":") == 2


@pytest.mark.parametrize(
    ("seconds", "words"), [(20, "20 s"), (89, "89 s"), (300, "5 m"), (9000, "2.5 h"), (259_200, "3 d")]
)
def test_span_in_words(seconds, words):
    assert span_words(seconds) == words


def test_an_end_that_is_told_before_its_beginning_is_kept():
    (one,) = happenings([], [action("a1", ts=DAY + 9, result="done"), action("a1", ActionOutcome.RUNNING, ts=DAY + 5)])
    assert (one.ts, one.row.result) == (DAY + 5, "done")


def test_an_axis_that_shows_less_follows_the_playhead():
    one = scrub()
    one.zoom(0.1)
    one.move_to(DAY)
    assert one.low == DAY
    assert one.span == 60


def test_a_playhead_that_the_axis_does_not_show_is_not_drawn():
    one = scrub()
    one.move_to(DAY + 600)
    one.high = DAY + 300
    shown = "".join(text(scrubber_lines(one, bar(), 80, 3)))
    assert "┃" not in shown
    assert "▲" not in shown
