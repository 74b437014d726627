"""Two programs that show the same 1,000 rows: Textual's DataTable, and the console's table. Measures nothing.

Both are fed the same seeded rows, of which every second some get other numbers. DataTable is told each cell that
changed, in one batch, which is the cheapest way it knows; the console is given all rows and finds the changes itself.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from textual.app import App, ComposeResult
from textual.widgets import DataTable

from console.state.column import Column
from console.state.simulator import SimulatorSource
from console.state.table import TableModel
from console.tui import app
from console.tui.run import run_console
from console.tui.views.base import View
from console.tui.vtable import VTable

TITLES: Final = ("REPLICA", "PHASE", "RESTARTS", "AGE", "CPU", "MEM", "BUSY", "P50", "P95", "REQ/S", "TOK/S", "EDGE")
LIVELY: Final = (4, 7, 8, 10)


@dataclass(frozen=True)
class Row:
    """One replica as text, a string a column."""

    cells: tuple[str, ...]


class Rows:
    """The rows, and what changes in a second."""

    def __init__(self, count: int, share: float, seed: int = 11) -> None:
        self._chance = random.Random(seed)
        self._changing = int(count * share)
        self.rows = [Row((f"llm-{n}", "● Ready", str(n % 4), f"{n % 60}m", *self._numbers(8))) for n in range(count)]

    def _numbers(self, count: int) -> Iterator[str]:
        return (str(self._chance.randrange(1000)) for _ in range(count))

    def tick(self) -> list[tuple[int, int, str]]:
        """The changed cells: row, column, text."""
        changed: list[tuple[int, int, str]] = []
        for at in self._chance.sample(range(len(self.rows)), self._changing):
            cells = list(self.rows[at].cells)
            for column, text in zip(LIVELY, self._numbers(len(LIVELY)), strict=True):
                cells[column] = text
                changed.append((at, column, text))
            self.rows[at] = replace(self.rows[at], cells=tuple(cells))
        return changed


class Plain(App[None]):
    """Nothing but a DataTable."""

    def __init__(self, rows: Rows) -> None:
        super().__init__()
        self.rows = rows

    def compose(self) -> ComposeResult:
        yield DataTable(cursor_type="row")

    def on_mount(self) -> None:
        table = self.query_one(DataTable)
        for title in TITLES:
            table.add_column(title, width=8, key=title)
        for row in self.rows.rows:
            table.add_row(*row.cells, key=row.cells[0])
        table.focus()
        self.set_interval(1.0, self._second)

    def _second(self) -> None:
        table = self.query_one(DataTable)
        with self.batch_update():
            for at, column, text in self.rows.tick():
                table.update_cell(self.rows.rows[at].cells[0], TITLES[column], text)


class TableView(View):
    """The console's table where the console has its overview."""

    label = "Rows"

    def __init__(self, rows: Rows) -> None:
        super().__init__()
        columns: list[Column[Row]] = [
            Column(key=title, title=title, width=8, cell=_cell(at), sort=lambda row, at=at: row.cells[at])  # type: ignore[misc]
            for at, title in enumerate(TITLES)
        ]
        self.rows = rows
        self.model: TableModel[Row] = TableModel(columns, lambda row: row.cells[0], lambda row: row.cells[0])
        self.model.set_items(rows.rows)

    def compose(self) -> ComposeResult:
        yield VTable(self.model, "Rows")

    def table(self) -> VTable[Any] | None:
        return self.query_one(VTable)

    def on_mount(self) -> None:
        self.query_one(VTable).focus()
        self.set_interval(1.0, self._second)

    def _second(self) -> None:
        self.rows.tick()
        self.query_one(VTable).set_items(list(self.rows.rows))


def _cell(at: int) -> Any:
    return lambda row, now: (row.cells[at], "text")


def plain(count: int, share: float) -> None:
    Plain(Rows(count, share)).run()


def own(count: int, share: float) -> None:
    """The console with that view where its overview is; its own fleet is one replica."""
    app.OverviewView = lambda: TableView(Rows(count, share))  # type: ignore[assignment,misc]
    run_console(lambda: SimulatorSource(replicas=1, rate=0.0, warm_s=0), bell=False)
