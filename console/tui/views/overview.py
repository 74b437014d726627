"""The overview: replicas, charts, scaling, feed and the selection's logs on one screen."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from textual import events, on
from textual.app import ComposeResult

from backend.contract.control import ReplicaView
from console.render.cause import WELL, at_rest
from console.render.chart_list import QUEUE_AND_FLIGHT, TOKENS, TTFT, USAGE
from console.render.columns import REPLICAS, replica_haystack
from console.render.layout import NOTHING_INSTEAD, PANES, one_pane, overview, without_edge
from console.render.replica_columns import replica_columns
from console.render.spans import EMPTY, Line
from console.state.table import TableModel
from console.tui.canvas import Canvas
from console.tui.chart_panels import ChartPanel, Stage, TimePanel
from console.tui.panels import Feed, LogsToCome, ScalingPanel
from console.tui.platform_panels import CausesPanel, NodesPanel, PortsPanel, WorkloadsPanel
from console.tui.views.base import View
from console.tui.vtable import VTable

if TYPE_CHECKING:
    from console.tui.log_follow import LogFollower

LOG_BYTES: Final = 4 * 1024 * 1024
STAYS_S: Final = 0.05


class OverviewView(View):
    """See the module. On a small terminal one panel at a time; `tab` walks through them."""

    DEFAULT_CSS = "OverviewView > Canvas { position: absolute; }"
    label = "Overview"

    def __init__(self) -> None:
        super().__init__(id="view-overview")
        self.model: TableModel[ReplicaView] = TableModel(REPLICAS, lambda view: view.status.name, replica_haystack)
        self.pane = "table"
        self.stage = Stage()
        self._panels: dict[str, Canvas] = {}
        self._follower: LogFollower | None = None
        self._soon: asyncio.TimerHandle | None = None
        self._laid_out: tuple[object, ...] = ()
        """What the places of the panels were worked out from."""
        self._counted: list[ReplicaView] | None = None
        self._up = self._unwell = 0

    def compose(self) -> ComposeResult:
        table: VTable[ReplicaView] = VTable(
            self.model, "Replicas", empty="no replicas yet", note=self._note, id="replicas"
        )
        self._panels = {
            "table": table,
            "ttft": ChartPanel(TTFT, self.stage, id="ttft"),
            "queue": ChartPanel(QUEUE_AND_FLIGHT, self.stage, id="queue"),
            "rate": ChartPanel(TOKENS, self.stage, id="rate"),
            "scaling": ScalingPanel(id="scaling"),
            "feed": Feed(id="feed"),
            "logs": LogsToCome(id="logs-to-come"),
            "workloads": WorkloadsPanel(id="workloads-panel"),
            "usage": ChartPanel(USAGE, self.stage, id="usage"),
            "nodes": NodesPanel(id="nodes-panel"),
            "ports": PortsPanel(id="ports-panel"),
            "causes": CausesPanel(id="causes-panel"),
        }
        yield from self._panels.values()

    def on_mount(self) -> None:
        self.model.set_items(self.trinity.state.replicas)

    def _note(self) -> Line:
        rows = self.model.order
        if rows is not self._counted:  # asked at each paint, and there may be many
            self._counted = rows
            self._up = sum(view.edge is not None and view.edge.up for view in rows)
            self._unwell = sum(view.status.phase not in WELL and not at_rest(view.status) for view in rows)
        state = self.trinity.state
        if not (state.has_edge and state.edge_slots):
            return ((f"{self._unwell} not ready", "warn"),) if self._unwell else EMPTY
        return ((f"{self._up} up at the edge", "faint"),)

    def table(self) -> VTable[Any] | None:
        panel = self._panels.get("table")
        return panel if isinstance(panel, VTable) else None

    def update(self) -> None:
        state, table = self.trinity.state, self.table()
        self.model.set_items(state.replicas)
        if self._basis() != self._laid_out:
            self._arrange()
        if table is not None:
            if state.snapshot is not None:
                table.offer(
                    replica_columns(state.driver, edge=state.has_edge, slots=state.edge_slots),
                    state.driver.removeprefix("local"),
                )
            table.set_items(state.replicas)
        super().update()

    def _basis(self) -> tuple[object, ...]:
        state = self.trinity.state
        return (self.model.total, state.has_edge, bool(state.nodes))

    def _instead(self) -> Mapping[str, str]:
        """Which panels stand in the places of others."""
        state = self.trinity.state
        return NOTHING_INSTEAD if state.has_edge else without_edge(self.size.width, nodes=bool(state.nodes))

    def on_resize(self, _: events.Resize) -> None:
        self._arrange()

    def _arrange(self) -> None:
        """Place the panels; those without a place are hidden."""
        width, height = self.size
        instead, self._laid_out = self._instead(), self._basis()
        if self.pane not in self._panes():
            self.pane = "table"
        places = overview(width, height, self.model.total, self.pane, instead)
        for name, panel in self._panels.items():
            place = places.get(name)
            panel.display = place is not None
            if place is not None:
                panel.styles.offset = (place.x, place.y)
                panel.styles.width = place.width
                panel.styles.height = place.height

    def _panes(self) -> list[str]:
        """In the order in which `tab` walks through them."""
        instead = self._instead()
        return [instead.get(name, name) for name in PANES]

    def next_pane(self, step: int) -> None:
        """`tab`: the next panel where one fits, else between the table and the logs."""
        width, height = self.size
        if one_pane(width, height):
            panes = self._panes()
            self.pane = panes[(panes.index(self.pane) + step) % len(panes)]
            self._arrange()
            self._panels[self.pane].focus()
            self.call_after_refresh(self.update)
            return
        logs, table = self._panels["logs"], self._panels["table"]
        (table if logs.has_focus else logs).focus()

    def show_pane(self, name: str) -> None:
        self.pane = name
        self._arrange()

    @on(TimePanel.Looked)
    def follow_mouse(self) -> None:
        """The same instant in every chart."""
        for name in ("ttft", "queue", "rate", "usage"):
            self._panels[name].sync()

    @on(VTable.Moved)
    def selection_moved(self) -> None:
        """The logs are those of the row that the cursor stays on: asking for them is not done for each key."""
        if self._soon is not None:
            self._soon.cancel()
        self._soon = asyncio.get_running_loop().call_later(STAYS_S, self.follow_selection)

    def follow_selection(self) -> None:
        if self._follower is not None and self.is_running and self.trinity.view is self:
            current = self.model.current
            chosen = [current.status.name] if current is not None else None
            self._follower.pane.explorer.choose(chosen)
            self._follower.follow(chosen)

    def activate(self) -> None:
        super().activate()
        if self._follower is None:
            self._open_logs()
        self.follow_selection()

    def _open_logs(self) -> None:
        """The log pane takes its place after the first paint, which does not wait for its code."""
        from console.state.log_explorer import LogExplorer
        from console.tui.log_follow import LogFollower, new_store
        from console.tui.log_pane import LogPane

        pane = LogPane(LogExplorer(new_store(LOG_BYTES, spill=False)), short=True, id="logs")
        self._follower = LogFollower(self.trinity, pane, lines=200, memory_bytes=LOG_BYTES, spill=False)
        self._panels["logs"].remove()
        self._panels["logs"] = pane
        self._arrange()
        self.mount(pane)

    def forget(self) -> None:
        if self._follower is not None:
            self._follower.stop()
            if self.trinity.view is self:
                self.follow_selection()

    def deactivate(self) -> None:
        if self._follower is not None:
            self._follower.stop()

    def replicas(self) -> list[str]:
        return [view.status.name for view in self.model.chosen()]

    def workload(self) -> str | None:
        current = self.model.current
        return current.status.workload if current is not None else None
