"""Workloads and replicas: what is wanted of them, what is seen of them, and what a driver can do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol, runtime_checkable

import msgspec

from backend.contract.faults import FaultOrder, FaultReport, Holder, StartFault
from backend.contract.words import Phase

ProbeKind = Literal["http", "tcp", "command"]
PortName = Literal["main", "health"]
EngineKind = Literal["llamacpp", "vllm", "embedding", "none"]


class ProbeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One probe. `port` names which of the replica's two ports it asks."""

    kind: ProbeKind = "http"
    path: str = "/"
    port: PortName = "main"
    command: tuple[str, ...] = ()
    period_s: float = 1.0
    timeout_s: float = 1.0
    failure_threshold: int = 3
    success_threshold: int = 1


class ProbesSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The kubelet's three probes; a missing one counts as passing."""

    startup: ProbeSpec | None = None
    readiness: ProbeSpec | None = None
    liveness: ProbeSpec | None = None


class WorkloadSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A named, scalable set of identical replicas, fully resolved (no defaults left to guess)."""

    name: str
    command: tuple[str, ...]
    """argv. `{port}`, `{health_port}` and `{replica}` are filled in per replica; no other braces are touched."""
    env: dict[str, str] = {}
    """Environment beyond the inherited one. PORT, HEALTH_PORT, TRINITY_REPLICA and TRINITY_WORKLOAD are added."""
    cwd: str | None = None
    replicas: int = 1
    slots: int = 4
    """Concurrent requests one replica takes; the edge's maxconn for it."""
    routes: tuple[str, ...] = ("/",)
    """URL path prefixes the edge sends here; the longest prefix wins."""
    host: str = "127.0.0.1"
    port: int = 0
    """Fixed main port (then at most one replica a machine), or 0: one is allocated per replica."""
    health_port: bool = False
    """Whether a second port is allocated for health endpoints; else `health` means the main port."""
    probes: ProbesSpec = ProbesSpec()
    engine: EngineKind = "none"
    """How to read its own metrics (`/metrics` on the main port) and whether it has work in progress."""
    model_alias: str = ""
    memory_limit_bytes: int | None = None
    nice: int = 5
    stop_grace_s: float = 10.0
    """From the stop signal to SIGKILL."""
    drain_deadline_s: float = 600.0
    """How long a drain waits for requests in flight before the replica is stopped all the same."""
    max_replicas: int = 16
    """Edge slots declared for it."""
    request_deadline_s: float = 600.0
    image: str = ""
    """Docker: run this image for each replica, kept alive by us."""
    of: str = ""
    """In a declaration: the platform's own workload that this describes."""
    kind: str = ""
    """What the platform that keeps its replicas calls it (`Deployment`, `service`, `container`); empty: kept by us."""
    role: str = ""
    """What it is in a deployment of ours, as its labels on the platform say: `edge`, `daemon`, or the name by which
    the edge of the same `release` knows it. Empty: it says nothing of the kind."""
    release: str = ""
    """Which deployment of ours it belongs to: a Helm release, a compose project."""
    revision: str = ""
    """Digest of everything above that needs a new process when it changes."""


class ExitRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How a process ended. Exactly one of `code` and `signal` is set, unless it is unknown."""

    ts: float
    mono_s: float | None = None
    code: int | None = None
    signal: int | None = None
    reason: str = "Error"
    """`Completed`, `Error`, `OOMKilled`, `Killed`, `Stopped` (by us), `LivenessFailed`, `Unknown`."""
    pid: int | None = None
    max_rss_bytes: int | None = None
    last_lines: tuple[str, ...] = ()


class ProbeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What a probe last said."""

    name: Literal["startup", "readiness", "liveness"]
    ok: bool | None = None
    """Null before its first answer."""
    detail: str = ""
    last_ts: float | None = None
    failures: int = 0
    latency_s: float | None = None


class ReplicaStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One replica as its driver sees it now."""

    name: str
    fleet: str
    workload: str
    phase: Phase
    revision: str = ""
    reason: str = ""
    """One short phrase for people: why it is not Ready."""
    restarts: int = 0
    created_ts: float
    started_ts: float | None = None
    """Start of the present process."""
    pid: int | None = None
    """Of its process. A platform that shows none gives a number that changes with each start of its container."""
    shim_pid: int | None = None
    host: str = "127.0.0.1"
    port: int | None = None
    health_port: int | None = None
    via_port: int | None = None
    """The main port of the fault proxy spliced in front of it: edge and probes go there while a drill needs it."""
    via_health_port: int | None = None
    cpu_percent: float | None = None
    """Of one core, over the last sampling interval."""
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    last_exit: ExitRecord | None = None
    probes: tuple[ProbeStatus, ...] = ()
    next_start_ts: float | None = None
    """When back-off ends, while in CrashLoop."""
    adopted: bool = False
    node: str = ""
    """The machine it runs on, where the platform has several."""
    image: str = ""
    owner: str = ""
    """What keeps it alive, as the platform calls it: `Deployment/llm`, `StatefulSet/db`, `service web`. Empty only for
    replicas that we keep: nothing else is ever removed by the reconciler."""
    containers: int = 1
    containers_ready: int | None = None
    """Of its containers, those that are ready; null where it has no such thing."""
    net_rx_bytes_per_s: float | None = None
    net_tx_bytes_per_s: float | None = None
    addresses: tuple[str, ...] = ()
    """Its own on the platform's networks, where `host` is not one: by these an edge that the platform runs knows it."""


ReplicaListener = Callable[[ReplicaStatus], None]


class Fleet(Protocol):
    """Replicas of one place. Observing is free and never blocks; the driver keeps itself up to date."""

    @property
    def name(self) -> str: ...

    def observe(self) -> Sequence[ReplicaStatus]:
        """All replicas, in a stable order."""
        ...

    def on_change(self, listener: ReplicaListener) -> Callable[[], None]:
        """Call `listener` on the loop at once when a replica's phase, pid or readiness changes."""
        ...

    async def create(self, spec: WorkloadSpec, replica: str) -> None:
        """Start a new replica of that name. Returns once it is recorded, not once it is Ready."""
        ...

    async def remove(self, replica: str, *, reason: str) -> None:
        """End a replica for good: wait until its engine reports no work (up to spec.stop_grace_s),
        stop signal, SIGKILL at the end of the grace, gone from `observe`. Not counted as a crash."""
        ...


@runtime_checkable
class Killable(Protocol):
    """Drivers that can end a replica's process abruptly; the driver's own supervision restarts it."""

    async def kill(self, replica: str, *, signal: int = 9, counted: bool = False) -> int:
        """Send `signal` to the replica's process. Returns the pid. `counted` lets it count as a crash."""
        ...


@runtime_checkable
class Restartable(Protocol):
    """Drivers that can end and start a replica's process in place under its name."""

    async def restart(self, replica: str, *, reason: str) -> None:
        """Like `remove`, then a new process of the same replica (restart count +1, no back-off)."""
        ...


@runtime_checkable
class Holdable(Protocol):
    """Drivers that can be told not to restart a replica that dies (a drill's `respawn: held`)."""

    async def hold(self, replica: str, *, held: bool) -> None: ...


@runtime_checkable
class Spliceable(Protocol):
    """Drivers that can lead edge and probes through a fault proxy in front of a replica."""

    async def splice(self, replica: str, *, port: int, health_port: int | None) -> None:
        """From now on its status carries these ports as `via_port` and `via_health_port`; probes use them."""
        ...

    async def unsplice(self, replica: str) -> None:
        """Straight again. Idempotent; unknown replicas are no error."""
        ...


@runtime_checkable
class Faultable(Protocol):
    """Drivers whose replicas have a holder of faults (a shim, or a program that a container's driver starts)."""

    async def holder(self, replica: str) -> Holder:
        """Where faults of process and machine are held. Raises TrinityError where it has no process now."""
        ...

    async def fault(self, replica: str, order: FaultOrder) -> FaultReport:
        """Apply it; returns what the holder then saw. Raises TrinityError where it cannot be applied."""
        ...

    async def heal(self, replica: str, fault_id: str) -> FaultReport | None:
        """Take it away; null where no such fault is known there (any more)."""
        ...

    async def faults(self, replica: str) -> Sequence[FaultReport]: ...

    async def set_start_fault(self, replica: str, fault: StartFault | None) -> None:
        """Spoil its next starts, or stop doing so. Not persisted: a new daemon starts it as it should."""
        ...

    async def exit(self, replica: str, code: int) -> None:
        """Let the program end itself with `code`, by the fault switch that production refuses. Raises Refused."""
        ...


@runtime_checkable
class Maintainable(Protocol):
    """Drivers with a maintenance mode: no probes acting, no restarts."""

    async def set_maintenance(self, workload: str, *, on: bool) -> None: ...
