"""The daemon as its clients see it: the control surface and the monitoring endpoints over the wired parts.

Owns the servers and background loops. Every decision lives in a part, not here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from backend.actions.executor import unknown
from backend.contract.control import (
    PROTOCOL,
    ActionPreview,
    ActionRequest,
    DrillInfo,
    DrillView,
    Frame,
    LogWindow,
    SeriesPoint,
    Snapshot,
    VersionInfo,
)
from backend.contract.errors import PortTaken, Refused, UsageError
from backend.contract.recording import Moment, RecordExtent
from backend.contract.rows import ActionRow, LogRow, RequestRow, Row, Scalar
from backend.contract.words import ActionOutcome, Vantage, Verb
from backend.daemon.api import control_app
from backend.daemon.parts import Parts
from backend.drills.compare import Comparison
from backend.ledger.log_chunks import BUSY_BYTES, ChunkFollower
from backend.ledger.logs import Follower, LogReader
from backend.reconcile.diff import diff
from backend.telemetry.exporter import Exposition
from backend.telemetry.http import Server, health_app, monitoring_app, serve, serve_on
from backend.version import VERSION

_QUERYABLE = ("requests", "samples", "events", "actions")
_PORTS_TRIED = 100
_FOLLOW_POLL_S = 0.2
_FOLLOW_BEAT_S = 10.0


class Trinityd:
    """A running daemon. `start` serves; `stopped` is set by SIGTERM (detach) or shutdown (take the fleet down)."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.stopped = asyncio.Event()
        self.take_down = False
        self._logs = LogReader(parts.paths.logs_dir)
        self._servers: list[Server] = []
        parts.request_shutdown = self.shutdown  # type: ignore[method-assign]  # the one who owns the end

    # -- life

    async def start(self) -> None:
        """Ports first (they fail soonest), then the parts, then the control socket. Undoes itself on failure."""
        parts, settings = self.parts, self.parts.config.settings
        try:
            health = await self._serve(health_app(self), settings.health_port, "health")
            monitoring = await self._serve(monitoring_app(self), settings.metrics_port, "monitoring")
            self._servers += [health, monitoring]
            parts.metrics_url = monitoring.url
            await parts.open()
        except BaseException:
            await self._close_servers()
            raise
        self._servers.append(await serve_on(control_app(self), self._control_socket(), purpose="control"))

    async def run(self) -> None:
        """Until stopped; then detach or take everything down."""
        await self.stopped.wait()
        if self.take_down:
            await self.parts.take_down()
        else:
            await self.parts.close()
        await self._close_servers()
        with contextlib.suppress(FileNotFoundError):
            self.parts.paths.control_socket.unlink()

    def detach(self) -> None:
        """SIGTERM: end the daemon, leave replicas and edge."""
        self.stopped.set()

    def shutdown(self) -> None:
        """`trinity down`: end all."""
        self.take_down = True
        self.stopped.set()

    async def _serve(self, app: Any, port: int, purpose: str) -> Server:
        """On that port, or with --auto-port on the next free one. Raises PortTaken."""
        host, last = "127.0.0.1", port + (_PORTS_TRIED if self.parts.auto_port and port else 0)
        while True:
            try:
                return await serve(app, host, port, purpose=purpose)
            except PortTaken:
                if port >= last:
                    raise
                port += 1

    def _control_socket(self) -> socket.socket:
        path = self.parts.paths.control_socket
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.setblocking(False)
        old = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(old)
        listener.listen(128)
        return listener

    async def _close_servers(self) -> None:
        await asyncio.gather(*(server.close() for server in self._servers))
        self._servers.clear()

    # -- the control surface

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

    async def logs(self, replicas: list[str] | None, since_ts: float, until_ts: float | None, limit: int) -> LogWindow:
        """Raises UsageError for a replica that never was."""
        self._check_logged(replicas)
        return await asyncio.to_thread(
            self._logs.tail, replicas, limit=limit, since_ts=since_ts or None, until_ts=until_ts
        )

    async def follow_logs(self, replicas: list[str] | None, since_ts: float) -> AsyncIterator[Sequence[LogRow]]:
        """Batches of lines; an empty one now and then says that we live."""
        follower = Follower(self.parts.paths.logs_dir, replicas, tail=0, since_ts=since_ts or None)
        clock, last = self.parts.clock, self.parts.clock.mono()
        try:
            while not self.stopped.is_set():
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
        try:
            while not self.stopped.is_set():
                batch, size = await asyncio.to_thread(follower.poll_encoded)
                if size or clock.mono() - last > _FOLLOW_BEAT_S:
                    last = clock.mono()
                    yield batch
                if size < BUSY_BYTES:
                    await asyncio.sleep(_FOLLOW_POLL_S)
        finally:
            follower.close()

    def _check_logged(self, replicas: list[str] | None) -> None:
        """Those that run, and those that left their lines behind, have logs."""
        logs_dir = self.parts.paths.logs_dir
        names = {v.status.name for v in self.snapshot().replicas} | {p.name for p in logs_dir.iterdir() if p.is_dir()}
        for name in replicas or ():
            if name not in names:
                raise unknown("replica", name, sorted(names))

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
        await self._prepare(request)
        return self.parts.gateway.preview(request)

    async def perform(self, request: ActionRequest) -> ActionRow:
        """A refusal is an answer too: a row with outcome `refused`, as the journal has it."""
        await self._prepare(request)
        try:
            return await self.parts.gateway.perform(request)
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

    async def _prepare(self, request: ActionRequest) -> None:
        if request.verb == Verb.DRILL_RUN:
            await self.parts.drills.prepare(request)

    async def diff(self, yaml: str, source: str) -> Sequence[str]:
        new = await asyncio.to_thread(self.parts.parse, yaml, source)
        return diff(self.parts.specs, new)

    # -- monitoring

    def exposition(self) -> Exposition:
        return self.parts.meters.exposition(self.snapshot())
