"""The heat map of TTFT by replica as a panel: rows are chosen by keys and mouse, time by the stage's cursor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

from console.render import heatmap, scales, units
from console.render.marks import mark_row
from console.render.spans import EMPTY, Line, fit_line
from console.state.replica_ttft import READING_S, Heat
from console.state.series import Grid, grid
from console.tui.chart_panels import MARK_ROW_FROM, Stage, TimePanel, stride

LEGEND_FROM = 10
"""Lines of the map from which on its legend stands below; it is in the title of a lower one."""


class HeatPanel(TimePanel):
    """The worst replicas first; where there are more than rows, the last row stands for all others."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "choose(-1)", "replica above", id="heat.up", show=False),
        Binding("down,j", "choose(1)", "replica below", id="heat.down", show=False),
    ]

    def __init__(self, stage: Stage, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(stage, id=id)
        self.chosen = ""
        """The replica under the row cursor."""
        self._rows: list[Heat] = []
        self._key: object = None

    @property
    def heading(self) -> str:  # type: ignore[override] # shorter where there is no room
        return "TTFT p95 by replica" if self.size.width >= heatmap.NARROW else "TTFT p95"

    def paint(self, width: int, height: int) -> Sequence[Line]:
        self._rows = self._fetched(height - 1)
        return super().paint(width, height)

    def info(self) -> Line:
        at = self.stage.lens.at
        row = next((row for row in self._rows if row.name == self.chosen), None)
        _, cells = self.gutter_and_cells()
        if at is not None and (row or self._rows):
            return heatmap.heat_words(row or self._rows[0], cells, at, self.size.width)
        room = self.size.width - len(self.heading) - 4
        below = self.size.height - 1 >= LEGEND_FROM
        return EMPTY if below or not self._rows else heatmap.title_info(heatmap.scale_of(self._rows), room)

    def body(self, width: int, height: int) -> Sequence[Line]:
        lens = self.stage.lens
        state = self.trinity.state
        if not self._rows:
            return [fit_line(((f"no readings yet: there is one every {READING_S} s", "faint"),), width)]
        gutter, cells = self.gutter_and_cells()
        marks = self.stage.book.of(state)
        lines = heatmap.heat_lines(
            self._rows, cells, width, gutter=gutter, chosen=self.chosen, rulers=self._cursor(cells)
        )
        newest, edge = self.edges()
        pad = (" " * gutter, "text")
        right = edge if state.past or edge < newest else None
        below: list[Line] = [scales.time_axis(gutter, cells.columns, lens.window_s, right)]
        if height >= MARK_ROW_FROM:
            below.insert(0, (pad, *mark_row(marks, cells)))
        if height >= LEGEND_FROM:
            below.append((pad, *heatmap.legend(heatmap.scale_of(self._rows)), *self._since(cells)))
        lines = lines[: max(1, height - len(below))]
        return [fit_line(line, width) for line in (*lines, *below)]

    def gutter_and_cells(self) -> tuple[int, Grid]:
        width = self.size.width
        gutter = heatmap.name_width(self._rows, width)
        columns = max(1, width - gutter - heatmap.values_width(width))
        return gutter, grid(self.edges()[1], self.stage.lens.window_s, columns, 1, stride(self.trinity))

    def action_choose(self, step: int) -> None:
        names = [row.name for row in self._rows]
        if names:
            at = names.index(self.chosen) + step if self.chosen in names else 0
            self.chosen = names[max(0, min(len(names) - 1, at))]
            self.sync()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """The row under the mouse is the one that the title tells of."""
        if 1 <= event.y <= len(self._rows):
            self.chosen = self._rows[event.y - 1].name
        super().on_mouse_move(event)
        self.sync()

    def _cursor(self, cells: Grid) -> dict[int, tuple[str, str]]:
        at = None if self.stage.lens.at is None else cells.column_of(self.stage.lens.at)
        return {} if at is None else {at: scales.ruler("cursor")}

    def _since(self, cells: Grid) -> Line:
        """How far back readings go, where the picture reaches further."""
        oldest = self.trinity.state.replica_ttft.oldest
        if oldest is None or oldest * READING_S <= cells.left_s:
            return EMPTY
        return ((f"   read since {units.time_of_day(oldest * READING_S)}", "faint"),)

    def _fetched(self, height: int) -> list[Heat]:
        """The rows, sorted again only when there is a reading more or another stretch is looked at."""
        history = self.trinity.state.replica_ttft
        most = max(1, height - (1 + (height >= MARK_ROW_FROM) + (height >= LEGEND_FROM)))
        first, until = heatmap.readings(self.gutter_and_cells()[1])
        key = (id(history), history.newest, history.oldest, history.readings, first, until, most)
        if key != self._key:
            self._rows, self._key = history.rows(first, until, most), key
        return self._rows
