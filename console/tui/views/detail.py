"""One thing in full: a replica with its probes, last exit, log tail and requests; or any row; or raw data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from textual.app import ComposeResult

from backend.contract.rows import EventRow, LogRow, RequestRow
from console.render.detail import raw_lines, replica_lines, row_lines
from console.render.spans import Line
from console.state.requests import one_a_request
from console.tui.polling import Poller
from console.tui.scroll import ScrollPanel
from console.tui.views.base import View

REQUESTS: Final = 10


class DetailView(View):
    """Shows a replica (kept fresh) or a row. The verbs act on the replica it shows."""

    DEFAULT_CSS = "DetailView { padding: 0 1; }"
    label = "Detail"
    keys = (("esc", "back"), ("y", "raw"), ("l", "logs"))

    def __init__(self) -> None:
        super().__init__(id="view-detail")
        self.replica_name = ""
        self.row: msgspec.Struct | None = None
        self.raw = False
        self._raw: dict[str, object] = {}
        self._requests: Sequence[RequestRow] = ()
        self._logs: Sequence[LogRow] = ()
        self._poller: Poller | None = None

    def compose(self) -> ComposeResult:
        yield ScrollPanel(self._heading, self._lines, id="detail")

    def on_mount(self) -> None:
        self._poller = Poller(self.trinity, self._fetch, 2.0)

    @property
    def panel(self) -> ScrollPanel:
        return self.query_one(ScrollPanel)

    def show_replica(self, name: str, *, raw: bool) -> None:
        """Describe a replica, or show its raw data."""
        if name != self.replica_name:
            self._requests, self._logs, self._raw = (), (), {}
        self.replica_name, self.row, self.raw = name, None, raw
        self.panel.top = 0

    def show_row(self, row: msgspec.Struct, *, raw: bool) -> None:
        """Describe a ledger row."""
        self.replica_name, self.row, self.raw = "", row, raw
        self.panel.top = 0

    def _heading(self) -> str:
        kind = "raw" if self.raw else "describe"
        if self.row is not None:
            return f"{type(self.row).__name__.removesuffix('Row').removesuffix('Info').lower()} {kind}"
        return f"{self.replica_name}  {kind}"

    def _lines(self, width: int) -> Sequence[Line]:
        if self.row is not None:
            return raw_lines(msgspec.to_builtins(self.row), width) if self.raw else row_lines(self.row, width)
        if self.raw:
            return raw_lines(self._raw, width) if self._raw else [(("asking the daemon …", "faint"),)]
        view = self.trinity.state.replica(self.replica_name)
        if view is None:
            return [((f"{self.replica_name} is gone", "warn"),)]
        happened = [row for row in self.trinity.state.events if row.subject == self.replica_name][-8:]
        return replica_lines(
            view,
            requests=self._requests,
            events=happened,
            logs=self._logs,
            now=self.trinity.clock.now(),
            width=width,
        )

    async def _fetch(self) -> None:
        name = self.replica_name
        if not name or self.trinity.state.replica(name) is None:
            return
        source = self.trinity.source
        if self.raw:
            self._raw = await source.raw(name)
        else:
            rows = await source.rows("requests", limit=2 * REQUESTS, where={"replica": name})
            self._requests = one_a_request(row for row in rows if isinstance(row, RequestRow))[-REQUESTS:]
            self._logs = (await source.logs([name], limit=15)).rows
        self.panel.sync()

    def activate(self) -> None:
        super().activate()
        self.panel.focus()
        if self._poller is not None:
            self._poller.start()

    def forget(self) -> None:
        if self._poller is not None and self.trinity.view is self:
            self._poller.start()

    def deactivate(self) -> None:
        if self._poller is not None:
            self._poller.stop()

    def subject(self) -> str:
        return self.replica_name

    def replicas(self) -> list[str]:
        if self.replica_name:
            return [self.replica_name]
        if isinstance(self.row, RequestRow) and self.row.replica:
            return [self.row.replica]
        if isinstance(self.row, EventRow) and self.trinity.state.replica(self.row.subject) is not None:
            return [self.row.subject]
        return []

    def workload(self) -> str | None:
        view = self.trinity.state.replica(self.replica_name)
        return view.status.workload if view is not None else None
