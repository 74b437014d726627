"""Line and area charts as text: points in, styled rows out. Owns scales, buckets and glyphs; never a widget.

Time buckets are aligned to the wall clock and the picture moves by whole cells, so that between moves only the
newest column changes: a chart costs bytes when its data does, not because time passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from console.render.spans import Line, Span, fit_line, text_width
from console.render.units import nice_ceiling

Point = tuple[float, float | None]
Dots = Literal["braille", "block"]
"""How fine a line is: two by four dots a cell, or one by two where a terminal's font has no braille."""
_BRAILLE = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_HALVES = ((0x01, 0x02),)
_HALF_BLOCKS = " ▀▄█"
_BLOCKS = " ▁▂▃▄▅▆▇█"


class Series(msgspec.Struct, frozen=True):
    """One line of a chart: points oldest first, null where nobody measured."""

    name: str
    style: str
    points: Sequence[Point]
    reduce: Literal["max", "mean"] = "max"


class Frame(msgspec.Struct, frozen=True):
    """Where a chart is drawn: cells, the right edge in wall seconds, the window and the label of a value."""

    width: int
    height: int
    now: float
    window_s: float
    label: Callable[[float], str]
    floor: float = 0.0
    """The scale never shrinks below this maximum."""
    max_gap_s: float = 3.0
    """Points further apart than this are not connected."""
    area: bool = False
    """Fill the first series with blocks instead of drawing lines."""
    dots: Dots = "braille"


def chart(series: Sequence[Series], frame: Frame) -> list[Line]:
    """Exactly `frame.height` lines of `frame.width` cells: the plot, then its time axis."""
    if frame.width < 16 or frame.height < 2:
        return [fit_line((), frame.width) for _ in range(frame.height)]
    rows = frame.height - 1
    top = nice_ceiling(max([frame.floor, *(v for s in series for _, v in s.points if v is not None)], default=1.0))
    labels = value_labels(top, rows, frame.label)
    gutter = max(text_width(text) for text in labels) + 1
    columns = frame.width - gutter
    out = [
        fit_line((((label.rjust(gutter - 1) + " "), "faint"), *cells), frame.width)
        for label, cells in zip(labels, plot(series, frame, columns, rows, top), strict=True)
    ]
    out.append(_axis(gutter, columns, frame.window_s))
    return out


def plot(series: Sequence[Series], frame: Frame, columns: int, rows: int, top: float) -> list[Line]:
    """The picture alone: `rows` lines of `columns` cells, `top` is the value at its upper edge."""
    if frame.area:
        return _area(series, frame, columns, rows, top)
    return _lines(series, frame, columns, rows, top)


