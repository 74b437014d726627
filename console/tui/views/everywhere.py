"""The replicas of every fleet in one list: filter, sort and act across all of them."""

from __future__ import annotations

from typing import Any

from textual import on
from textual.app import ComposeResult

from console.render import units
from console.render.merged_columns import MERGED_REPLICAS, merged_columns, merged_haystack
from console.render.spans import Line
from console.state.merged import MergedList, MergedReplica
from console.state.table import TableModel
from console.tui.link import FleetLink, Shown
from console.tui.views.base import View
from console.tui.vtable import VTable


class EverywhereView(View):
    """Verbs go to the fleet of each row; `enter` goes to the replica in its own tab."""

    DEFAULT_CSS = "EverywhereView { padding: 0 1; }"
    label = "All fleets"
    keys = (("enter", "go there"), ("< >", "tabs"))

    def __init__(self) -> None:
        super().__init__(id="view-everywhere")
        self.merged = MergedList()
        self.model: TableModel[MergedReplica] = TableModel(MERGED_REPLICAS, lambda row: row.key, merged_haystack)

    def compose(self) -> ComposeResult:
        yield VTable(self.model, "All fleets", empty="no fleet has answered yet", note=self._note, id="everywhere")

    def _note(self) -> Line:
        lost = [link.name for link in self.trinity.links if link.out_of_sight]
        if lost:
            return ((f"✗ stale: {', '.join(lost)}", "error"),)
        return ((units.plural(len(self.trinity.links), "fleet"), "faint"),)

    def table(self) -> VTable[Any] | None:
        return self.query_one(VTable)

    def update(self) -> None:
        states = [link.state for link in self.trinity.links]
        fleets = [(link.name, link.state.replicas, link.out_of_sight) for link in self.trinity.links]
        drivers, table = [state.driver for state in states], self.query_one(VTable)
        if any(state.snapshot is not None for state in states):
            columns = merged_columns(drivers)
            table.offer(columns, "" if columns is MERGED_REPLICAS else "platforms")
        table.set_items(self.merged.take(fleets, drivers))
        super().update()

    @on(VTable.Opened)
    async def go_there(self, event: VTable.Opened) -> None:
        """The replica under the cursor, in its own fleet's overview."""
        event.stop()
        row = self.model.current
        if row is not None:
            await self.trinity.part("fleets").choose(self._link(row))
            await self.trinity.action_go_to(row.view.status.name)

    def replicas(self) -> list[str]:
        return [row.view.status.name for row in self.model.chosen()]

    def places(self) -> list[Shown]:
        return [self._link(row) for row in self.model.chosen()]

    def workload(self) -> str | None:
        current = self.model.current
        return current.view.status.workload if current is not None else None

    def place(self) -> Shown | None:
        current = self.model.current
        return self._link(current) if current is not None else None

    def _link(self, row: MergedReplica) -> FleetLink:
        return self.trinity.links[row.number]
