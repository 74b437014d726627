"""What the differ sends makes a terminal show exactly what is wanted, in few bytes, and nothing is sent twice."""

from __future__ import annotations

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.color import ColorSystem
from rich.color_triplet import ColorTriplet
from rich.segment import Segment
from rich.style import Style

from console.tui.differ import PLAIN, FrameDiffer, sgr
from console.tui.palette256 import nearest

WIDTH, HEIGHT = 30, 4
RED, GREEN, BLUE = Style(color="red"), Style(color="#00ff00", bold=True), Style(bgcolor="blue")
STYLES = [
    RED,
    GREEN,
    BLUE,
    Style(color="#102030", bgcolor="#405060", underline=True),
    Style(color="#102030", bgcolor="#405060"),
    Style(reverse=True),
    Style(bold=True, dim=True, italic=True),
    Style(dim=True, strike=True),
    Style(color="color(200)", bgcolor="color(17)"),
    Style(),
]
ONLY_SHORT = [style for style in STYLES if "#" not in str(style)]
SYSTEMS = {"standard": ColorSystem.STANDARD, "256": ColorSystem.EIGHT_BIT, "truecolor": ColorSystem.TRUECOLOR}
TEXT = st.one_of(
    st.text("ab ─●漢é⣿", min_size=1, max_size=8),
    st.sampled_from(["e\u0301", "漢字", " " * 20, "a" + " " * 15 + "b", " ", "x" * 12]),
)


def fitted(segments, width: int) -> list[Segment]:
    return list(Segment.adjust_line_length([Segment(*one) for one in segments], width, Style()))


def pieces(styles):
    """A frame: some pieces of lines, each put at a column."""
    piece = st.tuples(
        st.integers(0, HEIGHT - 1),
        st.sampled_from([(0, WIDTH), (0, 12), (12, WIDTH - 12), (5, 3), (WIDTH - 6, 6)]),
        st.lists(st.tuples(TEXT, st.sampled_from(styles)), max_size=5),
    )
    return st.lists(piece, max_size=6)


class Terminal:
    """An emulator, and one that is painted anew from all that should be there."""

    def __init__(self) -> None:
        self.screen = pyte.Screen(WIDTH, HEIGHT)
        self.feed = pyte.Stream(self.screen).feed

    def looks(self) -> list[list[tuple]]:
        """What is seen: a space's foreground is not."""
        self.screen.cursor.hidden = True
        out = []
        for y in range(HEIGHT):
            cells = [self.screen.buffer[y][x] for x in range(WIDTH)]
            out.append(
                [
                    (cell.data, cell.bg, cell.underscore, cell.strikethrough, cell.reverse)
                    if cell.data == " " and not (cell.underscore or cell.strikethrough or cell.reverse)
                    else tuple(cell)
                    for cell in cells
                ]
            )
        return out


class Picture:
    """What a terminal would be told by someone who always tells everything."""

    def __init__(self) -> None:
        self.lines = [[(" ", Style())] * WIDTH for _ in range(HEIGHT)]

    def put(self, y: int, x: int, segments: list[Segment]) -> None:
        line, at = self.lines[y], x
        for text, style, _ in segments:
            clusters: list[str] = []
            for character in text:
                if character == "\u0301":
                    clusters[-1] += character
                else:
                    clusters.append(character)
            for cluster in clusters:
                self._clear(line, at)
                line[at] = (cluster, style)
                at += 1
                if cluster == "漢" or cluster == "字":
                    self._clear(line, at)
                    line[at] = ("", style)
                    at += 1

    def _clear(self, line, at: int) -> None:
        if line[at][0] == "":
            line[at - 1] = (" ", line[at - 1][1])
        elif at + 1 < WIDTH and line[at + 1][0] == "":
            line[at + 1] = (" ", line[at + 1][1])

    def painted(self, system: ColorSystem) -> list[list[tuple]]:
        terminal = Terminal()
        for y, line in enumerate(self.lines):
            for x, (text, style) in enumerate(line):
                style._ansi = None  # rich remembers the first colour system that it was asked for
                terminal.feed(f"\x1b[{y + 1};{x + 1}H" + style.render(text, color_system=system) if text else "")
        return terminal.looks()


