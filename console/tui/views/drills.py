"""The drills: what can be run, what each proves, what it would do now, how it went."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from backend.contract.control import DrillInfo
from backend.contract.errors import TrinityError
from backend.contract.words import DrillOutcome
from console.render.drill_list import DRILL_COLUMNS, drill_haystack, drill_lines
from console.render.spans import Line
from console.state.table import TableModel
from console.tui.polling import Poller, later
from console.tui.scroll import ScrollPanel
from console.tui.views.base import View
from console.tui.vtable import VTable

LIST_EVERY_S = 30.0
LOW = 16
"""Lines under which list and plan are shown one at a time."""


class DrillsView(View):
    """The list, and the drill under the cursor in full. Only that one is planned, when the cursor comes to it."""

    DEFAULT_CSS = """
    DrillsView { padding: 0 1; }
    DrillsView > VTable { width: 1fr; height: 1fr; }
    DrillsView > ScrollPanel { width: 1fr; height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("w", "timeline", "timeline", id="drills.timeline", show=False),
        Binding("p", "report", "report of the last run", id="drills.report", show=False),
        Binding("h", "history", "report of an earlier run", id="drills.history", show=False),
    ]
    label = "Drills"
    keys = (("enter", "run it"), ("p", "report"), ("h", "earlier"), ("w", "timeline"))

    def __init__(self) -> None:
        super().__init__(id="view-drills")
        self.model: TableModel[DrillInfo] = TableModel(DRILL_COLUMNS, lambda info: info.name, drill_haystack)
        self._poller: Poller | None = None
        self._planned: dict[str, DrillInfo] = {}
        self._seen: tuple[str, str, str] = ("", "", "")
        self._problem = ""

    def compose(self) -> ComposeResult:
        yield VTable(self.model, "Drills", empty="asking the daemon for its drills …", note=self._note, id="drills")
        yield ScrollPanel(self._heading, self._plan, id="drill-plan")

    def on_mount(self) -> None:
        self._poller = Poller(self.trinity, self._fetch, LIST_EVERY_S)

    def _note(self) -> Line:
        if self._poller is not None and self._poller.error:
            return ((self._poller.error, "error"),)
        return ()

    def _heading(self) -> str:
        return self.model.current.name if self.model.current is not None else "Plan"

    def _plan(self, width: int) -> list[Line]:
        current = self.model.current
        if current is None:
            return [(("choose a drill", "faint"),)]
        planned = self._planned.get(current.name)
        info = current if planned is None else msgspec.structs.replace(planned, last=current.last)
        lines = drill_lines(info, self.trinity.clock.now(), width, planning=planned is None and not self._problem)
        return [((self._problem, "error"),), *lines] if self._problem else lines

    async def _fetch(self) -> None:
        found = await self.trinity.source.drills(plans=False)
        table = self.table()
        if table is not None:
            table.set_items(found)
            self._divide(table_only=self.size.height < LOW)
            self._ask_plan()

    def _ask_plan(self) -> None:
        """The plan of the drill under the cursor, off the loop of keys: the newest wish wins."""
        current = self.model.current
        if current is not None:
            self.run_worker(later(self._fetch_plan, current.name), exclusive=True, group="plan", exit_on_error=False)

    async def _fetch_plan(self, name: str) -> None:
        try:
            self._planned[name] = await self.trinity.source.drill(name)
            self._problem = ""
        except (TrinityError, OSError) as error:
            self._problem = str(error)
        self.query_one("#drill-plan", ScrollPanel).sync()

    def update(self) -> None:
        """A run that began or ended changes results and plans: then the list is asked for again, and only then."""
        snapshot = self.trinity.state.snapshot
        if snapshot is not None:
            drill = snapshot.drill
            seen = (drill.run_id, str(drill.outcome), "") if drill is not None else ("", "", "")
            seen = (*seen[:2], snapshot.drills_blocked)
            if seen != self._seen and self._poller is not None and self.trinity.view is self:
                self._seen = seen
                self._planned.clear()
                self._poller.start()
        super().update()

    def table(self) -> VTable[Any] | None:
        return self.query_one("#drills", VTable)

    @on(VTable.Moved)
    def moved(self) -> None:
        panel = self.query_one("#drill-plan", ScrollPanel)
        panel.top = 0
        panel.sync()
        self._ask_plan()

    @on(VTable.Opened)
    async def opened(self, event: VTable.Opened) -> None:
        """Enter: run it; the one that runs is looked at instead."""
        event.stop()
        current, snapshot = self.model.current, self.trinity.state.snapshot
        if current is None:
            return
        running = snapshot.drill if snapshot is not None else None
        if running is not None and running.outcome == DrillOutcome.RUNNING and running.name == current.name:
            await self.action_timeline()
        else:
            self.trinity.verbs.run_drill(current.name)

    async def action_timeline(self) -> None:
        snapshot = self.trinity.state.snapshot
        if snapshot is None or snapshot.drill is None:
            self.trinity.say("No drill has run since the daemon started; enter runs this one.", "muted")
            return
        await self.trinity.watch_drill("")

    async def action_report(self) -> None:
        current = self.model.current
        if current is None or current.last is None or current.last.ended_ts is None:
            self.trinity.say("This drill has no finished run yet; enter runs it.", "muted")
            return
        await self.trinity.show_report(current.last.run_id)

    def action_history(self) -> None:
        name = self.model.current.name if self.model.current is not None else ""
        self.trinity.run_worker(later(self._pick_run, name), exit_on_error=False, group="history-pick")

    async def _pick_run(self, name: str) -> None:
        from console.tui.views.drill_report import pick_run

        chosen = await pick_run(self.trinity, name, f"Earlier runs of {name}")
        if chosen:
            await self.trinity.show_report(chosen)

    def on_resize(self, _: events.Resize) -> None:
        wide = self.size.width >= 150
        table = self.query_one("#drills", VTable)
        self.styles.layout = "horizontal" if wide else "vertical"
        table.styles.margin = (0, 3, 0, 0) if wide else (0, 0, 1 if self.size.height >= 28 else 0, 0)
        self._divide(table_only=self.size.height < LOW)

    def _divide(self, *, table_only: bool) -> None:
        """On a low terminal one of the two, tab goes between them; else the list takes what it needs."""
        table, plan = self.query_one("#drills", VTable), self.query_one("#drill-plan", ScrollPanel)
        rows, half = len(self.model) + 2, self.size.height // 2
        beside = self.styles.layout is not None and self.styles.layout.name == "horizontal"
        table.styles.height = "1fr" if beside or table_only else max(4, min(rows, half))
        plan.display = not table_only or plan.has_focus
        table.display = not table_only or not plan.has_focus

    def next_pane(self, step: int) -> None:
        table, plan = self.query_one("#drills", VTable), self.query_one("#drill-plan", ScrollPanel)
        target = table if plan.has_focus else plan
        target.display = True
        target.focus()
        self.call_after_refresh(self._switched)

    def _switched(self) -> None:
        self._divide(table_only=self.size.height < LOW)
        self.update()

    def activate(self) -> None:
        super().activate()
        if self._poller is not None:
            self._poller.start()

    def forget(self) -> None:
        self._planned.clear()
        self._seen = ("", "", "")
        if self._poller is not None and self.trinity.view is self:
            self._poller.start()

    def deactivate(self) -> None:
        if self._poller is not None:
            self._poller.stop()
