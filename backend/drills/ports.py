"""What a drill needs of the world, as protocols: the daemon implements `DrillHost`, `loads` implements `LoadRunner`.

Everything here may be faked in tests. A drill touches fleet, edge, gateway and ledger through nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, runtime_checkable

import msgspec

from backend.contract.edge import EdgeObservation
from backend.contract.faults import FaultOrder, FaultReport, Holder, StartFault
from backend.contract.fleet import ReplicaStatus, WorkloadSpec
from backend.contract.rows import ActionRow, EventRow, RequestRow, Row, Scalar
from backend.contract.words import Verb
from backend.drills.catalogue import HeldBy
from backend.drills.records import DrillRow, LoadSummary
from backend.drills.scenario import AnswerCheck, Arrival, LoadKind, RequestMix


class DrillHost(Protocol):
    """The fleet under test, as one run may see and touch it. Observing never blocks."""

    @property
    def environment(self) -> str:
        """`dev`, `staging`, `prod`, ...: checked against the scenario's safety.environments."""
        ...

    @property
    def fleet(self) -> str: ...

    @property
    def driver(self) -> str:
        """`local`, `docker` or `kubernetes`: runs on different ones are never compared as equals."""
        ...

    def holds(self, workload: str) -> bool:
        """Whether a replica that dies can be kept from being started again (`respawn: held`). Where its platform
        restarts it by itself, it cannot."""
        ...

    @property
    def versions(self) -> dict[str, str]:
        """Program versions for the report: trinity, haproxy, engine, model digest..."""
        ...

    @property
    def api_key(self) -> str:
        """The edge's API key for the drill's own load; empty when it wants none."""
        ...

    def workloads(self) -> Sequence[WorkloadSpec]: ...

    def replicas(self, workload: str) -> Sequence[ReplicaStatus]:
        """Live view of the driver, in a stable order; polled every 20 ms while a drill runs."""
        ...

    def edge(self) -> EdgeObservation: ...

    async def in_flight(self, workload: str, replica: str) -> int:
        """Requests the replica has right now, asked of the edge (contract Edge.in_flight)."""
        ...

    def on_event(self, listener: Callable[[EventRow], None]) -> Callable[[], None]:
        """Call `listener` for each event. `edge.marked-down` (subject: replica, mono_s: when the edge had stopped
        choosing it) gives t_detected; without it t_detected is when `edge()` first shows the replica not up."""
        ...

    def append(self, row: Row) -> None:
        """Client rows and drill events, into the fleet's ledger. Never blocks."""
        ...

    async def signal(self, run_id: str, replica: str, signal: int) -> int:
        """Send a signal to the replica's process, as action `inject` (or `heal`) of `drill:<run-id>`. The pid."""
        ...

    async def hold(self, run_id: str, replica: str, *, held: bool) -> None:
        """Keep supervision from restarting the replica, or let it again; an action like `signal`."""
        ...

    def lease(self, workload: str, holder: str) -> AbstractAsyncContextManager[None]:
        """Be the only one who works on the workload. Entering raises LeaseHeld when another does."""
        ...

    async def holder(self, replica: str, kind: HeldBy) -> Holder:
        """Where the replica's faults of that kind are held. For `proxy`, one is spliced in front of it first (neutral
        until ordered otherwise). Raises TrinityError where it has no process now or the driver has no such holder."""
        ...

    async def fault(self, run_id: str, replica: str, kind: HeldBy, order: FaultOrder) -> FaultReport:
        """Apply it, as action `inject`; what the holder then saw. Raises TrinityError."""
        ...

    async def heal(self, run_id: str, replica: str, kind: HeldBy, fault_id: str) -> FaultReport | None:
        """Take it away, as action `heal`; null where it is not known there (any more)."""
        ...

    async def fault_reports(self, replica: str, kind: HeldBy) -> Sequence[FaultReport]:
        """What the holder says now; no action. Raises TrinityError where it does not answer."""
        ...

    async def unsplice(self, run_id: str, workload: str) -> None:
        """Every replica of the workload straight behind the edge again, its proxies ended. Idempotent."""
        ...

    async def start_fault(self, run_id: str, replica: str, fault: StartFault | None) -> None:
        """Spoil the replica's next starts, or stop doing so; an action like `signal`."""
        ...

    async def exit(self, run_id: str, replica: str, code: int) -> None:
        """Let the program end itself; an action. Raises Refused where production forbids fault switches."""
        ...

    async def act(self, run_id: str, verb: Verb, workload: str, args: dict[str, Scalar]) -> ActionRow:
        """An ordinary verb (scale, rollout) by the drill, to its end. Raises TrinityError unless it ended `ok`."""
        ...

    async def kill_edge(self, run_id: str) -> int:
        """SIGKILL to the edge's present process; its pid. An action."""
        ...

    async def reload_edge(self, run_id: str) -> int:
        """Reload the edge; the pid of the process that was there before. An action."""
        ...

    async def edge_rows(self, since_ts: float, until_ts: float) -> Sequence[RequestRow]:
        """The edge's own rows of that wall time, vantages edge and attempt: causes, and which replica had a request."""
        ...


@runtime_checkable
class DaemonKiller(Protocol):
    """What a host that runs outside the daemon can do besides: end it and see the next one (fault daemon.kill).

    A host inside the daemon lacks these methods, and the fault is refused there.
    """

    @property
    def daemon_pid(self) -> int | None:
        """The trinityd that would be killed now; null while none runs."""
        ...

    async def kill_daemon(self, run_id: str) -> int:
        """SIGKILL to the present trinityd, without its children; its pid. Raises TrinityError where there is none."""
        ...

    async def await_daemon(self, timeout_s: float) -> int:
        """Wait until a daemon answers its control socket; its pid. Raises Unreachable after the timeout."""
        ...


class LoadOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One load to generate: open loop at `rate` requests/s, the schedule fully decided by `seed`."""

    name: str
    run_id: str
    fleet: str
    workload: str
    model: str
    url: str
    kind: LoadKind
    arrival: Arrival
    request: RequestMix
    check: AnswerCheck = AnswerCheck()
    rate: float
    seed: int
    api_key: str = ""
    horizon_s: float
    """No arrival is scheduled later than this after the start."""


class LoadRun(Protocol):
    """A load being generated."""

    def due(self, until_s: float) -> int:
        """How many arrivals the schedule calls for before that monotonic instant."""
        ...

    async def stop(self) -> LoadSummary:
        """No further arrivals; returns when every request sent has ended (each within its deadline)."""
        ...

    async def kill(self) -> None:
        """End it at once, whatever is in flight. Idempotent; for the way out of a failed run."""
        ...


class LoadRunner(Protocol):
    """Starts loads in processes of their own."""

    async def start(self, order: LoadOrder, on_row: Callable[[DrillRow], None]) -> LoadRun:
        """Begin; `on_row` is called on the loop for each request that ended."""
        ...

    async def calibrate(self, order: LoadOrder, concurrency: int) -> float:
        """Requests/s completed with `concurrency` kept in flight for a few seconds. Raises on any failed request."""
        ...
