"""What the differ sends makes a terminal show exactly what is wanted, and nothing is sent twice."""

from __future__ import annotations

import pyte
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, InlineUpdate, LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip

from console.tui.differ import FrameDiffer

WIDTH, HEIGHT = 24, 3
CONSOLE = Console(color_system="truecolor", force_terminal=True, width=WIDTH)
STYLES = [Style(color="red"), Style(color="#00ff00", bold=True), Style(bgcolor="blue")]
ROW = st.lists(st.tuples(st.text("ab ●漢", min_size=1, max_size=5), st.sampled_from(STYLES)), max_size=6)


def strip(row) -> Strip:
    return Strip([Segment(text, style) for text, style in row]).adjust_cell_length(WIDTH, STYLES[0])


def layout(rows) -> LayoutUpdate:
    return LayoutUpdate([[strip(row)] for row in rows], Region(0, 0, WIDTH, HEIGHT))


def terminal():
    screen = pyte.Screen(WIDTH, HEIGHT)
    return screen, pyte.Stream(screen)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(ROW, min_size=HEIGHT, max_size=HEIGHT), min_size=1, max_size=4))
def test_the_terminal_shows_each_picture(pictures):
    differ = FrameDiffer()
    screen, stream = terminal()
    for rows in pictures:
        assert differ.take(layout(rows))
        stream.feed(differ.encode(CONSOLE))
        fresh, fresh_stream = terminal()
        for y, row in enumerate(rows):
            fresh_stream.feed(f"\x1b[{y + 1};1H" + strip(row).render(CONSOLE))
        assert screen.display == fresh.display
        for y in range(HEIGHT):
            for x in range(WIDTH):
                shown, wanted = screen.buffer[y][x], fresh.buffer[y][x]
                assert (shown.data, shown.fg, shown.bg, shown.bold) == (wanted.data, wanted.fg, wanted.bg, wanted.bold)


def test_the_same_picture_again_sends_nothing():
    differ = FrameDiffer()
    rows = [[("hello", STYLES[0])], [], []]
    differ.take(layout(rows))
    assert differ.encode(CONSOLE)
    differ.take(layout(rows))
    assert differ.encode(CONSOLE) == ""


def test_one_changed_cell_is_a_few_bytes():
    differ = FrameDiffer()
    differ.take(layout([[("count 1", STYLES[0])], [], []]))
    differ.encode(CONSOLE)
    differ.take(layout([[("count 2", STYLES[0])], [], []]))
    data = differ.encode(CONSOLE)
    assert "2" in data
    assert len(data) < 30


def test_frames_that_wait_are_merged_into_the_newest():
    differ = FrameDiffer()
    for text in ("one", "two", "three"):
        differ.take(layout([[(text, STYLES[0])], [], []]))
    data = differ.encode(CONSOLE)
    assert "three" in data
    assert "one" not in data


def test_forgetting_sends_everything_again():
    differ = FrameDiffer()
    differ.take(layout([[("hello", STYLES[0])], [], []]))
    differ.encode(CONSOLE)
    differ.forget()
    assert "hello" in differ.encode(CONSOLE)


def test_fragments_are_put_where_they_belong():
    differ = FrameDiffer()
    screen, stream = terminal()
    differ.take(layout([[("." * WIDTH, STYLES[0])]] * HEIGHT))
    stream.feed(differ.encode(CONSOLE))
    piece = Strip([Segment("XY", STYLES[1])])
    differ.take(ChopsUpdate([{}, {4: piece}, {}], [(1, 4, 6)], [[], [6], []]))
    stream.feed(differ.encode(CONSOLE))
    assert screen.display[1] == "....XY" + "." * (WIDTH - 6)


def test_an_unknown_update_is_left_to_the_app():
    assert not FrameDiffer().take(InlineUpdate([strip([])]))
