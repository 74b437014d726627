"""Values in buckets to cells: braille or half-block lines, block areas. Redraws only the columns that changed.

Owns glyphs and the cells drawn last; knows nothing of time, scales or where values come from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

import msgspec

from console.render.spans import Line, Span

Dots = Literal["braille", "block"]
"""How fine a line is: two by four dots a cell, or one by two where a terminal's font has no braille."""
Values = Sequence[Sequence[float | None]]
"""Of each series, oldest first; null where nobody measured."""
Column = tuple[tuple[str, ...], tuple[str, ...]]
"""Glyphs and styles of a column's cells, the upper first."""
_BRAILLE: Final = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_HALVES: Final = ((0x01, 0x02),)
_HALF_BLOCKS: Final = " ▀▄█"
_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
_DASHES: Final = ((1, 1), (6, 4), (2, 1))
"""Of each line, where there is no colour to tell them apart: a period in buckets, and how many of it are drawn."""
DASH_GLYPHS: Final = "━╍┅"
"""The same in a legend."""
_GLYPHS: Final = " " + "".join(chr(0x2800 + mask) for mask in range(1, 256))


class Pen(msgspec.Struct, frozen=True):
    """How values become cells."""

    styles: tuple[str, ...]
    rows: int
    top: float
    """The value at the upper edge."""
    reach: int = 1
    """Buckets further apart than this are not connected."""
    dots: Dots = "braille"
    area: bool = False
    """Fill the first series with blocks instead of drawing lines."""
    dashed: bool = False
    """Lines are told apart by their dashes."""

    @property
    def across(self) -> int:
        """Buckets in a cell."""
        return per_cell(self.dots, area=self.area)

    @property
    def lead(self) -> int:
        """Buckets left of the picture that its first column depends on."""
        return 2 * self.reach


def per_cell(dots: Dots, *, area: bool) -> int:
    """Buckets in a cell: braille is two dots wide."""
    return 2 if dots == "braille" and not area else 1


