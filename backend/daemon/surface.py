"""One fleet as its clients see it: the control surface over its wired parts.

Every decision lives in a part, not here. Owns no server and no loop; never opens or closes its parts.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec

from backend.actions.executor import unknown
from backend.actions.guard import READ_ONLY_PREFIX
from backend.contract.control import (
    PROTOCOL,
    ActionPreview,
    ActionRequest,
    DrillInfo,
    DrillView,
    ExecOrder,
    ExecTicket,
    Frame,
    LogWindow,
    SeriesPoint,
    Snapshot,
    VersionInfo,
)
from backend.contract.errors import Refused, UsageError
from backend.contract.platform import Describable, Description, HasNeighbours, Loggable, Neighbours, Progress
from backend.contract.recording import Moment, RecordExtent
from backend.contract.rows import ActionRow, EventRow, LogRow, RequestRow, Row, Scalar
from backend.contract.words import ActionOutcome, Severity, Vantage, Verb
from backend.daemon.describing import describe
from backend.daemon.parts import Parts
from backend.drills.compare import Comparison
from backend.ledger.log_chunks import BUSY_BYTES, ChunkFollower
from backend.ledger.logs import Follower, LogReader
from backend.reconcile.diff import diff
from backend.telemetry.exporter import Exposition
from backend.version import VERSION

_QUERYABLE = ("requests", "samples", "events", "actions")
_EVENTS = 20
"""The newest ones that a description tells."""
_FOLLOW_POLL_S = 0.2
_FOLLOW_BEAT_S = 10.0
_WISH_PERIOD_S = 60.0
"""How often a driver is told that its logs are still read."""


class FleetSurface:
    """What a fleet offers. `shutdown` is who ends it; with `read_only` nobody's verbs are done. Once `ended` is set
    its endless streams end."""

    def __init__(self, parts: Parts, shutdown: Callable[[], None], *, read_only: bool = False) -> None:
        self.parts, self.shutdown, self._read_only = parts, shutdown, read_only
        parts.read_only = read_only
        self.ended = asyncio.Event()
        self._logs = LogReader(parts.paths.logs_dir)
        parts.request_shutdown = shutdown  # type: ignore[method-assign]  # the one who owns the end

    def version(self) -> VersionInfo:
        parts = self.parts
        return VersionInfo(
            version=VERSION,
            protocol=PROTOCOL,
            pid=os.getpid(),
            started_ts=parts.started_ts,
            state_dir=str(parts.paths.state_dir),
        )

    def snapshot(self) -> Snapshot:
        return self.parts.snapshot()

    def series(self, seconds: int) -> Sequence[SeriesPoint]:
        return self.parts.meters.series.points(max(1, seconds))

    def frames(self, interval_s: float, *, deltas: bool) -> AsyncIterator[Frame]:
        return self.parts.hub.frames(interval_s, deltas=deltas)

    async def extent(self) -> RecordExtent:
        return await self.parts.past.extent()

    async def moment(self, ts: float, window_s: int) -> Moment:
        return await self.parts.past.moment(ts, window_s)

    def rows(
        self, table: str, since_ts: float, until_ts: float | None, limit: int, where: dict[str, Scalar] | None
    ) -> Sequence[Row]:
        if table not in _QUERYABLE:
            raise UsageError(f"There is no table `{table}`.", f"There are: {', '.join(_QUERYABLE)}.")
        return self.parts.ledger.recent(table, since_ts=since_ts, until_ts=until_ts, limit=limit, where=where)

    def take_rows(self, rows: Sequence[RequestRow]) -> None:
        """Rows of a load generator outside the daemon; only what a client saw."""
        for row in rows:
            if row.vantage != Vantage.CLIENT:
                raise UsageError("Only rows of vantage `client` are taken.", "The edge's rows come from its log.")
        for row in rows:
            self.parts.ledger.append(row)

    async def logs(self, names: list[str] | None, since_ts: float, until_ts: float | None, limit: int) -> LogWindow:
        """Raises UsageError for a name that is no workload and never was a replica."""
        replicas = self._logged(names)
        await self._wish_for_logs(replicas)
        return await asyncio.to_thread(
            self._logs.tail, replicas, limit=limit, since_ts=since_ts or None, until_ts=until_ts
        )

    def follow_logs(self, names: list[str] | None, since_ts: float) -> AsyncIterator[Sequence[LogRow]]:
        """Batches of lines; an empty one now and then says that we live. A replica that is born to a workload of
        `names` joins. Raises UsageError as `logs` does."""
        return self._follow_logs(names or (), self._logged(names), since_ts)

    async def _follow_logs(
        self, names: Sequence[str], replicas: list[str] | None, since_ts: float
    ) -> AsyncIterator[Sequence[LogRow]]:
        follower = Follower(self.parts.paths.logs_dir, replicas, tail=0, since_ts=since_ts or None)
        clock, last = self.parts.clock, self.parts.clock.mono()
        wished = await self._wish_for_logs(replicas)
        try:
            while not self.ended.is_set():
                if replicas is not None and (born := set(self._replicas_of(names)).difference(replicas)):
                    replicas += sorted(born)  # the follower reads this list at each look
                    wished = await self._wish_for_logs(replicas)
                elif clock.mono() - wished > _WISH_PERIOD_S:
                    wished = await self._wish_for_logs(replicas)
                batch = await asyncio.to_thread(follower.poll)
                if batch or clock.mono() - last > _FOLLOW_BEAT_S:
                    last = clock.mono()
                    yield batch
                await asyncio.sleep(_FOLLOW_POLL_S)
        finally:
            follower.close()

    async def log_chunks(self, replicas: list[str] | None, lines: int) -> AsyncIterator[bytes]:
        """Batches of stored bytes; an empty one now and then says that we live. A reader that is slow is waited for:
        what shims delete meanwhile is counted as lost."""
        follower = ChunkFollower(self.parts.paths.logs_dir, replicas, lines=lines)
        clock, last = self.parts.clock, self.parts.clock.mono()
        wished = await self._wish_for_logs(replicas)
        try:
            while not self.ended.is_set():
                if clock.mono() - wished > _WISH_PERIOD_S:
                    wished = await self._wish_for_logs(replicas)
                batch, size = await asyncio.to_thread(follower.poll_encoded)
                if size or clock.mono() - last > _FOLLOW_BEAT_S:
                    last = clock.mono()
                    yield batch
                if size < BUSY_BYTES:
                    await asyncio.sleep(_FOLLOW_POLL_S)
        finally:
            follower.close()

    async def _wish_for_logs(self, replicas: list[str] | None) -> float:
        """A driver that fetches logs for those who want them does so; the instant of the wish, monotonic."""
        if isinstance(self.parts.fleet, Loggable):
            await self.parts.fleet.want_logs(replicas)
        return self.parts.clock.mono()

    def _logged(self, names: list[str] | None) -> list[str] | None:
        """The replicas that are meant; those that run, and those that left their lines behind, have logs."""
        if names is None:
            return None
        logs_dir = self.parts.paths.logs_dir
        replicas = {s.name for s in self.parts.fleet.observe()} | {p.name for p in logs_dir.iterdir() if p.is_dir()}
        known = replicas | {spec.name for spec in self.parts.specs}
        for name in names:
            if name not in known:
                raise unknown("replica", name, sorted(known))
        return [*(name for name in names if name in replicas), *self._replicas_of(names)]

    def _replicas_of(self, workloads: Sequence[str]) -> list[str]:
        return [status.name for status in self.parts.fleet.observe() if status.workload in workloads]

    def raw(self, replica: str) -> dict[str, Any]:
        parts = self.parts
        for view in self.snapshot().replicas:
            if view.status.name == replica:
                reading = parts.meters.engines.reading(replica)
                spec = next((s for s in parts.specs if s.name == view.status.workload), None)
                slot = next((s for s in parts.edge.slots() if s.replica == replica), None)
                known = {"view": view, "workload": spec, "edge_slot": slot, "engine": reading}
                return {name: msgspec.to_builtins(value) for name, value in known.items()}
        raise unknown("replica", replica, [v.status.name for v in self.snapshot().replicas])

    async def describe(self, name: str) -> Description:
        """As the platform does, else by what we know ourselves. Raises UsageError for an unknown name."""
        parts = self.parts
        if isinstance(parts.fleet, Describable):
            return await parts.fleet.describe(name)
        snapshot = self.snapshot()
        rows = parts.ledger.recent("events", limit=_EVENTS, where={"subject": name})
        raw = self.raw(name) if any(view.status.name == name for view in snapshot.replicas) else {}
        return describe(name, snapshot, parts.specs, [row for row in rows if isinstance(row, EventRow)], raw)

    async def neighbours(self) -> Neighbours:
        fleet = self.parts.fleet
        return await fleet.neighbours() if isinstance(fleet, HasNeighbours) else Neighbours()

    async def exec(self, order: ExecOrder) -> ExecTicket:
        if self._read_only and not order.actor.startswith(READ_ONLY_PREFIX):
            order = msgspec.structs.replace(order, actor=READ_ONLY_PREFIX + order.actor)
        return await self.parts.connections.exec.open(order)

    async def drills(self, *, plans: bool) -> Sequence[DrillInfo]:
        return await self.parts.drills.infos(plans=plans)

    async def drill(self, name: str) -> DrillInfo:
        return await self.parts.drills.info(name)

    async def drill_runs(self, limit: int) -> Sequence[DrillView]:
        return await self.parts.drills.shelf.runs(limit)

    async def drill_file(self, run_id: str, kind: str) -> bytes:
        return await self.parts.drills.shelf.file(run_id, kind)

    async def drill_compare(self, reference: str, run_id: str) -> Comparison:
        return await self.parts.drills.shelf.compare(reference, run_id)

    async def edge_text(self, what: str) -> str:
        edge = self.parts.edge
        if what == "stat":
            return await edge.stat_text()
        if what == "errors":
            return await edge.errors_text()
        if what == "config":
            return edge.config_text()
        raise UsageError(f"The edge has no `{what}`.", "Ask for stat, config or errors.")

    async def preview(self, request: ActionRequest) -> ActionPreview:
        request = await self._prepare(request)
        return self.parts.gateway.preview(request)

    async def perform(self, request: ActionRequest) -> ActionRow:
        """A refusal is an answer too: a row with outcome `refused`, as the journal has it."""
        request = await self._prepare(request)
        try:
            return await self.parts.gateway.perform(request, progress_told(request, self.parts.event))
        except Refused as refusal:
            return ActionRow(
                ts=self.parts.clock.now(),
                id="",
                actor=request.actor,
                verb=request.verb,
                target=request.target,
                reason=request.reason,
                outcome=ActionOutcome.REFUSED,
                result=str(refusal),
            )

    async def _prepare(self, request: ActionRequest) -> ActionRequest:
        if request.verb == Verb.DRILL_RUN:
            await self.parts.drills.prepare(request)
        if self._read_only and not request.actor.startswith(READ_ONLY_PREFIX):
            return msgspec.structs.replace(request, actor=READ_ONLY_PREFIX + request.actor)
        return request

    async def diff(self, yaml: str, source: str) -> Sequence[str]:
        new = await asyncio.to_thread(self.parts.parse, yaml, source)
        return diff(self.parts.specs, new)

    def exposition(self) -> Exposition:
        return self.parts.meters.exposition(self.snapshot())


def progress_told(request: ActionRequest, event: Callable[[str, Severity, str, str], None]) -> Progress | None:
    """How it gets on, as events: what may wait for hours for somebody else's budget says for which."""
    if request.verb != Verb.NODE_DRAIN:
        return None
    return lambda words: event("action.progress", Severity.INFO, request.target, f"{request.target}: {words}")
