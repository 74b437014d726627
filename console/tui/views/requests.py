"""Requests as the ledger has them, newest first: one row each, or one for every side that saw it."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from backend.contract.rows import RequestRow
from console.render.ledger_columns import REQUEST_COLUMNS, request_haystack, request_key
from console.render.spans import Line
from console.state.requests import one_a_request
from console.state.table import TableModel
from console.tui.polling import Poller
from console.tui.views.base import View
from console.tui.vtable import VTable

KEPT: Final = 2000
"""Rows; a request has two, or three where its client reports too."""
OVERLAP_S: Final = 20.0
"""A row may be completed after it was first seen: this much is asked for again each time."""


class RequestsView(View):
    """Asks the ledger once a second while it is on screen. `v` shows what edge, attempts and client saw apart."""

    DEFAULT_CSS = "RequestsView { padding: 0 1; }"
    label = "Requests"
    keys = (("enter", "all of it"), ("v", "every side"))
    BINDINGS: ClassVar[list[BindingType]] = [Binding("v", "sides", "every side", id="requests.sides", show=False)]

    def __init__(self) -> None:
        super().__init__(id="view-requests")
        self.model: TableModel[RequestRow] = TableModel(
            REQUEST_COLUMNS, request_key, request_haystack, sort_key="time", descending=True, tail=True
        )
        self._rows: dict[str, RequestRow] = {}
        self.apart = False
        self._poller: Poller | None = None

    def compose(self) -> ComposeResult:
        yield VTable(self.model, "Requests", empty="no request has come yet", note=self._note, id="requests")

    def on_mount(self) -> None:
        self._poller = Poller(self.trinity, self._fetch, 1.0)

    def _note(self) -> Line:
        if self._poller is not None and self._poller.error:
            return ((self._poller.error, "error"),)
        said = ["as edge, attempt and client saw them"] if self.apart else []
        said += [f"newest {KEPT} rows"] if len(self._rows) >= KEPT else []
        return (("  ".join(said), "faint"),) if said else ()

    @on(VTable.Opened)
    async def open_request(self, event: VTable.Opened) -> None:
        """`enter`: every row of this request; `d` describes the one under the cursor."""
        from console.tui.views.correlation import correlate

        row = self.model.current
        if row is not None:
            event.stop()
            await correlate(self.trinity, row.request_id, row.ts)

    def action_sides(self) -> None:
        self.apart = not self.apart
        self._show()

    def _show(self) -> None:
        table = self.table()
        if table is not None:
            edge = self.trinity.state.has_edge
            table.empty = "no request has come yet" if edge else "no edge of ours sees the requests of this fleet"
            table.set_items(list(self._rows.values()) if self.apart else one_a_request(self._rows.values()))

    async def _fetch(self) -> None:
        newest = max((row.ts for row in self._rows.values()), default=0.0)
        rows = await self.trinity.source.rows("requests", since_ts=max(0.0, newest - OVERLAP_S), limit=KEPT)
        before = len(self._rows)
        fresh = {request_key(row): row for row in rows if isinstance(row, RequestRow)}
        if before and all(self._rows.get(key) == row for key, row in fresh.items()):
            return
        self._rows.update(fresh)
        if len(self._rows) > KEPT:
            newest_rows = sorted(self._rows.items(), key=lambda item: item[1].ts)[-KEPT:]
            self._rows = dict(newest_rows)
        self._show()

    def table(self) -> VTable[Any] | None:
        return self.query_one(VTable)

    def activate(self) -> None:
        super().activate()
        if self._poller is not None:
            self._poller.start()

    def forget(self) -> None:
        self._rows.clear()
        if self._poller is not None and self.trinity.view is self:
            self._poller.start()

    def deactivate(self) -> None:
        if self._poller is not None:
            self._poller.stop()

    def replicas(self) -> list[str]:
        names = [row.replica for row in self.model.chosen() if row.replica]
        return list(dict.fromkeys(names))

    def workload(self) -> str | None:
        return self.model.current.workload if self.model.current is not None else None
