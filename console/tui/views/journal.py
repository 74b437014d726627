"""Events and actions: what happened, and who did what with which result. Debug events on demand."""

from __future__ import annotations

from typing import Any, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from backend.contract.rows import ActionRow, EventRow
from backend.contract.words import Severity
from console.render import units
from console.render.ledger_columns import ACTION_COLUMNS, EVENT_COLUMNS, action_haystack, event_haystack, event_key
from console.render.spans import Line
from console.state.table import TableModel
from console.tui.views.base import View
from console.tui.vtable import VTable


class JournalView(View):
    """Two tables, newest first; side by side where there is room. `v` shows debug events too."""

    DEFAULT_CSS = "JournalView { padding: 0 1; } JournalView > VTable { width: 1fr; height: 1fr; }"
    label = "Events"
    keys = (("tab", "other table"), ("v", "debug too"), ("A", "acknowledge"), ("u", "undo"))
    BINDINGS: ClassVar[list[BindingType]] = [Binding("v", "verbose", "debug too", id="journal.verbose", show=False)]

    def __init__(self) -> None:
        super().__init__(id="view-journal")
        self.verbose = False
        self.event_model: TableModel[EventRow] = TableModel(
            EVENT_COLUMNS, event_key, event_haystack, sort_key="time", descending=True, tail=True
        )
        self.action_model: TableModel[ActionRow] = TableModel(
            ACTION_COLUMNS, lambda row: row.id, action_haystack, sort_key="time", descending=True, tail=True
        )

    def compose(self) -> ComposeResult:
        yield VTable(self.event_model, "Events", empty="nothing has happened yet", note=self._note, id="events")
        yield VTable(self.action_model, "Actions", empty="nobody has done anything yet", id="actions")

    def _note(self) -> Line:
        unseen = len(self.trinity.state.unacknowledged())
        if unseen:
            return ((f"{units.plural(unseen, 'alarm')} not acknowledged", "error b"),)
        return (("debug too", "faint"),) if self.verbose else ()

    def action_verbose(self) -> None:
        self.verbose = not self.verbose
        self.update()

    def tables(self) -> tuple[VTable[EventRow], VTable[ActionRow]]:
        return self.query_one("#events", VTable), self.query_one("#actions", VTable)

    def table(self) -> VTable[Any] | None:
        events_table, actions = self.tables()
        return actions if actions.has_focus else events_table

    def update(self) -> None:
        events_table, actions = self.tables()
        told = self.trinity.state.events
        events_table.set_items([row for row in told if self.verbose or row.severity != Severity.DEBUG])
        actions.set_items(self.trinity.state.actions)
        super().update()

    def on_resize(self, _: events.Resize) -> None:
        self._arrange()

    def _arrange(self) -> None:
        events_table, actions = self.tables()
        wide, low = self.size.width >= 180, self.size.height < 16
        self.styles.layout = "horizontal" if wide else "vertical"
        events_table.styles.margin = (0, 3, 0, 0) if wide else (0, 0, 0 if low else 1, 0)
        one = low and not wide
        events_table.display = not one or not actions.has_focus
        actions.display = not one or actions.has_focus

    def next_pane(self, step: int) -> None:
        events_table, actions = self.tables()
        target = events_table if actions.has_focus else actions
        target.display = True
        target.focus()
        self.call_after_refresh(self._switched)

    def _switched(self) -> None:
        self._arrange()
        self.update()

    def replicas(self) -> list[str]:
        current = self.event_model.current
        known = current is not None and self.trinity.state.replica(current.subject) is not None
        return [current.subject] if current is not None and known else []