def check(frames, system: ColorSystem, *, erases: bool, limit: int | None) -> None:
    differ, terminal, picture = FrameDiffer(erases=erases), Terminal(), Picture()
    differ.drop(WIDTH)
    for y in range(HEIGHT):
        differ.put(y, 0, fitted([], WIDTH), WIDTH)
    for number, frame in enumerate(frames):
        for y, (x, width), segments in frame:
            line = fitted(segments, width)
            differ.put(y, x, line, width)
            picture.put(y, x, line)
        while True:  # a frame may take several writes; only when all are out is the picture complete
            terminal.feed(differ.encode(system, limit=limit, newest_first=bool(number % 2)))
            if not differ.pending:
                break
        assert terminal.looks() == picture.painted(system)
        assert differ.encode(system) == ""


@settings(max_examples=60, deadline=None)
@given(st.lists(pieces(STYLES), min_size=1, max_size=4), st.booleans(), st.sampled_from([None, 1, 40]))
def test_the_terminal_shows_each_frame(frames, erases, limit):
    check(frames, ColorSystem.TRUECOLOR, erases=erases, limit=limit)


@pytest.mark.parametrize("name", ["standard", "256"])
@settings(max_examples=25, deadline=None)
@given(st.lists(pieces(ONLY_SHORT), min_size=1, max_size=3))
def test_the_terminal_shows_each_frame_in_fewer_colors(name, frames):
    check(frames, SYSTEMS[name], erases=True, limit=None)


@settings(max_examples=150, deadline=None)
@given(
    *[st.tuples(st.integers(0, 2**13 - 1), st.sampled_from(["39", "31", "38;5;9"]), st.sampled_from(["49", "44"]))] * 2
)
def test_a_change_of_pen_is_what_a_fresh_pen_would_be_and_never_longer(now, want):
    attributes = sum(1 << bit for bit in (0, 2, 3, 6, 8))  # those that the emulator knows and rich's bits name
    now, want = (now[0] & attributes, *now[1:]), (want[0] & attributes, *want[1:])
    changed, fresh = Terminal(), Terminal()
    changed.feed(sgr(None, now) + sgr(now, want) + "x")
    fresh.feed(sgr(None, want) + "x")
    assert changed.screen.buffer[0][0] == fresh.screen.buffer[0][0]
    assert len(sgr(now, want)) <= len(sgr(None, want))


def painted(*rows) -> FrameDiffer:
    differ = FrameDiffer()
    differ.drop(WIDTH)
    show(differ, *rows)
    differ.encode(ColorSystem.TRUECOLOR)
    return differ


def show(differ: FrameDiffer, *rows) -> None:
    for y, row in enumerate(rows):
        differ.put(y, 0, fitted(row, WIDTH), WIDTH)


def sent(differ: FrameDiffer) -> str:
    return differ.encode(ColorSystem.TRUECOLOR)


def test_the_same_frame_again_sends_nothing():
    differ = painted([("hello", RED)])
    show(differ, [("hello", RED)])
    assert sent(differ) == ""


def test_one_changed_cell_is_its_place_its_color_and_itself():
    differ = painted([("count 1", RED)])
    show(differ, [("count 2", RED)])
    assert sent(differ) == "\x1b[1;7H\x1b[0;31m2\x1b[m"


def test_a_near_second_change_moves_ahead_and_keeps_the_pen():
    differ = painted([("1" + "." * 8 + "1", RED)])
    show(differ, [("2" + "." * 8 + "2", RED)])
    assert sent(differ) == "\x1b[H\x1b[0;31m2\x1b[8C2\x1b[m"


def test_a_gap_shorter_than_the_way_over_it_is_written_again():
    differ = painted([("1.1", RED)])
    show(differ, [("2.2", RED)])
    assert sent(differ) == "\x1b[H\x1b[0;31m2.2\x1b[m"


def test_after_a_character_of_doubtful_width_the_way_is_absolute():
    differ = painted([("●" + "." * 9 + "1", RED)])
    show(differ, [("◆" + "." * 9 + "2", RED)])
    assert "\x1b[11G" in sent(differ)


