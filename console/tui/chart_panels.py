"""Panels that draw over time: charts, their shared axis and the line of words. They share a `Stage`.

Owns what the mouse does on a chart; which keys move the cursor is the view's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual import events
from textual.message import Message

from console.render import marks as mark_glyphs
from console.render import scales, units
from console.render.chart_list import ChartSpec, legend
from console.render.charts import Chart, Look
from console.render.panels import title
from console.render.spans import Line, Span, fit_line, line_width
from console.state.marks import Mark, MarkBook, near
from console.state.recorded import Stretch
from console.state.series import DEFAULT_ZOOM, FIELDS, ZOOMS, Grid, TimeLens, grid
from console.state.store import FleetState
from console.tui.canvas import Canvas, Panel

if TYPE_CHECKING:
    from console.tui.app import TrinityApp

MARK_ROW_FROM = 8
"""Lines of a chart with an axis of its own from which on it also has a row of marks."""

THIN_LINK_STRIDE = 6


class Stage:
    """What the charts of one view share: the lens, the marks, and what the record knew before the state's points."""

    def __init__(self, level: int = DEFAULT_ZOOM) -> None:
        self.lens = TimeLens(level)
        self.book = MarkBook()
        self.known = Stretch()

    def newest(self, state: FleetState, now: float) -> float:
        """The newest point's time: a stale picture stands still."""
        return state.points[-1].ts if state.points else now

    def floor(self, state: FleetState, newest: float) -> float:
        """How far back the cursor may go: a picture further than what is shown, or to where the record begins."""
        edge = self.lens.edge(newest)
        held = state.points[0].ts if state.points else newest
        begins = self.known.begins(held)
        return edge - 2 * self.lens.window_s if begins is None else begins

    @property
    def max_gap_s(self) -> float:
        return max(3.0, 2.0 * self.known.step_s)

    def rulers(self, marks: Sequence[Mark], cells: Grid) -> dict[int, Span]:
        """Thin lines by column: the marks, then the cursor."""
        found = {column: scales.ruler("mark") for column in mark_glyphs.ruled_columns(marks, cells)}
        at = None if self.lens.at is None else cells.column_of(self.lens.at)
        return found if at is None else found | {at: scales.ruler("cursor")}

    def forget(self) -> None:
        """Another fleet or another instant is looked at."""
        self.lens.clear()
        self.known = Stretch()
        self.book = MarkBook()


def stride(app: TrinityApp) -> int:
    """Cells by which pictures move at once: a move is most of what a chart sends, so a thin link has fewer."""
    return THIN_LINK_STRIDE if app.frames.pace.economy else 1


