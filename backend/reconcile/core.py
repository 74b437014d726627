"""What every part of the reconciler shares: the parts it acts on, what is under way, and the pulse of its loop.

Owns the in-memory progress marks (leaving, busy, rolling, surge …) and the step effects on one replica. Decides
nothing: `plan` does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from backend.contract.clock import Clock
from backend.contract.edge import Edge, SlotAssignment
from backend.contract.errors import UsageError
from backend.contract.events import EventRecorder
from backend.contract.fleet import Fleet, ReplicaStatus, WorkloadSpec
from backend.contract.ledger import RowSink
from backend.contract.platform import PlatformOwned
from backend.contract.rows import Scalar
from backend.contract.words import Phase, Severity, SlotState
from backend.reconcile.leases import Leases
from backend.reconcile.plan import Situation, edge_host, edge_ports, in_service
from backend.reconcile.wanted import WantedState, WantedStore, WorkloadWanted

DRAIN_POLL_S: Final = 0.05
UNDECLARED_DRAIN_S: Final = 60.0
"""How long a replica of a workload that nothing declares any more may finish its requests."""


class Core:
    """The reconciler's parts and its memory. Used on one event loop."""

    def __init__(self, fleet: Fleet, edge: Edge, sink: RowSink, store: WantedStore, leases: Leases, clock: Clock):
        self.fleet, self.edge, self.store = fleet, edge, store
        self._events = EventRecorder(sink, clock)
        self.leases, self.clock = leases, clock
        self.specs: dict[str, WorkloadSpec] = {}
        self.departed: dict[str, WorkloadSpec] = {}
        """No longer declared, but replicas of them still stand."""
        self.wanted = WantedState()
        self.down: set[str] = set()
        self.filled: dict[str, int] = {}
        """The pid each replica had when its slot was filled."""
        self.ejected: dict[str, int] = {}
        """Stuck replicas the edge was told to leave alone, with the pid they had: a new process is not stuck."""
        self.leaving: dict[str, asyncio.Task[None]] = {}
        self.busy: set[str] = set()
        self.protected: set[str] = set()
        self.rolling: dict[str, set[str]] = {}
        self.blocked: dict[str, str] = {}
        self.surge: dict[str, int] = {}
        self.last_failure: dict[str, str] = {}
        """Workload -> why the last step of it failed, for as long as it does."""
        self.wake = asyncio.Event()
        self._passed = asyncio.Event()
        self._waiting = 0
        self._locks: dict[str, asyncio.Lock] = {}
        self._wanted_lock = asyncio.Lock()

    # -- seeing ---------------------------------------------------------------------------------------------

    def situation(self) -> Situation:
        """What `plan` needs, at this instant. Of what a platform keeps only that which our edge sends requests to."""
        specs = tuple(spec for spec in self.specs.values() if spec.routes or not spec.kind)
        planned = {spec.name for spec in specs}
        return Situation(
            specs=specs,
            wanted=self.wanted,
            replicas=tuple(one for one in self.fleet.observe() if not one.owner or one.workload in planned),
            slots=tuple(self.edge.slots()),
            in_flight={server.replica: server.in_flight for server in self.edge.observe().servers},
            down=frozenset(self.down),
            filled=dict(self.filled),
            ejected=dict(self.ejected),
            leaving=frozenset(self.leaving),
            busy=frozenset(self.busy),
            protected=frozenset(self.protected),
            rolling={name: frozenset(targets) for name, targets in self.rolling.items()},
            blocked=dict(self.blocked),
            surge=dict(self.surge),
        )

    def acts_on(self, status: ReplicaStatus) -> bool:
        """Whether there can be a step for it: it is ours, or at our edge."""
        spec = self.specs.get(status.workload)
        return not status.owner or (spec is not None and bool(spec.routes)) or status.name in self.busy

    def find(self, replica: str) -> ReplicaStatus | None:
        return next((status for status in self.fleet.observe() if status.name == replica), None)

    def get(self, replica: str) -> ReplicaStatus:
        """Raises UsageError where no replica has that name."""
        status = self.find(replica)
        if status is None:
            names = ", ".join(status.name for status in self.fleet.observe()) or "none"
            raise UsageError(f"There is no replica {replica}.", f"Replicas now: {names}.")
        return status

    def spec(self, workload: str) -> WorkloadSpec:
        """Raises UsageError where no workload has that name."""
        spec = self.specs.get(workload) or self.departed.get(workload)
        if spec is None:
            raise UsageError(f"There is no workload {workload}.", f"Workloads: {', '.join(self.specs) or 'none'}.")
        return spec

    def slot(self, replica: str) -> SlotAssignment | None:
        return next((slot for slot in self.edge.slots() if slot.replica == replica), None)

    def alive(self, workload: str) -> list[ReplicaStatus]:
        """Its replicas that are not on their way out."""
        return [
            status for status in self.fleet.observe() if status.workload == workload and status.name not in self.leaving
        ]

    def serves(self, status: ReplicaStatus) -> bool:
        """Whether the edge sends it requests now."""
        down, slot = status.name in self.down, self.slot(status.name)
        return status.name not in self.leaving and in_service(self.spec(status.workload), status, slot, down=down)

    def serving(self, workload: str) -> tuple[str, ...]:
        """Names of the replicas the edge sends requests to."""
        return tuple(status.name for status in self.alive(workload) if self.serves(status))

    # -- the pulse ------------------------------------------------------------------------------------------

    def pulse(self) -> None:
        """Tell those who wait that another pass of the loop is over."""
        passed, self._passed = self._passed, asyncio.Event()
        passed.set()

    async def until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until `condition` holds, looked at after each pass of the loop. False where it did not in time."""
        self._waiting += 1
        self.wake.set()
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    await self._passed.wait()
        except TimeoutError:
            return condition()
        finally:
            self._waiting -= 1
        return True

    @property
    def idle(self) -> bool:
        """Whether all there is to do is to follow a platform: nothing is ours, at our edge, or waited for."""
        ours = any(spec.routes or not spec.kind for spec in self.specs.values())
        return isinstance(self.fleet, PlatformOwned) and not (ours or self.busy or self.leaving or self._waiting)

    # -- the written state ----------------------------------------------------------------------------------

    async def want(self, workload: str, change: Callable[[WorkloadWanted], WorkloadWanted]) -> WorkloadWanted:
        """Change and save what is wanted of a workload; nothing changes where saving fails. The new value."""
        async with self._wanted_lock:
            wanted = change(self.wanted.of(workload))
            await self._replace(self.wanted.with_workload(workload, wanted))
        self.wake.set()
        return wanted

    async def want_all(self, change: Callable[[WantedState], WantedState]) -> None:
        async with self._wanted_lock:
            await self._replace(change(self.wanted))
        self.wake.set()

    async def _replace(self, state: WantedState) -> None:
        if state != self.wanted:
            await self.store.save(state)
            self.wanted = state

    # -- deeds on one replica ---------------------------------------------------------------------------------

    def lock(self, replica: str) -> asyncio.Lock:
        """Orders the edge operations of one replica."""
        return self._locks.setdefault(replica, asyncio.Lock())

    async def mark_down(self, workload: str, replica: str) -> None:
        """Take a dead replica out of rotation at once. Does nothing where it is known to be out."""
        if replica in self.down:
            return
        self.down.add(replica)
        try:
            async with self.lock(replica):
                await self.edge.mark_down(workload, replica)
        except BaseException:
            self.down.discard(replica)
            raise
        self.filled.pop(replica, None)
        self.event("edge.marked-down", Severity.WARNING, replica, f"{replica} died; the edge no longer chooses it.")

    async def eject(self, replica: str, pid: int) -> bool:
        """Have the edge leave a stuck replica alone until `readmit` or a new process. False where the edge does not
        choose it anyway, or its process is another one by now."""
        async with self.lock(replica):
            status, slot = self.find(replica), self.slot(replica)
            if status is None or status.pid != pid or slot is None or slot.state == SlotState.MAINT:
                return False
            self.ejected[replica] = pid
            try:
                await self.edge.eject(status.workload, replica)
            except BaseException:
                self.ejected.pop(replica, None)
                raise
        self.wake.set()
        return True

    async def readmit(self, replica: str) -> bool:
        """Let an ejected replica take requests again. False where it may not now (it is not Ready, or drained)."""
        status = self.find(replica)
        if status is None or status.phase != Phase.READY or replica in self.busy or replica in self.leaving:
            return False
        if replica in self.wanted.of(status.workload).drained:
            return False
        self.ejected.pop(replica, None)
        await self.fill(status.workload, replica)
        slot = self.slot(replica)
        return slot is not None and slot.state == SlotState.READY

    async def fill(self, workload: str, replica: str) -> None:
        """Give a Ready replica its slot, or other ports in the one it has. One that died in the meantime is known by
        its pid in the next pass."""
        async with self.lock(replica):
            status = self.find(replica)
            if status is None or status.phase != Phase.READY or replica in self.leaving:
                return
            if status.pid is not None and self.ejected.get(replica) == status.pid:
                return
            port, check_port = edge_ports(status)
            if port is None or check_port is None:
                return
            await self.edge.fill(
                workload,
                replica,
                host=edge_host(status),
                port=port,
                check_port=check_port,
                maxconn=self.spec(workload).slots,
            )
            self.down.discard(replica)
            if status.pid is not None:
                self.filled[replica] = status.pid
        self.event("edge.filled", Severity.INFO, replica, f"{replica} takes requests.", port=port)

    async def drain_until_idle(self, workload: str, replica: str, deadline_s: float) -> bool:
        """No new requests for it, then wait for those it has. False where some were left at the deadline."""
        async with self.lock(replica):
            await self.edge.drain(workload, replica)
        ends = self.clock.mono() + deadline_s
        while True:
            left = await self.edge.in_flight(workload, replica)
            status = self.find(replica)
            if left == 0 or status is None or status.pid is None:
                return True
            if self.clock.mono() >= ends:
                self.event(
                    "drain.deadline",
                    Severity.WARNING,
                    replica,
                    f"{replica} still had {left} requests after {deadline_s:g} s of draining; it is stopped.",
                    in_flight=left,
                )
                return False
            await asyncio.sleep(DRAIN_POLL_S)

    def start_removal(self, workload: str, replica: str, reason: str) -> asyncio.Task[None]:
        """Begin to drain and end a replica; the task under way where one already does."""
        task = self.leaving.get(replica)
        if task is None:
            task = asyncio.create_task(self._remove(workload, replica, reason), name=f"remove {replica}")
            self.leaving[replica] = task
        return task

    async def _remove(self, workload: str, replica: str, reason: str) -> None:
        try:
            spec = self.specs.get(workload) or self.departed.get(workload)  # neither, for one of a former daemon
            deadline_s = spec.drain_deadline_s if spec else UNDECLARED_DRAIN_S
            await self.drain_until_idle(workload, replica, deadline_s)
            await self.fleet.remove(replica, reason=reason)
            async with self.lock(replica):
                await self.edge.clear(workload, replica)
            self._forget(workload, replica)
            await self.undrain_in_file(workload, replica)
        finally:
            self.leaving.pop(replica, None)
            self.wake.set()

    async def undrain_in_file(self, workload: str, replica: str) -> None:
        if replica in self.wanted.of(workload).drained:
            await self.want(workload, lambda wanted: without_drained(wanted, replica))

    def _forget(self, workload: str, replica: str) -> None:
        self.down.discard(replica)
        self.ejected.pop(replica, None)
        self.filled.pop(replica, None)
        self._locks.pop(replica, None)
        self.rolling.get(workload, set()).discard(replica)

    def event(self, kind: str, severity: Severity, subject: str, message: str, **attributes: Scalar) -> None:
        """Record what happened."""
        self._events.record(kind, severity, subject, message, **attributes)


def without_drained(wanted: WorkloadWanted, replica: str) -> WorkloadWanted:
    """`wanted` with `replica` back in rotation."""
    return msgspec.structs.replace(wanted, drained=tuple(name for name in wanted.drained if name != replica))
