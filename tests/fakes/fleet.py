"""A fleet in memory: replicas get Ready after a delay, die and come back, all on the running loop."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Sequence

import msgspec

from backend.contract.errors import Refused
from backend.contract.fleet import ReplicaListener, ReplicaStatus, WorkloadSpec
from backend.contract.words import Phase


class FakeFleet:
    """Obeys Fleet, Killable, Restartable, Holdable and Maintainable.

    `ready_after_s` is how long a process takes to be Ready; a revision in `broken` never is (it ends in
    CrashLoop where that is its value, else it stays Starting). Ending a process takes `end_s`. `before_end` is
    called with a replica's name when its process is ended on purpose, so that a test can check that nothing is
    lost by it.
    """

    def __init__(self, name: str = "local", *, ready_after_s: float = 0.01) -> None:
        self._name = name
        self.ready_after_s, self.end_s = ready_after_s, 0.005
        self.broken: dict[str, Phase] = {}
        self.before_end: Callable[[str], None] | None = None
        self.create_error: Exception | None = None
        self.statuses: dict[str, ReplicaStatus] = {}
        self.specs: dict[str, WorkloadSpec] = {}
        self.calls: list[tuple[str, str]] = []
        self.held: set[str] = set()
        self.maintenance: set[str] = set()
        self._listeners: list[ReplicaListener] = []
        self._pids, self._ports = itertools.count(1000), itertools.count(20000)
        self._timers: dict[str, asyncio.TimerHandle] = {}

    @property
    def name(self) -> str:
        return self._name

    def observe(self) -> Sequence[ReplicaStatus]:
        return tuple(self.statuses.values())

    def on_change(self, listener: ReplicaListener) -> Callable[[], None]:
        self._listeners.append(listener)

        def end() -> None:
            with contextlib.suppress(ValueError):
                self._listeners.remove(listener)

        return end

    async def create(self, spec: WorkloadSpec, replica: str) -> None:
        self.calls.append(("create", replica))
        if self.create_error is not None:
            raise self.create_error
        if replica in self.statuses:
            raise Refused(f"{replica} exists already.")
        self.specs[replica] = spec
        self._set(
            ReplicaStatus(
                name=replica,
                fleet=self._name,
                workload=spec.name,
                phase=Phase.PENDING,
                revision=spec.revision,
                created_ts=time.time(),
            )
        )
        self._start(replica)

    async def remove(self, replica: str, *, reason: str) -> None:
        self.calls.append(("remove", replica))
        self._end(replica)
        await asyncio.sleep(self.end_s)
        status = self.statuses.pop(replica)
        self._tell(msgspec.structs.replace(status, phase=Phase.TERMINATING, pid=None))

    async def kill(self, replica: str, *, signal: int = 9, counted: bool = False) -> int:
        self.calls.append(("kill", replica))
        pid = self.statuses[replica].pid
        if pid is None:
            raise Refused(f"{replica} has no process.")
        self.die(replica)
        return pid

    async def restart(self, replica: str, *, reason: str) -> None:
        self.calls.append(("restart", replica))
        self._end(replica)
        await asyncio.sleep(self.end_s)
        self._set(msgspec.structs.replace(self.statuses[replica], phase=Phase.STARTING, pid=None))
        self._start(replica)

    async def hold(self, replica: str, *, held: bool) -> None:
        (self.held.add if held else self.held.discard)(replica)
        if not held and self.statuses[replica].pid is None:
            self._start(replica)

    async def set_maintenance(self, workload: str, *, on: bool) -> None:
        (self.maintenance.add if on else self.maintenance.discard)(workload)

    def die(self, replica: str) -> None:
        """Its process ends now; supervision starts another unless it is held."""
        self._cancel(replica)
        status = self.statuses[replica]
        self._set(msgspec.structs.replace(status, phase=Phase.FAILED, pid=None))
        if replica not in self.held and status.workload not in self.maintenance:
            asyncio.get_running_loop().call_later(self.ready_after_s / 2, self._respawn, replica)

    def set_ready(self, replica: str, ready: bool) -> None:
        """What its readiness probe says."""
        phase = Phase.READY if ready else Phase.NOT_READY
        self._set(msgspec.structs.replace(self.statuses[replica], phase=phase))

    def _respawn(self, replica: str) -> None:
        if replica in self.statuses and self.statuses[replica].pid is None:
            self._start(replica)

    def _start(self, replica: str) -> None:
        status = self.statuses[replica]
        self._set(
            msgspec.structs.replace(
                status,
                phase=Phase.STARTING,
                pid=next(self._pids),
                port=status.port or next(self._ports),
                restarts=status.restarts + (1 if status.started_ts else 0),
                started_ts=time.time(),
            )
        )
        self._timers[replica] = asyncio.get_running_loop().call_later(self.ready_after_s, self._settle, replica)

    def _settle(self, replica: str) -> None:
        status = self.statuses.get(replica)
        if status is None or status.phase != Phase.STARTING:
            return
        phase = self.broken.get(status.revision, Phase.READY)
        if phase == Phase.CRASH_LOOP:
            self._set(msgspec.structs.replace(status, phase=phase, pid=None, reason="exit code 1"))
        elif phase == Phase.READY:
            self._set(msgspec.structs.replace(status, phase=phase))

    def _end(self, replica: str) -> None:
        if self.before_end is not None and self.statuses[replica].pid is not None:
            self.before_end(replica)
        self._cancel(replica)
        self._set(msgspec.structs.replace(self.statuses[replica], phase=Phase.TERMINATING))

    def _cancel(self, replica: str) -> None:
        if timer := self._timers.pop(replica, None):
            timer.cancel()

    def _set(self, status: ReplicaStatus) -> None:
        self.statuses[status.name] = status
        self._tell(status)

    def _tell(self, status: ReplicaStatus) -> None:
        for listener in list(self._listeners):
            listener(status)
