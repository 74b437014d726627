"""One thing in full: a replica with its probes, last exit, log tail and requests; or any row; or raw data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from textual.app import ComposeResult

from backend.contract.control import WorkloadView
from backend.contract.errors import TrinityError
from backend.contract.platform import Description, NodeStatus
from backend.contract.rows import EventRow, LogRow, RequestRow
from console.render import units
from console.render.description import description_lines, source_lines
from console.render.detail import raw_lines, replica_lines, row_lines
from console.render.spans import EMPTY, Line, clean
from console.state.requests import one_a_request
from console.tui.polling import Poller
from console.tui.scroll import ScrollPanel
from console.tui.views.base import View

REQUESTS: Final = 10


class DetailView(View):
    """Shows a replica (kept fresh) or a row. The verbs act on what it shows, on nothing out of sight."""

    DEFAULT_CSS = "DetailView { padding: 0 1; }"
    label = "Detail"
    borrows = False
    keys = (("esc", "back"), ("y", "raw"), ("l", "logs"))

    def __init__(self) -> None:
        super().__init__(id="view-detail")
        self.replica_name = ""
        self.row: msgspec.Struct | None = None
        self.raw = False
        self.thing = ""
        """A workload or a node of a platform."""
        self._raw: dict[str, object] = {}
        self._told: Description | None = None
        self._untold = ""
        """Why the platform tells nothing."""
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
            self._drop()
        self.replica_name, self.thing, self.row, self.raw = name, "", None, raw
        self.panel.top = 0

    def show_row(self, row: msgspec.Struct, *, raw: bool) -> None:
        """Describe any other row: a workload or a node as its platform tells of it."""
        on_platform = self.trinity.state.driver != "local" and isinstance(row, WorkloadView | NodeStatus)
        thing = row.name if on_platform and isinstance(row, WorkloadView | NodeStatus) else ""
        if thing != self.thing or not thing:
            self._drop()
        self.replica_name, self.thing, self.row, self.raw = "", thing, row, raw
        self.panel.top = 0

    def _drop(self) -> None:
        """What was fetched of another one."""
        self._requests, self._logs, self._raw = (), (), {}
        self._told, self._untold = None, ""

    def _heading(self) -> str:
        kind = "raw" if self.raw else "describe"
        if self.thing:
            return f"{self._told.kind if self._told is not None else ''} {self.thing}  {kind}".lstrip()
        if self.row is not None:
            return f"{type(self.row).__name__.removesuffix('Row').removesuffix('Info').lower()} {kind}"
        gone = self.trinity.state.snapshot is not None and self.trinity.state.replica(self.replica_name) is None
        return f"{self.replica_name}  {kind}{' · it is gone, this is the last of it' if gone and self.raw else ''}"

    def _lines(self, width: int) -> Sequence[Line]:
        told = self._told
        if self.raw and told is not None and told.source:
            return source_lines(told, width)
        if self.thing and not self.raw and told is not None:
            return description_lines(told, width)
        if self.thing and told is None and not self._untold:
            return [(("asking the platform …", "faint"),)]
        if self.row is not None:
            return raw_lines(msgspec.to_builtins(self.row), width) if self.raw else row_lines(self.row, width)
        if self.raw:
            return raw_lines(self._raw, width) if self._raw else [(("asking the daemon …", "faint"),)]
        view = self.trinity.state.replica(self.replica_name)
        if view is None:
            return self._gone()
        happened = self._happened()
        more: list[Line] = [((clean(self._untold), "faint"),)] if self._untold else []
        if told is not None:
            more = [EMPTY, *description_lines(told, width)]
        return replica_lines(
            view,
            has_edge=self.trinity.state.has_edge,
            edge_slots=self.trinity.state.edge_slots,
            more=more,
            requests=self._requests,
            events=happened,
            logs=self._logs,
            now=self.trinity.clock.now(),
            width=width,
        )

    def _happened(self) -> list[EventRow]:
        return [row for row in self.trinity.state.events if row.subject == self.replica_name][-8:]

    def _gone(self) -> list[Line]:
        """What became of it, and where to go on."""
        told: list[Line] = [
            ((f" {units.time_of_day(row.ts)} ", "muted"), (clean(row.message), "text"))
            for row in reversed(self._happened())
        ]
        first: Line = ((f"{self.replica_name} is gone", "warn"), ("   esc back   l its stored log", "muted"))
        return [first, EMPTY, *told]

    async def _fetch(self) -> None:
        name, state, source = self.replica_name, self.trinity.state, self.trinity.source
        if state.driver != "local" and (name or self.thing):
            await self._ask_platform(name or self.thing)
        if not name or state.replica(name) is None:
            self.panel.sync()
            return
        if self.raw:
            self._raw = await source.raw(name)
        else:
            rows = await source.rows("requests", limit=2 * REQUESTS, where={"replica": name})
            self._requests = one_a_request(row for row in rows if isinstance(row, RequestRow))[-REQUESTS:]
            self._logs = (await source.logs([name], limit=15)).rows
        self.panel.sync()

    async def _ask_platform(self, name: str) -> None:
        try:
            told = await self.trinity.source.describe(name)
        except (TrinityError, OSError) as error:
            self._untold = str(error)
            return
        if name in (self.replica_name, self.thing):
            self._told, self._untold = told, ""

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
        return self.replica_name or self.thing

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
        if view is not None:
            return view.status.workload
        return self.row.name if isinstance(self.row, WorkloadView) else None

    def exposes(self) -> tuple[str, int | None] | None:
        return (self.row.name, None) if isinstance(self.row, WorkloadView) else None
