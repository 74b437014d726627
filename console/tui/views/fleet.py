"""The fleet in full: workloads above, every replica below."""

from __future__ import annotations

from typing import Any

from textual import events
from textual.app import ComposeResult

from backend.contract.control import ReplicaView, WorkloadView
from console.render.columns import REPLICAS, WORKLOADS, replica_haystack
from console.render.replica_columns import replica_columns, workload_columns
from console.state.table import TableModel
from console.tui.views.base import View
from console.tui.vtable import VTable


class FleetView(View):
    """`tab` changes between workloads and replicas; the verbs act on what is chosen there."""

    DEFAULT_CSS = "FleetView { padding: 0 1; } FleetView > VTable { width: 1fr; }"
    label = "Fleet"
    keys = (("tab", "other table"),)

    def __init__(self) -> None:
        super().__init__(id="view-fleet")
        self.replica_model: TableModel[ReplicaView] = TableModel(REPLICAS, lambda v: v.status.name, replica_haystack)
        self.workload_model: TableModel[WorkloadView] = TableModel(
            WORKLOADS, lambda v: v.name, lambda v: f"{v.name} {' '.join(v.routes)}"
        )

    def compose(self) -> ComposeResult:
        yield VTable(self.workload_model, "Workloads", empty="no workloads yet", id="fleet-workloads")
        yield VTable(self.replica_model, "Replicas", empty="no replicas yet", id="fleet-replicas")

    def tables(self) -> tuple[VTable[WorkloadView], VTable[ReplicaView]]:
        return self.query_one("#fleet-workloads", VTable), self.query_one("#fleet-replicas", VTable)

    def table(self) -> VTable[Any] | None:
        workloads, replicas = self.tables()
        return workloads if workloads.has_focus else replicas

    def update(self) -> None:
        workloads, replicas = self.tables()
        state = self.trinity.state
        if state.snapshot is not None:
            kind = state.driver.removeprefix("local")
            workloads.offer(workload_columns(state.driver, edge=state.has_edge, slots=state.edge_slots), kind)
            replicas.offer(replica_columns(state.driver, edge=state.has_edge, slots=state.edge_slots), kind)
        workloads.set_items(state.workloads)
        replicas.set_items(state.replicas)
        self._arrange()
        super().update()

    def on_resize(self, _: events.Resize) -> None:
        self._arrange()

    def _arrange(self) -> None:
        """Workloads take what they need, at most two fifths; on a low screen only the focused table shows."""
        workloads, replicas = self.tables()
        low = self.size.height < 14
        top = self.size.height if low else min(len(self.workload_model) + 3, max(4, self.size.height * 2 // 5))
        workloads.styles.height = top
        workloads.display = not low or workloads.has_focus
        replicas.display = not low or not workloads.has_focus

    def next_pane(self, step: int) -> None:
        workloads, replicas = self.tables()
        target = replicas if workloads.has_focus else workloads
        target.display = True
        target.focus()
        self.call_after_refresh(self.update)

    def show_workloads(self) -> None:
        """The workloads' table has the keys."""
        workloads, _ = self.tables()
        workloads.display = True
        workloads.focus()
        self.call_after_refresh(self.update)

    def exposes(self) -> tuple[str, int | None] | None:
        chosen = self.workload_model.current if self.tables()[0].has_focus else None
        return (chosen.name, None) if chosen is not None else None

    def replicas(self) -> list[str]:
        return [view.status.name for view in self.replica_model.chosen()]

    def workload(self) -> str | None:
        workloads, _ = self.tables()
        if workloads.has_focus:
            chosen = self.workload_model.current
            return chosen.name if chosen is not None else None
        current = self.replica_model.current
        return current.status.workload if current is not None else None