class Plotter:
    """Remembers the columns drawn last. The picture is the same as one drawn anew."""

    def __init__(self) -> None:
        self._pen: Pen | None = None
        self._first = 0
        self._values: list[list[float | None]] = []
        self._columns: list[Column] = []
        self.drawn = 0
        """Columns that were drawn in all."""

    def columns(self, values: list[list[float | None]], first: int, pen: Pen) -> list[Column]:
        """Columns of a picture whose leftmost bucket is `first`; values begin `pen.lead` buckets before it."""
        across = pen.across
        count = (len(values[0]) - pen.lead) // across
        start = self._unchanged(values, first, pen, count)
        shift = (first - self._first) // across
        fresh = draw(values, pen, start, first)
        self._columns = [*self._columns[shift : shift + start], *fresh] if start else fresh
        self._pen, self._first, self._values = pen, first, values
        self.drawn += len(fresh)
        return self._columns

    def _unchanged(self, values: list[list[float | None]], first: int, pen: Pen, count: int) -> int:
        """How many columns at the left are as they were, only moved."""
        shift = first - self._first
        if pen != self._pen or len(values) != len(self._values) or len(values[0]) != len(self._values[0]):
            return 0
        if shift < 0 or shift >= len(values[0]):
            return 0
        kept = len(values[0]) - shift
        same = kept
        for old, new in zip(self._values, values, strict=True):
            if old[shift:] != new[:kept]:
                same = min(same, next(at for at in range(kept) if old[shift + at] != new[at]))
        return count if same == len(values[0]) else max(0, (same - 2 * pen.lead) // pen.across)


def draw(values: Values, pen: Pen, start: int = 0, first: int = 0) -> list[Column]:
    """The columns from `start` on; values begin `pen.lead` buckets left of column 0, which begins with bucket `first`
    (dashes are fixed to the wall clock too)."""
    count = (len(values[0]) - pen.lead) // pen.across if values else 0
    if start >= count:
        return []
    return _area(values[0], pen, start, count) if pen.area else _lines(values, pen, start, count, first)


def _lines(values: Values, pen: Pen, start: int, count: int, first: int) -> list[Column]:
    """Dots finer than a cell; where lines meet, the later series gives the colour."""
    dots = _BRAILLE if pen.dots == "braille" else _HALVES
    across, down = len(dots), len(dots[0])
    rows, reach = pen.rows, pen.reach
    height = rows * down
    scale = (height - 1) / pen.top
    bits = [[0] * rows for _ in range(count - start)]
    styles = [["text"] * rows for _ in range(count - start)]
    begin = start * across

    def dot(x: int, y: int, style: str) -> None:
        if x >= begin and (first + x) % period < drawn:
            row, column = (height - 1 - y) // down, x // across - start
            bits[column][row] |= dots[x % across][(height - 1 - y) % down]
            styles[column][row] = style

    for at, (one, style) in enumerate(zip(values, pen.styles, strict=True)):
        period, drawn = _DASHES[at % len(_DASHES)] if pen.dashed else (1, 1)
        before: tuple[int, int] | None = None
        for x in range(begin - reach, count * across):
            value = one[x + pen.lead]
            if value is None:
                continue
            y = min(height - 1, max(0, round(value * scale)))
            if before is None or x - before[0] > reach:
                dot(x, y, style)
            else:
                _connect(before, (x, y), style, dot)
            before = (x, y)
        if before is not None and before[0] == count * across - across:
            # The newest cell is half over: a line that does not move must not repaint when its other half comes.
            for x in range(before[0] + 1, count * across):
                dot(x, before[1], style)
    glyphs = _GLYPHS if across == 2 else _HALF_BLOCKS
    return [(tuple(glyphs[mask] for mask in column), tuple(tones)) for column, tones in zip(bits, styles, strict=True)]


def _connect(before: tuple[int, int], after: tuple[int, int], style: str, dot: Callable[[int, int, str], None]) -> None:
    """A line whose every column has a dot and whose steps are joined."""
    (x0, y0), (x1, y1) = before, after
    last = y0
    for x in range(x0 + 1, x1 + 1):
        y = round(y0 + (y1 - y0) * (x - x0) / (x1 - x0))
        low, high = (last + 1, y) if y > last else (y, last - 1) if y < last else (y, y)
        for level in range(low, high + 1):
            dot(x, level, style)
        last = y


def _area(values: Sequence[float | None], pen: Pen, start: int, count: int) -> list[Column]:
    """Block columns, an eighth of a cell fine, with a bright edge over a quiet body; only the first series."""
    rows, style, lead = pen.rows, pen.styles[0], pen.lead
    held = _held(values[start : count + lead], pen.reach)[lead:]
    blank = ((" ",) * rows, ("text",) * rows)
    out: list[Column] = []
    for value in held:
        if value is None or value <= 0:
            out.append(blank)
            continue
        eighths = max(1, min(rows * 8, round(value / pen.top * rows * 8)))
        edge = rows - 1 - (eighths - 1) // 8
        cells = tuple(_BLOCKS[max(0, min(8, eighths - (rows - 1 - row) * 8))] for row in range(rows))
        out.append((cells, tuple(style if row == edge else "rule" for row in range(rows))))
    return out


def _held(values: Sequence[float | None], reach: int) -> list[float | None]:
    """Short holes (a bucket finer than the sampling) take the value before them; longer ones stay gaps."""
    out = list(values)
    for x, value in enumerate(values):
        if value is None and x and out[x - 1] is not None:
            following = next((n for n in range(x, min(len(values), x + reach)) if values[n] is not None), None)
            if following is not None:
                out[x] = out[x - 1]
    return out


def rows_of(columns: Sequence[Column], rows: int, rulers: Mapping[int, Span] | None = None) -> list[Line]:
    """Columns as lines. A ruler (column -> glyph and style) stands where no data is; where data is, its cell only
    takes the ruler's surface, so that nothing is hidden."""
    if not columns:
        return [()] * rows
    glyphs = list(zip(*(column[0] for column in columns), strict=True))
    styles = list(zip(*(column[1] for column in columns), strict=True))
    if not rulers:
        return [runs(cells, names) for cells, names in zip(glyphs, styles, strict=True)]
    out: list[Line] = []
    for cells, names in zip(map(list, glyphs), map(list, styles), strict=True):
        for at, (glyph, style) in rulers.items():
            surface = style.partition(" on-")[2]
            if cells[at] == " ":
                cells[at], names[at] = glyph, style
            elif surface:
                names[at] = f"{names[at]} on-{surface}"
        out.append(runs(cells, names))
    return out


def runs(cells: Sequence[str], styles: Sequence[str]) -> Line:
    """Neighbouring cells of one style as one span; blanks join whatever stands before them, but for surfaces."""
    out: list[Span] = []
    text, name = "", ""
    for cell, style in zip(cells, styles, strict=True):
        if text and (style == name or (cell == " " and " on-" not in name and " on-" not in style)):
            text += cell
            continue
        if text:
            out.append((text, name))
        text, name = cell, style
    if text:
        out.append((text, name))
    return tuple(out)