class TimePanel(Panel):
    """A panel whose columns are instants: the mouse moves the cursor of its stage."""

    class Looked(Message):
        """The mouse points at another instant."""

    def __init__(self, stage: Stage, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.stage = stage

    def edges(self) -> tuple[float, float]:
        """The newest second, and the right edge of the picture."""
        newest = self.stage.newest(self.trinity.state, self.trinity.clock.now())
        return newest, self.stage.lens.edge(newest)

    def gutter_and_cells(self) -> tuple[int, Grid]:
        """Cells left of the picture, and its grid."""
        raise NotImplementedError

    def _time_at(self, x: int) -> float | None:
        gutter, cells = self.gutter_and_cells()
        return cells.middle_of(x - gutter) if 0 <= x - gutter < cells.columns else None

    def on_mouse_move(self, event: events.MouseMove) -> None:
        at = self._time_at(event.x)
        lens, (newest, _) = self.stage.lens, self.edges()
        at = None if at is None else min(at, newest)
        if at != lens.hover:
            lens.hover = at
            self.post_message(self.Looked())

    def on_leave(self, _: events.Leave) -> None:
        if self.stage.lens.hover is not None:
            self.stage.lens.hover = None
            self.post_message(self.Looked())

    def on_click(self, event: events.Click) -> None:
        at = self._time_at(event.x)
        if at is not None:
            self.stage.lens.point(at, self.edges()[0])
            self.post_message(self.Looked())


class ChartPanel(TimePanel):
    """One chart of the table. `shared` charts stand above an axis of all; others have their own."""

    def __init__(self, spec: ChartSpec, stage: Stage, *, shared: bool = False, id: str | None = None) -> None:  # noqa: A002
        super().__init__(stage, id=id)
        self.spec, self.shared = spec, shared
        self.chart = Chart(spec)

    @property
    def heading(self) -> str:  # type: ignore[override] # the table of charts names it
        return self.spec.heading

    def paint(self, width: int, height: int) -> Sequence[Line]:
        """The picture first: the title says what it shows at the cursor."""
        body = self.body(width, height - 1)
        head = title(self.heading, self.info(), width, self.trinity.theme_spec.shape, focused=self.has_focus)
        return [head, *body]

    def body(self, width: int, height: int) -> Sequence[Line]:
        look = self._look(width, height)
        cells = self.chart.cells(look)
        marks = self.stage.book.of(self.trinity.state)
        row = None
        if not self.shared and height >= MARK_ROW_FROM:
            row = mark_glyphs.mark_row(marks, cells)
        look = self._look(width, height, row, self.stage.rulers(marks, cells))
        return self.chart.lines(self.trinity.state.points, look, self.stage.known.points)

    def info(self) -> Line:
        at, points = self.stage.lens.at, self.trinity.state.points
        if at is not None:
            values = self.chart.at(at, self._look(*self.size))
            return legend(self.spec, values, self.size.width, units.time_of_day(at), dashed=self.trinity.no_color)
        if not points:
            return (("no data yet", "faint"),)
        values = {name: FIELDS[name].of(points[-1]) for name in self.spec.fields}
        return legend(self.spec, values, self.size.width, dashed=self.trinity.no_color)

    def gutter_and_cells(self) -> tuple[int, Grid]:
        look = self._look(self.size.width, self.size.height - 1)
        cells = self.chart.cells(look)
        return scales.GUTTER, cells

    def _look(self, width: int, height: int, marks: Line | None = None, rulers: dict[int, Span] | None = None) -> Look:
        return Look(
            width=width,
            height=height,
            edge=self.edges()[1],
            window_s=self.stage.lens.window_s,
            dots=self.trinity.dots,
            axis=not self.shared,
            held=bool(self.trinity.state.past),
            marks=marks,
            rulers=rulers or {},
            max_gap_s=self.stage.max_gap_s,
            dashed=self.trinity.no_color,
            stride=stride(self.trinity),
        )


class TimeAxis(Canvas):
    """The row of marks and the time axis under a column of charts."""

    def __init__(self, stage: Stage, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.stage = stage

    def paint(self, width: int, height: int) -> Sequence[Line]:
        state, lens = self.trinity.state, self.stage.lens
        columns = width - scales.GUTTER
        if columns < 8:
            return []
        newest = self.stage.newest(state, self.trinity.clock.now())
        edge = lens.edge(newest)
        cells = grid(edge, lens.window_s, columns, 1, stride(self.trinity))
        right = edge if state.past or edge < newest else None
        axis = scales.time_axis(scales.GUTTER, columns, lens.window_s, right)
        row = mark_glyphs.mark_row(self.stage.book.of(state), cells)
        return [((" " * scales.GUTTER, "text"), *row), axis][-height:]


class ChartWords(Canvas):
    """The line above the charts: how much time is shown, or what was at the cursor."""

    def __init__(self, stage: Stage, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.stage = stage
        self.note = ""
        """What the record is asked for, or why it does not answer."""
        self.cell_s = 1.0
        """Seconds of a cell: marks this near to the cursor are told."""

    def paint(self, width: int, height: int) -> Sequence[Line]:
        state, lens = self.trinity.state, self.stage.lens
        newest = self.stage.newest(state, self.trinity.clock.now())
        marks = self.stage.book.of(state)
        if lens.at is not None:
            reach = max(2.0, self.cell_s)
            found = near(marks, lens.at - reach, lens.at + reach)
            when: Line = (
                (units.time_of_day(lens.at), "accent b"),
                (f" ({scales.ago(max(0.0, newest - lens.at))})   ", "muted"),
            )
            return [fit_line((*when, *mark_glyphs.mark_words(found)), width)]
        out: list[Span] = []
        for level, size in enumerate(ZOOMS):
            word = "all" if size is None else scales.ago(size)[1:]
            out += [(word, "accent b u" if level == lens.level else "faint"), ("  ", "text")]
        if self.note:
            out.append((self.note, "warn"))
        keys = mark_glyphs.legend()
        gap = width - line_width(out) - line_width(keys)
        return [fit_line((*out, (" " * gap, "text"), *keys) if gap > 2 else tuple(out), width)]
