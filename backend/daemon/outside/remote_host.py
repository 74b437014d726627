"""The fleet as an observer outside the daemon sees it: over the control API, and by the bare processes without one.

Implements `backend.drills.ports.DrillHost`. Owns no fault but the daemon's end and new start. While no daemon
answers, the edge is unknown, and a replica is what it last was as long as its process lives.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from pathlib import Path
from typing import NoReturn

import msgspec

from backend.config.paths import StatePaths
from backend.contract.clock import Clock
from backend.contract.control import ActionRequest, Frame, Snapshot
from backend.contract.edge import EdgeObservation
from backend.contract.errors import Refused, TrinityError, Unreachable
from backend.contract.faults import FaultOrder, FaultReport, Holder, StartFault
from backend.contract.fleet import ReplicaStatus, WorkloadSpec
from backend.contract.rows import ActionRow, EventRow, RequestRow, Row, Scalar
from backend.contract.words import Phase, Vantage, Verb
from backend.control_client import ControlClient
from backend.daemon.outside.order import ObserverOrder
from backend.daemon_start import ensure_daemon
from backend.drills import outside, processes
from backend.drills.catalogue import HeldBy

STREAM_PERIOD_S = 0.1
RETRY_S = 0.02
FLUSH_PERIOD_S = 0.5
PATIENCE_S = 10.0
_ROWS_A_CALL = 1000


class RemoteHost:
    """A fleet over its control API, through the death and return of its daemon. Use between `open` and `close`."""

    def __init__(self, client: ControlClient, order: ObserverOrder, clock: Clock) -> None:
        self._client, self._order, self._clock = client, order, clock
        self._paths = StatePaths(Path(order.state_dir))
        self._daemon_pid: int | None = None
        self._snapshot: Snapshot | None = None
        self._here = asyncio.Event()
        self._marks: dict[int, str | None] = {}
        self._listeners: list[Callable[[EventRow], None]] = []
        self._seen_seq = 0
        self._rows: deque[RequestRow] = deque()
        self._events: list[EventRow] = []
        self._run_dir: Path | None = None
        self._tasks: list[asyncio.Task[None]] = []

    # -- life

    async def open(self) -> None:
        """Begin to watch; returns with the first snapshot. Raises Unreachable."""
        newest = await self._client.rows("events", limit=1)
        self._seen_seq = max((event.seq for event in newest), default=0)
        self._daemon_pid = (await self._client.version()).pid
        self._take(await self._client.snapshot())
        self._here.set()
        self._tasks = [asyncio.create_task(self._watch()), asyncio.create_task(self._flush_often())]

    def keep_in(self, run_dir: Path) -> None:
        """Where the run's events are kept for the ledger."""
        self._run_dir = run_dir
        self._keep_events()

    async def close(self) -> None:
        """End; rows that no daemon took are only in the run's own ledger."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(Unreachable):
            await self._flush()

    # -- watching

    async def _watch(self) -> None:
        """Frames while a daemon answers; in between, knocking."""
        while True:
            with contextlib.suppress(Unreachable):
                await self._catch_up()
                async with aclosing(self._client.stream(STREAM_PERIOD_S)) as frames:
                    async for frame in frames:
                        self._see(frame)
            self._here.clear()
            await asyncio.sleep(RETRY_S)

    async def _catch_up(self) -> None:
        """Events between two daemons' streams, in their order."""
        since = self._snapshot.ts - 1.0 if self._snapshot else 0.0
        self._tell(await self._client.rows("events", since_ts=since, limit=5000))

    def _see(self, frame: Frame) -> None:
        if frame.snapshot is not None:
            self._take(frame.snapshot)
            self._here.set()
        self._tell(frame.events)

    def _take(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        pids = [view.status.pid for view in snapshot.replicas if view.status.pid is not None]
        self._marks = {pid: self._marks.get(pid) or processes.start_mark(pid) for pid in pids}

    def _tell(self, events: Sequence[EventRow]) -> None:
        for event in events:
            if event.seq > self._seen_seq:
                self._seen_seq = event.seq
                for listener in tuple(self._listeners):
                    listener(event)

    # -- DrillHost: seeing

    @property
    def environment(self) -> str:
        return self._order.environment

    @property
    def fleet(self) -> str:
        return self._order.fleet

    @property
    def driver(self) -> str:
        return self._order.driver

    def holds(self, workload: str) -> bool:
        return any(spec.name == workload and not spec.kind for spec in self._order.workloads)

    @property
    def versions(self) -> dict[str, str]:
        return self._order.versions

    @property
    def api_key(self) -> str:
        return self._order.api_key

    def workloads(self) -> Sequence[WorkloadSpec]:
        return self._order.workloads

    def replicas(self, workload: str) -> Sequence[ReplicaStatus]:
        """As the daemon says, or said; without one, a process that has ended makes its replica not ready."""
        if self._snapshot is None:
            return []
        found = [view.status for view in self._snapshot.replicas if view.status.workload == workload]
        return found if self._here.is_set() else [self._alone(status) for status in found]

    def _alone(self, status: ReplicaStatus) -> ReplicaStatus:
        mark = self._marks.get(status.pid) if status.pid is not None else None
        if status.phase != Phase.READY or (status.pid is not None and mark and not processes.is_gone(status.pid, mark)):
            return status
        return msgspec.structs.replace(status, phase=Phase.NOT_READY, reason="its process ended while no daemon ran")

    def edge(self) -> EdgeObservation:
        if self._snapshot is None:
            return EdgeObservation(ts=self._clock.now(), up=False)
        seen = self._snapshot
        return EdgeObservation(
            ts=seen.ts,
            up=seen.edge_up and self._here.is_set(),
            servers=tuple(view.edge for view in seen.replicas if view.edge is not None),
            public_url=seen.public_url,
            stats_url=seen.stats_url,
        )

    async def in_flight(self, workload: str, replica: str) -> int:
        return sum(server.in_flight for server in self.edge().servers if server.replica == replica)

    def on_event(self, listener: Callable[[EventRow], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def edge_rows(self, since_ts: float, until_ts: float) -> Sequence[RequestRow]:
        await self._until_here()
        rows: list[RequestRow] = []
        for vantage in (Vantage.EDGE, Vantage.ATTEMPT):
            where: dict[str, Scalar] = {"vantage": vantage.value}
            rows += await self._client.rows(
                "requests", since_ts=since_ts, until_ts=until_ts, limit=100_000, where=where
            )
        return rows

    # -- DrillHost: telling

    def append(self, row: Row) -> None:
        if isinstance(row, RequestRow):
            self._rows.append(row)
        elif isinstance(row, EventRow):
            self._events.append(row)
            self._keep_events()

    def _keep_events(self) -> None:
        if self._run_dir is not None and self._events:
            outside.append_events(self._run_dir, self._events)
            self._events.clear()

    async def _flush_often(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_PERIOD_S)
            with contextlib.suppress(Unreachable):
                await self._flush()

    async def _flush(self) -> None:
        """Client rows into the daemon's ledger. What it did not take waits for the next one."""
        while self._rows:
            batch = [self._rows[i] for i in range(min(_ROWS_A_CALL, len(self._rows)))]
            await self._client.record(batch)
            for _ in batch:
                self._rows.popleft()

    # -- DaemonKiller

    @property
    def daemon_pid(self) -> int | None:
        """The pid of the daemon that answered last."""
        return self._daemon_pid

    async def kill_daemon(self, run_id: str) -> int:
        """SIGKILL to the daemon that answers now, after it wrote down who did it. Its pid, once it is gone."""
        version = await self._client.version()
        self._daemon_pid = version.pid
        mark = processes.start_mark(version.pid)
        text = f"drill {run_id} kills this daemon (pid {version.pid}) and starts the next one"
        note = ActionRequest(verb=Verb.NOTE, args={"text": text}, actor=f"drill:{run_id}", reason=f"drill {run_id}")
        await self._client.perform(note)
        if mark is None or processes.is_gone(version.pid, mark):
            raise TrinityError("The daemon ended by itself before it could be killed.", "Run the drill again.")
        os.kill(version.pid, signal.SIGKILL)
        while not processes.is_gone(version.pid, mark):  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0.001)
        self._here.clear()
        return version.pid

    async def await_daemon(self, timeout_s: float) -> int:
        """A daemon again, started as the CLI starts one unless somebody else did; the pid of the one that answers.

        Raises Unreachable after the timeout, and what keeps a daemon from starting.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    await asyncio.to_thread(ensure_daemon, self._paths, auto_port=self._order.auto_port)
                    with contextlib.suppress(Unreachable):  # a kept connection to the one that is gone
                        self._daemon_pid = (await self._client.version()).pid
                        return self._daemon_pid
        except TimeoutError:
            raise Unreachable(f"No daemon answered within {timeout_s:g} s.", "See trinityd.log.") from None

    async def _until_here(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._here.wait()
        except TimeoutError:
            raise Unreachable("No daemon answers.", "Start it with `trinity up`.") from None

    # -- DrillHost: what only a daemon can do

    def lease(self, workload: str, holder: str) -> AbstractAsyncContextManager[None]:
        """The daemon holds the lease for as long as the observer lives, and so does the next one."""

        @asynccontextmanager
        async def held() -> AsyncIterator[None]:
            yield

        return held()

    async def signal(self, run_id: str, replica: str, signal: int) -> int:
        _no()

    async def hold(self, run_id: str, replica: str, *, held: bool) -> None:
        _no()

    async def holder(self, replica: str, kind: HeldBy) -> Holder:
        _no()

    async def fault(self, run_id: str, replica: str, kind: HeldBy, order: FaultOrder) -> FaultReport:
        _no()

    async def heal(self, run_id: str, replica: str, kind: HeldBy, fault_id: str) -> FaultReport | None:
        _no()

    async def fault_reports(self, replica: str, kind: HeldBy) -> Sequence[FaultReport]:
        _no()

    async def unsplice(self, run_id: str, workload: str) -> None:
        """Nothing of ours is spliced."""

    async def start_fault(self, run_id: str, replica: str, fault: StartFault | None) -> None:
        _no()

    async def exit(self, run_id: str, replica: str, code: int) -> None:
        _no()

    async def act(self, run_id: str, verb: Verb, workload: str, args: dict[str, Scalar]) -> ActionRow:
        _no()

    async def kill_edge(self, run_id: str) -> int:
        _no()

    async def reload_edge(self, run_id: str) -> int:
        _no()


def _no() -> NoReturn:
    raise Refused("A drill that kills the daemon takes no other fault.", "Put it into a drill of its own.")