def test_the_same_column_of_another_line_is_a_short_way():
    rows = [[("....................", RED)] for _ in range(HEIGHT)]
    differ = painted(*rows)
    show(differ, *[[("..........o.........", RED)] for _ in range(HEIGHT)])
    assert "\x1b[3;11H" in sent(differ)  # the cursor has gone on by one
    differ = painted(*rows)
    differ.put(0, 9, [Segment("o", RED)], 1)
    differ.put(1, 10, [Segment("o", RED)], 1)
    assert sent(differ) == "\x1b[1;10H\x1b[0;31mo\x1b[2do\x1b[m"


def test_text_that_goes_is_erased_to_the_end_of_the_line():
    differ = painted([("a long line of words", BLUE)])
    show(differ, [("a", BLUE), (" " * WIDTH, BLUE)])
    assert sent(differ) == "\x1b[1;3H\x1b[0;44m\x1b[K\x1b[m"


def test_blanks_in_the_middle_are_erased_where_they_are_many():
    differ = painted([("left" + "x" * 20 + "right", BLUE)])
    show(differ, [("left" + " " * 20 + "right", BLUE)])
    assert sent(differ) == "\x1b[1;5H\x1b[0;44m\x1b[20X\x1b[m"


def test_a_terminal_that_erases_without_color_is_written_blanks():
    differ = FrameDiffer(erases=False)
    differ.drop(WIDTH)
    show(differ, [("x" * WIDTH, BLUE)])
    sent(differ)
    show(differ, [(" " * WIDTH, BLUE)])
    data = sent(differ)
    assert "\x1b[K" not in data and "X" not in data
    assert " " * WIDTH in data


def test_spaces_do_not_change_the_pen_where_only_the_foreground_differs():
    on = [Style(color=color, bgcolor="blue") for color in ("red", "green")]
    differ = painted([])
    show(differ, [("a", on[0]), ("  ", on[1]), ("b", on[0])])
    assert "a  b" in sent(differ)


def test_frames_that_wait_are_merged_into_the_newest():
    differ = painted([])
    for text in ("one", "two", "three"):
        show(differ, [(text, RED)])
    data = sent(differ)
    assert "three" in data
    assert "one" not in data


def test_a_limited_write_leaves_the_rest_for_later_and_the_newest_can_go_first():
    differ = painted(*[[] for _ in range(HEIGHT)])
    show(differ, *[[(f"line {y}", RED)] for y in range(HEIGHT)])
    first = differ.encode(ColorSystem.TRUECOLOR, limit=1)
    assert "line 0" in first and "line 1" not in first
    assert differ.pending
    differ.put(2, 0, fitted([("newer", RED)], WIDTH), WIDTH)
    assert "newer" in differ.encode(ColorSystem.TRUECOLOR, limit=1, newest_first=True)
    assert "line 2" not in sent(differ)


def test_forgetting_sends_everything_again_and_another_size_nothing_old():
    differ = painted([("hello", RED)])
    differ.forget()
    assert "hello" in sent(differ)
    differ.drop(10)
    assert not differ.pending
    assert sent(differ) == ""


def test_half_a_wide_character_that_is_left_over_becomes_a_space():
    differ, terminal = painted([("漢字", RED)]), Terminal()
    differ.forget()
    terminal.feed(sent(differ))
    differ.put(0, 1, [Segment("x", RED)], 1)
    differ.put(0, 2, [Segment("y", RED)], 1)
    terminal.feed(sent(differ))
    assert terminal.screen.display[0].startswith(" xy ")


def test_a_mark_without_a_letter_and_control_segments_are_left_out():
    differ = painted([])
    differ.put(0, 0, [Segment("\u0301ab", RED), Segment("", None, []), Segment("\x07", None, [(1,)])], 2)
    assert "ab" in sent(differ)


def test_the_first_pen_says_all_of_itself():
    assert sgr(None, PLAIN) == "\x1b[m"
    assert sgr((1, "31", "49"), PLAIN) == "\x1b[m"
    assert sgr((3, "31", "49"), (2, "31", "49")) == "\x1b[22;2m"


@pytest.mark.parametrize(
    ("wanted", "number"),
    [((0, 0, 0), 16), ((255, 255, 255), 231), ((18, 18, 18), 233), ((15, 20, 30), 233), ((255, 90, 0), 202)],
)
def test_the_nearest_of_the_fixed_colors(wanted, number):
    assert nearest(ColorTriplet(*wanted)).number == number
