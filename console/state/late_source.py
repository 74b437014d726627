"""A source that is made when first needed, off the loop: the first frame waits for no import and no daemon."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from backend.contract.control import (
    ActionPreview,
    ActionRequest,
    DrillInfo,
    DrillView,
    ExecOrder,
    Frame,
    LogWindow,
    SeriesPoint,
    Snapshot,
    VersionInfo,
)
from backend.contract.log_chunks import LogChunk
from backend.contract.platform import Description
from backend.contract.recording import Moment, RecordExtent
from backend.contract.rows import ActionRow, Scalar
from console.state.source import ExecSession, FleetSource, LedgerRow


class LateSource:
    """Delegates to what `factory` makes. It runs in a thread, again after a failure, never twice at once."""

    def __init__(self, factory: Callable[[], FleetSource]) -> None:
        self._factory = factory
        self._made: FleetSource | None = None
        self._lock: asyncio.Lock | None = None

    async def inner(self) -> FleetSource:
        """The real source. Raises what the factory raises."""
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            if self._made is None:
                self._made = await asyncio.to_thread(self._factory)
            return self._made

    async def version(self) -> VersionInfo:
        return await (await self.inner()).version()

    async def snapshot(self) -> Snapshot:
        return await (await self.inner()).snapshot()

    async def stream(self, interval_s: float = 1.0) -> AsyncIterator[Frame]:
        async for frame in (await self.inner()).stream(interval_s):
            yield frame

    async def series(self, seconds: int) -> list[SeriesPoint]:
        return await (await self.inner()).series(seconds)

    async def rows(
        self,
        table: str,
        *,
        since_ts: float = 0.0,
        until_ts: float | None = None,
        limit: int = 1000,
        where: dict[str, Scalar] | None = None,
    ) -> Sequence[LedgerRow]:
        source = await self.inner()
        return await source.rows(table, since_ts=since_ts, until_ts=until_ts, limit=limit, where=where)

    async def logs(
        self, replicas: list[str] | None, *, since_ts: float = 0.0, until_ts: float | None = None, limit: int = 500
    ) -> LogWindow:
        return await (await self.inner()).logs(replicas, since_ts=since_ts, until_ts=until_ts, limit=limit)

    async def extent(self) -> RecordExtent:
        return await (await self.inner()).extent()

    async def moment(self, ts: float, *, window_s: int = 900) -> Moment:
        return await (await self.inner()).moment(ts, window_s=window_s)

    async def log_chunks(self, replicas: list[str] | None, *, lines: int = 2000) -> AsyncIterator[list[LogChunk]]:
        async for batch in (await self.inner()).log_chunks(replicas, lines=lines):
            yield batch

    async def preview(self, request: ActionRequest) -> ActionPreview:
        return await (await self.inner()).preview(request)

    async def perform(self, request: ActionRequest) -> ActionRow:
        return await (await self.inner()).perform(request)

    async def drills(self, *, plans: bool = True) -> list[DrillInfo]:
        return await (await self.inner()).drills(plans=plans)

    async def drill(self, name: str) -> DrillInfo:
        return await (await self.inner()).drill(name)

    async def drill_runs(self, *, limit: int = 100) -> list[DrillView]:
        return await (await self.inner()).drill_runs(limit=limit)

    async def drill_report(self, run_id: str) -> dict[str, Any]:
        return await (await self.inner()).drill_report(run_id)

    async def drill_compare(self, base: str, run_id: str) -> dict[str, Any]:
        return await (await self.inner()).drill_compare(base, run_id)

    async def drill_file(self, run_id: str, kind: str) -> bytes:
        return await (await self.inner()).drill_file(run_id, kind)

    async def raw(self, replica: str) -> dict[str, object]:
        return await (await self.inner()).raw(replica)

    async def describe(self, name: str) -> Description:
        return await (await self.inner()).describe(name)

    async def exec(self, order: ExecOrder) -> ExecSession:
        return await (await self.inner()).exec(order)

    async def aclose(self) -> None:
        if self._made is not None:
            await self._made.aclose()
