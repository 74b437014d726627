"""How the fleet can be reached: ports, services and ingresses above, the forwards of this machine below."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from backend.contract.platform import ForwardView
from backend.contract.words import Verb
from console.render.platform_columns import FORWARDS, PORTS, forward_haystack, port_columns, port_haystack
from console.render.spans import EMPTY, Line
from console.state.port_rows import PortRow, port_rows
from console.state.table import TableModel
from console.tui.views.base import View
from console.tui.vtable import VTable


class PortsView(View):
    """`p` forwards the port under the cursor, `K` ends the forwards that are chosen."""

    DEFAULT_CSS = "PortsView { padding: 0 1; } PortsView > VTable { width: 1fr; }"
    label = "Ports"
    home = "fleet"
    borrows = False
    keys = (("p", "expose"), ("K", "stop a forward"), ("tab", "other table"))
    verbs: ClassVar[Mapping[str, Verb]] = {"K": Verb.UNFORWARD}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("K", "stop", "stop the forward", id="ports.stop", show=False),
    ]

    def __init__(self) -> None:
        super().__init__(id="view-ports")
        self.port_model: TableModel[PortRow] = TableModel(PORTS, lambda row: row.key, port_haystack)
        self.forward_model: TableModel[ForwardView] = TableModel(FORWARDS, lambda one: one.id, forward_haystack)

    def compose(self) -> ComposeResult:
        yield VTable(self.port_model, "Ports", empty="nothing is known to listen for others", id="ports")
        none = "no forwards; p makes one"
        yield VTable(self.forward_model, "Forwards", empty=none, note=self._note, id="forwards")

    def tables(self) -> tuple[VTable[PortRow], VTable[ForwardView]]:
        return self.query_one("#ports", VTable), self.query_one("#forwards", VTable)

    def _note(self) -> Line:
        broken = sum(one.state == "broken" for one in self.trinity.state.forwards)
        return ((f"{broken} broken", "error"),) if broken else EMPTY

    def table(self) -> VTable[Any] | None:
        ports, forwards = self.tables()
        return forwards if forwards.has_focus else ports

    def update(self) -> None:
        ports, forwards = self.tables()
        state = self.trinity.state
        of = {view.status.name: view.status.workload for view in state.replicas} if state.forwards else {}
        if state.snapshot is not None:
            ports.offer(port_columns(state.driver), state.driver if state.driver == "docker" else "")
        ports.set_items(port_rows(state.ports, state.forwards, of))
        forwards.set_items(state.forwards)
        self._arrange()
        super().update()

    def on_resize(self, _: events.Resize) -> None:
        self._arrange()

    def _arrange(self) -> None:
        """Ports take what they need, and leave half to the forwards that need it; on a low screen one table shows."""
        ports, forwards = self.tables()
        low = self.size.height < 14
        need = min(max(1, len(self.forward_model)) + 3, self.size.height // 2)
        top = min(len(self.port_model) + 3, self.size.height - need)
        ports.styles.height = self.size.height if low else top
        forwards.styles.height = self.size.height if low else self.size.height - top
        ports.display = not low or not forwards.has_focus
        forwards.display = not low or forwards.has_focus

    def next_pane(self, step: int) -> None:
        ports, forwards = self.tables()
        target = ports if forwards.has_focus else forwards
        target.display = True
        target.focus()
        self.call_after_refresh(self.update)

    def exposes(self) -> tuple[str, int | None] | None:
        """The workload behind the port's row, and that port."""
        row = self.port_model.current
        return (row.view.workload, row.view.container_port) if row is not None and row.view.workload else None

    def workload(self) -> str | None:
        row = self.port_model.current
        return row.view.workload or None if row is not None else None

    def action_stop(self) -> None:
        """The forwards that are chosen."""
        ids = [one.id for one in self.forward_model.chosen()]
        if not ids:
            self.trinity.say("There is no forward to stop; p makes one.", "muted")
        elif len(self.forward_model) > 1 and not self.tables()[1].has_focus:
            self.trinity.say("Go to the forwards with tab and choose one first.", "muted")
        else:
            self.trinity.verbs.act(Verb.UNFORWARD, ids)
