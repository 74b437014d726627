"""What to write so that a terminal shows a picture, in as few bytes as can be. Pure: writes nowhere, asks nobody.

Owns two pictures, cell by cell: what the terminal was told, and what it should show. Only cells that differ are
sent, with the shortest way to each and only what changes between two styles; blanks to the end of a line are erased.
Nothing depends on the width that a terminal gives to a doubtful character: after one, the way is absolute again.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from rich.cells import split_graphemes
from rich.color import Color, ColorSystem, ColorType
from rich.style import Style

from console.tui.palette256 import nearest

ERASE_FROM: Final = 12
"""Blank cells within a line that are cheaper erased than written."""
BRIDGE: Final = 12
"""Longer gaps of unchanged cells are always jumped over."""
_ON_BLANKS: Final = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 9 | 1 << 12
"""Attributes that a space shows: underlines, reverse, strike, overline."""
_OFF: Final = ((0b11, "22"), (0b100, "23"), (0b10_0000_1000, "24"), (0b11_0000, "25"), (1 << 6, "27"), (1 << 7, "28"),
               (1 << 8, "29"), (0b1100_0000_0000, "54"), (1 << 12, "55"))  # fmt: skip
_ON: Final = ("1", "2", "3", "4", "5", "6", "7", "8", "9", "21", "51", "52", "53")


class Ink(NamedTuple):
    """How a cell looks, apart from its text."""

    attributes: int
    fg: Color | None
    bg: Color | None
    any_fg: bool = False
    """A blank: no foreground is seen."""


Cell = tuple[str, Ink]
Pen = tuple[int, str, str]
"""Attributes, foreground and background codes that the terminal has switched on."""
PLAIN: Final[Pen] = (0, "39", "49")
_NO_INK: Final = Ink(0, None, None)
NOTHING: Final[Cell] = ("\0", _NO_INK)
"""A cell of which nobody has said what it should show."""


class FrameDiffer:
    """See the module. `erases`: the terminal erases in the present background (GNU screen does not)."""

    def __init__(self, *, erases: bool = True) -> None:
        self.erases = erases
        self.width = 0
        self._wanted: dict[int, list[Cell]] = {}
        self._shown: dict[int, list[Cell]] = {}
        self._dirty: dict[int, None] = {}

    @property
    def pending(self) -> bool:
        """Something may have to be sent."""
        return bool(self._dirty)

    def forget(self) -> None:
        """The terminal may show anything now: send all that is wanted."""
        self._shown.clear()
        self._dirty.update(dict.fromkeys(sorted(self._wanted)))

    def drop(self, width: int = 0) -> None:
        """Another size: forget also what should be there."""
        self.width = width
        self._wanted.clear()
        self._shown.clear()
        self._dirty.clear()

    def put(self, y: int, x: int, segments: Iterable[Sequence[object]], width: int) -> None:
        """From column `x` of line `y` on, `width` cells should show these (text, style, control) segments."""
        cells: list[Cell] = []
        for text, style, control in segments:
            if not control and text:
                cells += _cells(str(text), style if isinstance(style, Style) else None)
        if len(cells) != width:
            cells = cells[:width] + [(" ", _NO_INK)] * (width - len(cells))
        line = self._wanted.setdefault(y, [])
        if len(line) < x:
            line += [NOTHING] * (x - len(line))
        if line[x : x + width] == cells:
            return
        if x and x < len(line) and line[x][0] == "":
            line[x - 1] = (" ", blank(line[x - 1][1]))  # half of a wide character is no character
        if x + width < len(line) and line[x + width][0] == "":
            line[x + width] = (" ", blank(line[x + width][1]))
        line[x : x + width] = cells
        self._dirty.pop(y, None)
        self._dirty[y] = None

    def encode(self, system: ColorSystem, *, limit: int | None = None, newest_first: bool = False) -> str:
        """What must be written so that the terminal shows what is wanted; empty where it does already.

        With a `limit`, lines beyond that many characters wait for the next call, in what they should show by then.
        """
        writer = _Writer(system)
        order = list(self._dirty)
        if newest_first:
            order.reverse()
        if limit is None:
            order.sort()
        for y in order:
            if limit is not None and writer.size >= limit:
                break
            del self._dirty[y]
            line, shown = self._wanted[y], self._shown.get(y, [])
            if line != shown:
                self._encode_line(writer, y, line, shown)
                self._shown[y] = list(line)
        return writer.finish()

    def _encode_line(self, writer: _Writer, y: int, line: list[Cell], shown: list[Cell]) -> None:
        tail = _blank_tail(line, self.erases) if len(line) == self.width else len(line)
        for start, end in changes(shown, line):
            writer.go(y, start, line)
            if end > tail and len(line) - max(start, tail) > 3:
                writer.put(line[start:tail], self.erases)
                writer.erase_to_end(y, max(start, tail), line[-1][1])
                return
            writer.put(line[start:end], self.erases)


class _Writer:
    """Puts one frame together: knows where the terminal's cursor is and which pen it holds."""

    def __init__(self, system: ColorSystem) -> None:
        self.size = 0
        self._system = system
        self._out: list[str] = []
        self._at: tuple[int, int] | None = None
        self._sure = False
        """No doubtful character since the last absolute way, so that a relative one is safe."""
        self._pen: Pen | None = None

    def finish(self) -> str:
        if self._out and self._pen != PLAIN:
            self._add("\x1b[m")
        return "".join(self._out)

    def _add(self, text: str) -> None:
        self._out.append(text)
        self.size += len(text)

    def go(self, y: int, x: int, line: list[Cell]) -> None:
        """To that cell, the cheapest way; a gap that the present pen can write is written again."""
        way = f"\x1b[{y + 1};{x + 1}H" if x else f"\x1b[{y + 1}H" if y else "\x1b[H"
        if self._at is not None and self._at[0] == y:
            gap = x - self._at[1]
            if gap == 0:
                return
            across = f"\x1b[{x + 1}G"
            if self._sure and gap < 1000:
                ahead = "\x1b[C" if gap == 1 else f"\x1b[{gap}C"
                across = min(ahead, across, key=len)
            if gap <= BRIDGE:
                between = line[self._at[1] : x]
                if all(self._fits(ink) for _, ink in between):
                    text = "".join(text for text, _ in between)
                    if len(text.encode()) <= len(across) and "\0" not in text:
                        self._text(text)
                        self._at = (y, x)
                        return
            way = min(across, way, key=len)
        elif self._at is not None and self._at[1] == x and self._sure:
            way = min(f"\x1b[{y + 1}d", way, key=len)
        if way[-1] in "HG":
            self._sure = True
        self._add(way)
        self._at = (y, x)

    def put(self, cells: list[Cell], erases: bool) -> None:
        """Write cells from where the cursor is on."""
        assert self._at is not None
        y, x = self._at
        at, size = 0, len(cells)
        while at < size:
            ink = cells[at][1]
            end = _end_of_blanks(cells, at) if erases and ink.any_fg else at
            if end - at >= ERASE_FROM:
                self._skip_to(y, x + at)
                self._ink(ink, cells, at)
                self._add(f"\x1b[{end - at}X")
                at = end
                continue
            self._skip_to(y, x + at)
            self._ink(ink, cells, at)
            end = at + 1
            while end < size:
                other = cells[end][1]
                if other is not ink and not self._fits(other):
                    break
                if other.any_fg and end + ERASE_FROM <= size and cells[end + ERASE_FROM - 1][1] is other:
                    break  # perhaps blanks enough to erase
                end += 1
            self._text("".join(text for text, _ in cells[at:end]))
            at = end
            self._at = (y, x + at)

    def _skip_to(self, y: int, x: int) -> None:
        """Over blanks that were just erased."""
        if self._at != (y, x):
            assert self._at is not None
            gap = x - self._at[1]
            self._add(f"\x1b[{gap}C" if self._sure else f"\x1b[{x + 1}G")
            self._sure = True
            self._at = (y, x)

    def erase_to_end(self, y: int, x: int, ink: Ink) -> None:
        """The line becomes blank in that ink from column `x` on."""
        self._skip_to(y, x)
        self._ink(ink, (), 0)
        self._add("\x1b[K")

    def _text(self, text: str) -> None:
        self._add(text)
        if not text.isascii() and self._sure:
            self._sure = all(_is_sure(character) for character in text)

    def _fits(self, ink: Ink) -> bool:
        """The pen writes this ink as it is."""
        pen = self._pen
        if pen is None:
            return False
        attributes, fg, bg = _codes(ink, self._system)
        if ink.any_fg:
            return pen[2] == bg and not pen[0] & _ON_BLANKS
        return pen == (attributes, fg, bg)

    def _ink(self, ink: Ink, cells: Sequence[Cell], at: int) -> None:
        """Make the pen fit. A blank takes the pen of the next text where that has its background."""
        if self._fits(ink):
            return
        want = _codes(ink, self._system)
        if ink.any_fg:
            following = next((_codes(other, self._system) for _, other in cells[at:] if not other.any_fg), None)
            if following is not None and following[2] == want[2] and not following[0] & _ON_BLANKS:
                want = following
            elif self._pen is not None:
                want = (self._pen[0] & ~_ON_BLANKS, self._pen[1], want[2])
        self._add(sgr(self._pen, want))
        self._pen = want


