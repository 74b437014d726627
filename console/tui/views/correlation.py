"""One request in full: every row that names it, across requests, logs and events, on one axis of time.

Fetches once, and again while the request has not ended. The row under the cursor stands in full below.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
from textual import events, on
from textual.app import ComposeResult

from backend.contract.rows import EventRow, LogRow, RequestRow
from console.render.correlation import STORY_COLUMNS, story_haystack, story_key, story_note
from console.render.detail import row_lines
from console.render.spans import Line, clean, crop_text
from console.state.correlation import Piece, span, story
from console.state.log_query import LogQuery
from console.state.table import TableModel
from console.tui.polling import Poller
from console.tui.scroll import ScrollPanel
from console.tui.views.base import View
from console.tui.vtable import VTable

if TYPE_CHECKING:
    from console.tui.app import TrinityApp

EVERY_S: Final = 2.0
MOST: Final = 2000
ROW_FROM: Final = 18
"""Lines from which the row under the cursor is shown in full below the table."""
HELD_BYTES: Final = 8_000_000
"""Of the lines the log explorer holds, as many are looked through."""


async def correlate(app: TrinityApp, identity: str, near_ts: float) -> None:
    """Show everything about a request that is known to have been about at that instant."""
    await app.action_view("correlation")
    view = app.view
    assert isinstance(view, CorrelationView)
    view.show(identity, near_ts)


class CorrelationView(View):
    """See the module. The verbs act on the replica of the row under the cursor."""

    DEFAULT_CSS = """
    CorrelationView { padding: 0 1; }
    CorrelationView > ScrollPanel { height: 1fr; margin: 1 0 0 0; }
    """
    label = "Request"
    home = "requests"
    keys = (("esc", "back"), ("enter", "describe"), ("y", "raw"))

    def __init__(self) -> None:
        super().__init__(id="view-correlation")
        self.model: TableModel[Piece] = TableModel(
            STORY_COLUMNS, story_key, story_haystack, sort_key="after", descending=False
        )
        self.identity = ""
        self.near_ts = 0.0
        self._pieces: list[Piece] = []
        self._asked = False
        self._poller: Poller | None = None

    def compose(self) -> ComposeResult:
        yield VTable(self.model, "Request", empty="asking …", note=self._note, id="story")
        yield ScrollPanel(lambda: "Row", self._row, id="story-row")

    def on_mount(self) -> None:
        self._poller = Poller(self.trinity, self._fetch, EVERY_S)

    def show(self, identity: str, near_ts: float) -> None:
        """This request from now on."""
        if identity != self.identity:
            self._pieces, self._asked = [], False
            self.model.set_items([])
        self.identity, self.near_ts = identity, near_ts
        table = self.table()
        if table is not None:
            table.heading_text = f"Request {crop_text(clean(identity), 40)}"
            table.empty = "asking …"
            table.sync()
        self.activate()

    def _row(self, width: int) -> Sequence[Line]:
        """The row under the cursor in full."""
        row = self.current_row()
        return row_lines(row, width) if row is not None else []

    @on(VTable.Moved)
    def moved(self) -> None:
        panel = self.query_one(ScrollPanel)
        panel.top = 0
        panel.sync()

    def on_resize(self, _: events.Resize) -> None:
        self._arrange()

    def _arrange(self) -> None:
        """The table takes what it needs; the row under the cursor stands below where there is room."""
        table, panel, height = self.query_one(VTable), self.query_one(ScrollPanel), self.size.height
        panel.display = height >= ROW_FROM
        table.styles.height = max(6, min(len(self._pieces) + 2, height * 3 // 5)) if panel.display else "1fr"

    def next_pane(self, step: int) -> None:
        table, panel = self.query_one(VTable), self.query_one(ScrollPanel)
        (panel if table.has_focus and panel.display else table).focus()

    def _note(self) -> Line:
        if self._poller is not None and self._poller.error:
            return ((self._poller.error, "error"),)
        return story_note(self._pieces)

    async def _fetch(self) -> None:
        """Until nothing about it is open."""
        identity = self.identity
        if not identity or (self._asked and not self._open()):
            return
        source = self.trinity.source
        rows = await source.rows("requests", where={"request_id": identity}, limit=MOST)
        requests = [row for row in rows if isinstance(row, RequestRow)]
        since, until = span(identity, requests, self.near_ts)
        happened, window = await asyncio.gather(
            source.rows("events", since_ts=since, until_ts=until, limit=MOST),
            source.logs(None, since_ts=since, until_ts=until, limit=MOST),
        )
        events = [row for row in happened if isinstance(row, EventRow)]
        pieces = story(identity, requests, events, [*window.rows, *self._held(since, until)])
        if identity == self.identity:
            self._asked, self._pieces = True, pieces
            table = self.table()
            if table is not None:
                table.empty = f"Nothing names {crop_text(identity, 40)} any more: its rows have been let go."
                table.set_items(pieces)
                self._arrange()

    def _held(self, since: float, until: float) -> list[LogRow]:
        """The lines that the log explorer holds and that name it."""
        from console.tui.views.logs import LogsView

        logs = self.trinity.views.get("logs")
        if not isinstance(logs, LogsView):
            return []
        query = LogQuery(include=(re.escape(self.identity),), since_ts=since, until_ts=until)
        return [line.row() for line in logs.explorer.store.after(None, MOST, query, budget_bytes=HELD_BYTES).lines]

    def _open(self) -> bool:
        """Whether the request may go on."""
        requests = [piece.row for piece in self._pieces if isinstance(piece.row, RequestRow)]
        return not requests or any(row.total_s is None for row in requests)

    def table(self) -> VTable[Any] | None:
        return self.query_one(VTable)

    def current_row(self) -> msgspec.Struct | None:
        return self.model.current.row if self.model.current is not None else None

    def activate(self) -> None:
        super().activate()
        if self._poller is not None and self.identity:
            self._poller.start()

    def deactivate(self) -> None:
        if self._poller is not None:
            self._poller.stop()

    def forget(self) -> None:
        self._asked, self._pieces = False, []
        self.model.set_items([])

    def replicas(self) -> list[str]:
        return [piece.who for piece in self.model.chosen() if self.trinity.state.replica(piece.who) is not None][:1]
