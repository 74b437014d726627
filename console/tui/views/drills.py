"""The drills: what can be run, what it proves, what it would do now, how it went."""

from __future__ import annotations

from typing import Any

from textual import events, on
from textual.app import ComposeResult

from backend.contract.control import DrillInfo
from console.render.detail import drill_lines
from console.render.ledger_columns import DRILL_COLUMNS, drill_haystack
from console.render.panels import drill_words
from console.render.spans import Line
from console.state.table import TableModel
from console.tui.polling import Poller
from console.tui.scroll import ScrollPanel
from console.tui.views.base import View
from console.tui.vtable import VTable


class DrillsView(View):
    """The list, and the drill under the cursor in full."""

    DEFAULT_CSS = """
    DrillsView { padding: 0 1; }
    DrillsView > VTable { width: 1fr; height: 1fr; }
    DrillsView > ScrollPanel { width: 1fr; height: 1fr; }
    """
    label = "Drills"
    keys = (("f", "run it"), ("tab", "plan"))

    def __init__(self) -> None:
        super().__init__(id="view-drills")
        self.model: TableModel[DrillInfo] = TableModel(DRILL_COLUMNS, lambda info: info.name, drill_haystack)
        self._poller: Poller | None = None

    def compose(self) -> ComposeResult:
        yield VTable(self.model, "Drills", empty="the daemon knows no drill", note=self._note, id="drills")
        yield ScrollPanel(self._heading, self._plan, id="drill-plan")

    def on_mount(self) -> None:
        self._poller = Poller(self.trinity, self._fetch, 3.0)

    def _note(self) -> Line:
        if self._poller is not None and self._poller.error:
            return ((self._poller.error, "error"),)
        snapshot = self.trinity.state.snapshot
        return drill_words(snapshot.drill) if snapshot is not None else ()

    def _heading(self) -> str:
        return self.model.current.name if self.model.current is not None else "Plan"

    def _plan(self, width: int) -> list[Line]:
        if self.model.current is None:
            return [(("choose a drill", "faint"),)]
        return drill_lines(self.model.current, self.trinity.clock.now(), width)

    async def _fetch(self) -> None:
        found = await self.trinity.source.drills()
        table = self.table()
        if table is not None:
            table.set_items(found)
            self.query_one("#drill-plan", ScrollPanel).sync()

    def table(self) -> VTable[Any] | None:
        return self.query_one("#drills", VTable)

    def drill(self) -> DrillInfo | None:
        return self.model.current

    @on(VTable.Moved)
    def moved(self) -> None:
        panel = self.query_one("#drill-plan", ScrollPanel)
        panel.top = 0
        panel.sync()

    def on_resize(self, _: events.Resize) -> None:
        wide = self.size.width >= 110
        table, plan = self.query_one("#drills", VTable), self.query_one("#drill-plan", ScrollPanel)
        self.styles.layout = "horizontal" if wide else "vertical"
        table.styles.margin = (0, 3, 0, 0) if wide else (0, 0, 0, 0)
        plan.display = self.size.height >= 10

    def next_pane(self, step: int) -> None:
        table, plan = self.query_one("#drills", VTable), self.query_one("#drill-plan", ScrollPanel)
        (plan if table.has_focus and plan.display else table).focus()

    def activate(self) -> None:
        super().activate()
        if self._poller is not None:
            self._poller.start()

    def deactivate(self) -> None:
        if self._poller is not None:
            self._poller.stop()
