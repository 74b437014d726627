"""The platform's nodes, and the replicas on the one under the cursor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from backend.contract.control import ReplicaView
from backend.contract.platform import NodeStatus
from backend.contract.words import Risk, Verb
from console.render.columns import REPLICAS, replica_haystack
from console.render.platform_columns import NODES, node_haystack
from console.render.replica_columns import replica_columns
from console.render.spans import EMPTY, Line
from console.state.table import TableModel
from console.tui.views.base import View
from console.tui.vtable import VTable


class NodesView(View):
    """`tab` changes between nodes and replicas; cordon and drain act on the marked nodes, else the cursor's."""

    DEFAULT_CSS = "NodesView { padding: 0 1; } NodesView > VTable { width: 1fr; }"
    label = "Nodes"
    home = "fleet"
    borrows = False
    keys = (("c", "cordon"), ("D", "drain"), ("tab", "other table"))
    verbs: ClassVar[Mapping[str, Verb]] = {"c": Verb.CORDON, "D": Verb.NODE_DRAIN}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "cordon", "cordon the node, or open it again", id="nodes.cordon", show=False),
        Binding("D", "drain", "drain the node: cordon it, evict what is on it", id="nodes.drain", show=False),
    ]

    def __init__(self) -> None:
        super().__init__(id="view-nodes")
        self.node_model: TableModel[NodeStatus] = TableModel(NODES, lambda node: node.name, node_haystack)
        self.replica_model: TableModel[ReplicaView] = TableModel(REPLICAS, lambda v: v.status.name, replica_haystack)

    def compose(self) -> ComposeResult:
        none = "no nodes: this fleet runs on one machine"
        yield VTable(self.node_model, "Nodes", empty=none, note=self._note, id="nodes")
        yield VTable(self.replica_model, "On it", empty="no replica of this fleet runs there", id="node-replicas")

    def tables(self) -> tuple[VTable[NodeStatus], VTable[ReplicaView]]:
        return self.query_one("#nodes", VTable), self.query_one("#node-replicas", VTable)

    def _note(self) -> Line:
        nodes = self.trinity.state.nodes
        down = sum(not node.ready for node in nodes)
        shut = sum(not node.schedulable for node in nodes)
        if down:
            return ((f"{down} not ready", "error b"),)
        return ((f"{shut} cordoned", "warn"),) if shut else EMPTY

    def table(self) -> VTable[Any] | None:
        nodes, replicas = self.tables()
        return replicas if replicas.has_focus else nodes

    def update(self) -> None:
        state, (nodes, replicas) = self.trinity.state, self.tables()
        nodes.set_items(state.nodes)
        if state.snapshot is not None:
            columns = replica_columns(state.driver, edge=state.has_edge, slots=state.edge_slots, of_node=True)
            replicas.offer(columns, state.driver.removeprefix("local"))
        self._show_replicas()
        self._arrange()
        super().update()

    @on(VTable.Moved)
    def node_moved(self) -> None:
        self._show_replicas()

    def _show_replicas(self) -> None:
        _, replicas = self.tables()
        node = self.node_model.current
        on_it = [view for view in self.trinity.state.replicas if node is not None and view.status.node == node.name]
        replicas.heading_text = f"On {node.name}" if node is not None else "On it"
        replicas.set_items(on_it)

    def on_resize(self, _: events.Resize) -> None:
        self._arrange()

    def _arrange(self) -> None:
        """Nodes take what they need, at most half; on a low screen only the focused table shows."""
        nodes, replicas = self.tables()
        low = self.size.height < 14
        need = min(len(self.node_model) + 3, max(5, self.size.height // 2))
        nodes.styles.height = self.size.height if low else need
        nodes.display = not low or not replicas.has_focus
        replicas.display = not low or replicas.has_focus

    def next_pane(self, step: int) -> None:
        nodes, replicas = self.tables()
        target = nodes if replicas.has_focus else replicas
        target.display = True
        target.focus()
        self.call_after_refresh(self.update)

    # -- what is chosen --------------------------------------------------------------------------------------

    def chosen_nodes(self) -> list[NodeStatus]:
        return self.node_model.chosen()

    def replicas(self) -> list[str]:
        _, replicas = self.tables()
        return [view.status.name for view in self.replica_model.chosen()] if replicas.has_focus else []

    def workload(self) -> str | None:
        _, replicas = self.tables()
        current = self.replica_model.current if replicas.has_focus else None
        return current.status.workload if current is not None else None

    # -- acting ----------------------------------------------------------------------------------------------

    def action_cordon(self) -> None:
        """Cordon; open again where all that are chosen are cordoned."""
        nodes = self.chosen_nodes()
        verb = Verb.UNCORDON if nodes and all(not node.schedulable for node in nodes) else Verb.CORDON
        self._act(verb, Risk.LOW)

    def action_drain(self) -> None:
        """The node; a replica where the replicas have the keys."""
        if self.tables()[1].has_focus:
            self.trinity.verbs.drain()
        else:
            self._act(Verb.NODE_DRAIN, Risk.HIGH)

    def _act(self, verb: Verb, risk: Risk) -> None:
        names = [node.name for node in self.chosen_nodes()]
        if names or self.trinity.state.limit(verb):
            self.trinity.verbs.act(verb, names or [""], at_least=risk)
        else:
            self.trinity.say("There are no nodes: this fleet runs on one machine.", "warn")