def value_labels(top: float, rows: int, label: Callable[[float], str]) -> list[str]:
    """What stands left of each row of a plot: its top, its middle where there is room, and nothing at its foot."""
    labels = [""] * rows
    labels[0] = label(top)
    labels[-1] = label(0.0) if rows > 1 else labels[-1]
    if rows >= 5:
        labels[rows // 2] = label(top / 2)
    return labels


def _axis(gutter: int, columns: int, window_s: float) -> Line:
    """Times before now, never a clock: `-5m      -4m      -3m ... now`."""
    cells = [" "] * columns
    steps = next((n for n in (5, 1) if columns // n >= 6), 1)
    for step in range(steps):
        text = _ago(window_s * (steps - step) / steps)
        at = round(columns * step / steps)
        if at + len(text) > columns - 5:
            break
        cells[at : at + len(text)] = text
    cells[columns - 3 :] = "now"
    return ((" " * gutter, "faint"), ("".join(cells[:columns]), "faint"))


def _ago(seconds: float) -> str:
    if seconds < 60:
        return f"-{seconds:.0f}s"
    minutes = seconds / 60
    return f"-{minutes:.0f}m" if abs(minutes - round(minutes)) < 0.05 else f"-{minutes:.1f}m"


def _buckets(series: Series, now: float, window_s: float, count: int, per_cell: int) -> list[float | None]:
    """`count` values oldest first on a grid fixed to the wall clock; the newest cell holds now."""
    step = window_s / count
    end = (math.floor(now / step) // per_cell + 1) * per_cell
    total: list[float] = [0.0] * count
    seen: list[int] = [0] * count
    for ts, value in series.points:
        at = math.floor(ts / step) - end + count
        if value is None or not 0 <= at < count:
            continue
        total[at] = max(total[at], value) if series.reduce == "max" and seen[at] else total[at] + value
        seen[at] += 1
    if series.reduce == "max":
        return [value if n else None for value, n in zip(total, seen, strict=True)]
    return [value / n if n else None for value, n in zip(total, seen, strict=True)]


def _lines(series: Sequence[Series], frame: Frame, columns: int, rows: int, top: float) -> list[Line]:
    """Dots finer than a cell; where lines meet, the later series gives the colour."""
    dots = _BRAILLE if frame.dots == "braille" else _HALVES
    across, down = len(dots), len(dots[0])
    bits = [[0] * columns for _ in range(rows)]
    styles = [["text"] * columns for _ in range(rows)]
    step = frame.window_s / (columns * across)
    reach = max(1, math.ceil(frame.max_gap_s / step))
    height = rows * down

    def dot(x: int, y: int, style: str) -> None:
        row, column = (height - 1 - y) // down, x // across
        bits[row][column] |= dots[x % across][(height - 1 - y) % down]
        styles[row][column] = style

    for one in series:
        before: tuple[int, int] | None = None
        for x, value in enumerate(_buckets(one, frame.now, frame.window_s, columns * across, across)):
            if value is None:
                continue
            y = min(height - 1, max(0, round(value / top * (height - 1))))
            if before is None or x - before[0] > reach:
                dot(x, y, one.style)
            else:
                _connect(before, (x, y), one.style, dot)
            before = (x, y)
    glyph = _braille_glyph if across == 2 else _HALF_BLOCKS.__getitem__
    return [runs([glyph(mask) for mask in row], names) for row, names in zip(bits, styles, strict=True)]


def _braille_glyph(mask: int) -> str:
    return chr(0x2800 + mask) if mask else " "


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


def _area(series: Sequence[Series], frame: Frame, columns: int, rows: int, top: float) -> list[Line]:
    """Block columns, an eighth of a cell fine, with a bright edge over a quiet body; only the first series."""
    style = series[0].style if series else "text"
    values = _held(
        _buckets(series[0], frame.now, frame.window_s, columns, 1) if series else [None] * columns,
        max(1, math.ceil(frame.max_gap_s / (frame.window_s / columns))),
    )
    grid: list[list[str]] = [[" "] * columns for _ in range(rows)]
    tones: list[list[str]] = [["rule"] * columns for _ in range(rows)]
    for x, value in enumerate(values):
        if value is None:
            continue
        eighths = min(rows * 8, round(value / top * rows * 8))
        if value > 0:
            eighths = max(1, eighths)
        for row in range(rows):
            grid[rows - 1 - row][x] = _BLOCKS[max(0, min(8, eighths - row * 8))]
        if eighths:
            tones[rows - 1 - (eighths - 1) // 8][x] = style
    return [runs(cells, names) for cells, names in zip(grid, tones, strict=True)]


def _held(values: list[float | None], reach: int) -> list[float | None]:
    """Short holes (a bucket finer than the sampling) take the value before them; longer ones stay gaps."""
    out = list(values)
    for x, value in enumerate(values):
        if value is None and x and out[x - 1] is not None:
            following = next((n for n in range(x, min(len(values), x + reach)) if values[n] is not None), None)
            if following is not None:
                out[x] = out[x - 1]
    return out


def runs(cells: Sequence[str], styles: Sequence[str]) -> Line:
    """Neighbouring cells of one style as one span; blanks join whatever stands before them."""
    out: list[Span] = []
    for cell, style in zip(cells, styles, strict=True):
        name = out[-1][1] if cell == " " and out else style
        if out and out[-1][1] == name:
            out[-1] = (out[-1][0] + cell, name)
        else:
            out.append((cell, name))
    return tuple(out)
