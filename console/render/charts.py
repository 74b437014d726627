"""Line and area charts as text: points in, styled rows out. Owns a chart's shape; never a widget.

Time buckets are aligned to the wall clock and the picture moves by whole cells, so that between moves only the
newest column changes: a chart costs bytes when its data does, not because time passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec

from backend.contract.control import SeriesPoint
from console.render.chart_list import ChartSpec
from console.render.plotter import Dots, Pen, Plotter, draw, per_cell, rows_of
from console.render.scales import GUTTER, beside, time_axis, value_labels
from console.render.spans import EMPTY, Line, Span, fit_line
from console.render.units import nice_ceiling
from console.state.series import FIELDS, Buckets, Grid, grid

Point = tuple[float, float | None]


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
    max_gap_s: float = 3.0
    """Points further apart than this are not connected."""
    area: bool = False
    """Fill the first series with blocks instead of drawing lines."""
    dots: Dots = "braille"


def plot(series: Sequence[Series], frame: Frame, columns: int, rows: int, top: float) -> list[Line]:
    """A picture from points: `rows` lines of `columns` cells, `top` is the value at its upper edge."""
    cells = grid(frame.now, frame.window_s, columns, per_cell(frame.dots, area=frame.area))
    reach = max(1, math.ceil(frame.max_gap_s / cells.step_s))
    pen = Pen(tuple(one.style for one in series), rows, top, reach, frame.dots, frame.area)
    values = [_bucketed(one, cells, pen.lead) for one in series]
    return rows_of(draw(values, pen), rows)


def _bucketed(series: Series, cells: Grid, lead: int) -> list[float | None]:
    """Values oldest first, from `lead` buckets before the picture to its end."""
    first = cells.first - lead
    out: list[float | None] = [None] * (cells.end - first)
    seen = [0] * len(out)
    for ts, value in series.points:
        at = math.floor(ts / cells.step_s) - first
        if value is None or not 0 <= at < len(out):
            continue
        seen[at] += 1
        before = out[at]
        if before is None:
            out[at] = value
        else:
            out[at] = max(before, value) if series.reduce == "max" else before + (value - before) / seen[at]
    return out


class Look(msgspec.Struct, frozen=True):
    """How a chart is looked at: its cells, the stretch of time, and what stands across it."""

    width: int
    height: int
    edge: float
    """The right edge, wall seconds."""
    window_s: float
    dots: Dots = "braille"
    axis: bool = True
    """Whether the time axis stands below the plot."""
    held: bool = False
    """The right edge is no present: the axis shows times of day."""
    marks: Line | None = None
    """The row of marks above the axis, gutter left out; null where there is none."""
    rulers: Mapping[int, Span] = {}
    """Thin lines through the plot by column."""
    max_gap_s: float = 3.0
    dashed: bool = False
    """Lines are told apart by their dashes: there is no colour."""
    stride: int = 1
    """Cells by which the picture moves at once."""


class Chart:
    """One chart, drawn every second: keeps its buckets and columns, so that a second costs what it brings."""

    def __init__(self, spec: ChartSpec) -> None:
        self.spec = spec
        self.plotter = Plotter()
        self._buckets: Buckets | None = None

    def cells(self, look: Look) -> Grid:
        """The grid of a look; null columns where there is no room."""
        columns = max(1, look.width - GUTTER)
        return grid(look.edge, look.window_s, columns, per_cell(look.dots, area=self.spec.area), look.stride)

    def lines(self, points: Sequence[SeriesPoint], look: Look, older: Sequence[SeriesPoint] = ()) -> list[Line]:
        """Exactly `look.height` lines of `look.width` cells."""
        below = int(look.axis) + int(look.marks is not None)
        rows = look.height - below
        if look.width < 16 or rows < 1:
            return [fit_line(EMPTY, look.width) for _ in range(look.height)]
        cells, values, pen = self._measured(points, look, older, rows)
        columns = self.plotter.columns(values, cells.first, pen)
        rulers = {at: span for at, span in look.rulers.items() if at < cells.columns}
        out = beside(value_labels(pen.top, rows, self.spec.label), GUTTER, rows_of(columns, rows, rulers))
        if look.marks is not None:
            out.append(((" " * GUTTER, "text"), *look.marks))
        if look.axis:
            out.append(time_axis(GUTTER, cells.columns, look.window_s, look.edge if look.held else None))
        return [fit_line(line, look.width) for line in out]

    def at(self, ts: float, look: Look) -> dict[str, float | None]:
        """What the chart shows at an instant, by field; null where nobody measured."""
        if self._buckets is None:
            return {}
        reach = max(1, math.ceil(look.max_gap_s / self._buckets.step_s))
        names = [field.name for field in self._buckets.fields]
        return dict(zip(names, self._buckets.near(ts, reach), strict=True))

    def _measured(
        self, points: Sequence[SeriesPoint], look: Look, older: Sequence[SeriesPoint], rows: int
    ) -> tuple[Grid, list[list[float | None]], Pen]:
        """Grid, values and pen."""
        spec, cells = self.spec, self.cells(look)
        buckets = self._following(points, older, cells.step_s)
        reach = max(1, math.ceil(look.max_gap_s / cells.step_s))
        pen = Pen(spec.styles, rows, 1.0, reach, look.dots, spec.area, look.dashed)
        values = buckets.window(cells.first - pen.lead, cells.end - cells.first + pen.lead)[: len(spec.lines)]
        seen = [max((v for v in one[pen.lead :] if v is not None), default=0.0) for one in values]
        top = spec.ceiling or nice_ceiling(max(spec.floor, *seen))
        return cells, values, msgspec.structs.replace(pen, top=top)

    def _following(self, points: Sequence[SeriesPoint], older: Sequence[SeriesPoint], step_s: float) -> Buckets:
        if self._buckets is None or self._buckets.step_s != step_s:
            self._buckets = Buckets([FIELDS[name] for name in self.spec.fields], step_s)
        self._buckets.follow(points, older)
        return self._buckets