def changes(shown: list[Cell], wanted: list[Cell]) -> list[tuple[int, int]]:
    """Half-open ranges of cells to send; a range never begins or ends within a wide character."""
    ranges: list[tuple[int, int]] = []
    known, at, size = len(shown), 0, len(wanted)
    while at < size:
        if wanted[at] is NOTHING or (at < known and shown[at] == wanted[at]):
            at += 1
            continue
        start = at
        while start and wanted[start][0] == "":
            start -= 1
        while at < size and wanted[at] is not NOTHING and not (at < known and shown[at] == wanted[at]):
            at += 1
        while at < size and wanted[at][0] == "":
            at += 1
        ranges.append((start, at))
    return ranges


def _end_of_blanks(cells: list[Cell], at: int) -> int:
    """Where the blanks of one ink end that begin there."""
    ink, size = cells[at][1], len(cells)
    while at < size and cells[at][1] is ink:
        at += 1
    return at


def _blank_tail(line: list[Cell], erases: bool) -> int:
    """Where the blanks begin that reach to the end of the line and can be erased at once."""
    at = len(line)
    if not line:
        return at
    ink = line[-1][1]
    if not ink.any_fg or not (erases or ink.bg is None or ink.bg.type == ColorType.DEFAULT):
        return at
    while at and line[at - 1][1] is ink:
        at -= 1
    return at


