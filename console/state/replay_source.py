"""A fleet source over a recording: what somebody exported, to look at as it was. Every verb is refused.

Owns how a file's rows answer the console's questions. Reads in threads; never writes, never reaches a daemon.
"""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_left
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from backend.contract.control import (
    PROTOCOL,
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
from backend.contract.errors import Refused, UsageError
from backend.contract.log_chunks import LogChunk
from backend.contract.platform import Description
from backend.contract.recording import Moment, RecordExtent, actions_as_of
from backend.contract.rows import TABLES, ActionRow, LogRow, Scalar
from backend.recording.archive import Archive
from console.state.past import stored_line
from console.state.source import ExecSession, LedgerRow

EVENTS: Final = 500
ACTIONS: Final = 200
_QUERYABLE: Final = ("requests", "samples", "events", "actions")


class ReplaySource:
    """See `FleetSource`. The newest snapshot of the file stands where a live fleet's would."""

    def __init__(self, path: Path) -> None:
        """Raises FileError for a file that is no recording."""
        self._archive = Archive(path)
        self._recording = self._archive.recording
        self._tables: dict[str, _Rows] = {}
        self._lock = asyncio.Lock()

    @property
    def name(self) -> str:
        return self._archive.path.name

    async def version(self) -> VersionInfo:
        manifest = self._archive.manifest
        place = str(self._archive.path)
        return VersionInfo(
            version=manifest.version, protocol=PROTOCOL, pid=0, started_ts=manifest.since_ts, state_dir=place
        )

    async def snapshot(self) -> Snapshot:
        """The last one."""
        found = await asyncio.to_thread(self._recording.newest)
        if found is None:
            raise UsageError(f"{self.name} holds no snapshot that this version can read.", "Export it anew.")
        return found

    async def stream(self, interval_s: float = 1.0) -> AsyncIterator[Frame]:
        """The last snapshot; nothing follows it, and the stream never ends."""
        yield Frame(seq=1, snapshot=await self.snapshot())
        await asyncio.Event().wait()

    async def series(self, seconds: int) -> list[SeriesPoint]:
        last = (await self.extent()).last_ts or 0.0
        return await asyncio.to_thread(self._recording.points, last - seconds, last)

    async def rows(
        self,
        table: str,
        *,
        since_ts: float = 0.0,
        until_ts: float | None = None,
        limit: int = 1000,
        where: dict[str, Scalar] | None = None,
    ) -> Sequence[LedgerRow]:
        if table not in _QUERYABLE:
            raise UsageError(f"There is no table `{table}`.", f"There are: {', '.join(_QUERYABLE)}.")
        unknown = [name for name in where or () if name not in TABLES[table].__struct_fields__]
        if unknown:
            raise UsageError(f"{table} has no column {unknown[0]}.", "Mend the question.")
        held = await self._table(table)
        if table == "actions":
            held = held.latest_of_each_id()
        return held.select(since_ts, until_ts, limit, where)

    async def logs(
        self, replicas: list[str] | None, *, since_ts: float = 0.0, until_ts: float | None = None, limit: int = 500
    ) -> LogWindow:
        held = await self._table("logs")
        low, high = held.span(since_ts, until_ts)
        found: list[LogRow] = [row for row in held.rows[low:high] if replicas is None or row.replica in replicas]
        left_out = max(0, len(found) - limit)
        return LogWindow(rows=tuple(found[left_out:]), truncated=left_out)

    async def log_chunks(self, replicas: list[str] | None, *, lines: int = 2000) -> AsyncIterator[list[LogChunk]]:
        """The newest lines of each replica, then nothing."""
        texts: dict[str, list[bytes]] = {}
        for row in (await self._table("logs")).rows:
            if replicas is None or row.replica in replicas:
                texts.setdefault(row.replica, []).append(stored_line(row))
        yield [LogChunk(replica=name, data=b"".join(found[-lines:])) for name, found in texts.items()]
        await asyncio.Event().wait()

    async def extent(self) -> RecordExtent:
        return await asyncio.to_thread(self._recording.extent)

    async def moment(self, ts: float, *, window_s: int = 900) -> Moment:
        extent = await self.extent()
        if extent.first_ts is None or extent.last_ts is None:
            raise UsageError(f"{self.name} holds no snapshot.", "Export it anew.")
        at = min(max(ts, extent.first_ts), extent.last_ts)
        snapshot = await asyncio.to_thread(self._recording.at, at)
        if snapshot is None:
            raise UsageError(f"{self.name} holds no snapshot that this version can read.", "Export it anew.")
        points = await asyncio.to_thread(self._recording.points, at - window_s, at)
        events = await self._table("events")
        actions = actions_as_of((await self._table("actions")).rows, at)
        _, high = events.span(0.0, _just_after(at))
        return Moment(
            ts=at,
            snapshot=snapshot,
            points=tuple(points),
            events=tuple(events.rows[max(0, high - EVENTS) : high]),
            actions=actions[-ACTIONS:],
        )

    async def raw(self, replica: str) -> dict[str, object]:
        for view in (await self.snapshot()).replicas:
            if view.status.name == replica:
                return {"view": msgspec.to_builtins(view)}
        raise UsageError(f"There was no replica `{replica}` at the end of {self.name}.", "Choose one that is shown.")

    async def describe(self, name: str) -> Description:
        raise Refused(f"{self.name} does not hold what the platform said of {name}.")

    async def exec(self, order: ExecOrder) -> ExecSession:
        raise self._refused()

    async def aclose(self) -> None:
        self._tables.clear()

    # -- nothing can be done to the past

    async def preview(self, request: ActionRequest) -> ActionPreview:
        raise self._refused()

    async def perform(self, request: ActionRequest) -> ActionRow:
        raise self._refused()

    async def drills(self, *, plans: bool = True) -> list[DrillInfo]:
        return []

    async def drill(self, name: str) -> DrillInfo:
        raise self._no_drills()

    async def drill_runs(self, *, limit: int = 100) -> list[DrillView]:
        return []

    async def drill_report(self, run_id: str) -> dict[str, Any]:
        raise self._no_drills()

    async def drill_compare(self, base: str, run_id: str) -> dict[str, Any]:
        raise self._no_drills()

    async def drill_file(self, run_id: str, kind: str) -> bytes:
        raise self._no_drills()

    def _refused(self) -> Refused:
        return Refused(f"{self.name} is a recording: nothing can be done to it.", "Open the fleet itself: `trinity`.")

    def _no_drills(self) -> UsageError:
        return UsageError("A recording holds no drills and no reports.", "`trinity drill report` reads a fleet's own.")

    async def _table(self, table: str) -> _Rows:
        """A table's rows, read when first asked for."""
        async with self._lock:
            if table not in self._tables:
                self._tables[table] = await asyncio.to_thread(lambda: _Rows(list(self._archive.rows(table))))
            return self._tables[table]


class _Rows:
    """Rows of one table by time."""

    def __init__(self, rows: list[Any]) -> None:
        self.rows = sorted(rows, key=lambda row: row.ts)
        self._times = [row.ts for row in self.rows]

    def latest_of_each_id(self) -> _Rows:
        return _Rows(list({row.id: row for row in self.rows}.values()))

    def span(self, since_ts: float, until_ts: float | None) -> tuple[int, int]:
        low = bisect_left(self._times, since_ts)
        return low, max(low, len(self.rows) if until_ts is None else bisect_left(self._times, until_ts))

    def select(self, since_ts: float, until_ts: float | None, limit: int, where: dict[str, Scalar] | None) -> list[Any]:
        low, high = self.span(since_ts, until_ts)
        found = [
            row
            for row in self.rows[low:high]
            if all(getattr(row, name) == value for name, value in (where or {}).items())
        ]
        return found[max(0, len(found) - limit) :]


def _just_after(ts: float) -> float:
    """The next instant: an event of that very one has happened."""
    return math.nextafter(ts, math.inf)