@lru_cache(2048)  # a few screens: a log line is some kilobytes of cells, and never comes again
def _cells(text: str, style: Style | None) -> list[Cell]:
    """One entry a terminal cell; the second half of a wide character is an empty text. Not to be changed."""
    ink = ink_of(style)
    space = (" ", blank(ink))
    if text.isascii():
        return [space if character == " " else (character, ink) for character in text]
    out: list[Cell] = []
    for start, end, size in split_graphemes(text)[0]:
        grapheme = text[start:end]
        if size == 0:
            continue  # a mark without a letter
        out.append(space if grapheme == " " else (grapheme, ink))
        if size == 2:
            out.append(("", ink))
    return out


@lru_cache(4096)
def _is_sure(character: str) -> bool:
    """Every terminal gives it one cell."""
    return unicodedata.east_asian_width(character) in ("N", "Na", "H") and not unicodedata.combining(character)


@lru_cache(4096)
def ink_of(style: Style | None) -> Ink:
    """What a style looks like; equal looks are one object. Links and meta data are no look."""
    if style is None:
        return _NO_INK
    return _interned(style._attributes & style._set_attributes, style.color, style.bgcolor, False)


@lru_cache(4096)
def _interned(attributes: int, fg: Color | None, bg: Color | None, any_fg: bool) -> Ink:
    return Ink(attributes, fg, bg, any_fg)


@lru_cache(4096)
def blank(ink: Ink) -> Ink:
    """How a space in that ink looks: without a foreground, unless an attribute shows on spaces."""
    return ink if ink.attributes & _ON_BLANKS else _interned(0, None, ink.bg, True)


@lru_cache(8192)
def _codes(ink: Ink, system: ColorSystem) -> Pen:
    """The pen that writes an ink in a colour system."""
    return ink.attributes, _color(ink.fg, system, "39"), _color(ink.bg, system, "49")


def _color(color: Color | None, system: ColorSystem, default: str) -> str:
    if color is None or color.type == ColorType.DEFAULT:
        return default
    if color.type == ColorType.TRUECOLOR and system == ColorSystem.EIGHT_BIT and color.triplet is not None:
        color = nearest(color.triplet)
    return ";".join(color.downgrade(system).get_ansi_codes(default == "39"))


@lru_cache(8192)
def sgr(now: Pen | None, want: Pen) -> str:
    """The shortest sequence that changes one pen to another; from None, an unknown one."""
    if now == want:
        return ""
    on = [code for bit, code in enumerate(_ON) if want[0] >> bit & 1]
    colors = [code for code, plain in zip(want[1:], PLAIN[1:], strict=True) if code != plain]
    whole = ";".join(("0", *on, *colors)) if on or colors else ""
    if now is None:
        return f"\x1b[{whole}m"
    off, have = [], now[0]
    for bits, code in _OFF:
        if have & bits & ~want[0]:
            off.append(code)
            have &= ~bits
    on = [code for bit, code in enumerate(_ON) if want[0] & ~have & 1 << bit]
    colors = [code for code, known in zip(want[1:], now[1:], strict=True) if code != known]
    return f"\x1b[{min(whole, ';'.join((*off, *on, *colors)), key=len)}m"
