"""What fleets on a platform (Docker, Kubernetes) have beyond replicas: workloads that the platform keeps, nodes, ports,
streams into containers; and what their drivers can do. Capabilities are small protocols: a driver implements what is
true of it. Data and protocols only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol, runtime_checkable

import msgspec

from backend.contract.fleet import WorkloadSpec

Progress = Callable[[str], None]
"""Told a sentence whenever a long verb gets on."""


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """Why a platform cannot be seen or used now: one sentence, and the remedy."""

    kind: Literal["unreachable", "unauthorized", "forbidden", "not-found", "misconfigured"]
    message: str
    next_step: str
    since_ts: float


class PlatformWorkload(msgspec.Struct, frozen=True, kw_only=True):
    """A workload whose replicas the platform keeps alive. `spec.replicas` is how many it wants now; `spec.routes` are
    empty unless a trinity.yaml declares them, and then our edge (if there is one) sends requests to its replicas."""

    spec: WorkloadSpec
    kind: str
    """`Deployment`, `StatefulSet`, `DaemonSet`, `Job`, `Pod`, `service` (Swarm), `compose`, `container`."""
    scalable: bool = True
    rollout: str = ""
    """`2 of 5 updated`, while a rollout is under way; `stuck: ...` where the platform gave up; else empty."""


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A machine of the platform."""

    name: str
    ready: bool
    schedulable: bool = True
    roles: tuple[str, ...] = ()
    version: str = ""
    address: str = ""
    replicas: int = 0
    """Of this fleet, on it now."""
    cpu_percent: float | None = None
    """Of the whole node."""
    memory_bytes: int | None = None
    memory_capacity_bytes: int | None = None
    reason: str = ""
    """Why it is not ready."""
    created_ts: float | None = None


class PortView(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the ingress and port table: how something can be reached."""

    workload: str
    """Empty where none was found behind it."""
    source: str
    """`service web`, `ingress shop`, `container web-1`."""
    name: str = ""
    protocol: str = "tcp"
    container_port: int | None = None
    service_port: int | None = None
    node_port: int | None = None
    """On the nodes, or published by Docker on this host."""
    url: str = ""
    """What a browser would open, where that is known (an ingress's host and path)."""


class ForwardView(msgspec.Struct, frozen=True, kw_only=True):
    """A forward that the daemon holds: `bind`:`local_port` here leads to `port` of a replica of the target."""

    id: str
    target: str
    port: int
    bind: str = "127.0.0.1"
    local_port: int
    replica: str = ""
    """Where it leads now."""
    state: Literal["listening", "connecting", "broken"] = "listening"
    detail: str = ""
    connections: int = 0
    restarts: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    urls: tuple[str, ...] = ()
    """What to open, the machine's own addresses first where it listens on all of them."""


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the platform says of one thing, for reading: sections of lines, as `kubectl describe` has them."""

    name: str
    kind: str
    sections: tuple[tuple[str, tuple[str, ...]], ...]
    """(title, lines)."""
    source: str = ""
    """The object itself, as YAML or JSON; secrets in it are masked."""


class Neighbours(msgspec.Struct, frozen=True, kw_only=True):
    """GET /v1/neighbours: what else can be looked at from a fleet. Empty where the driver knows of nothing."""

    address: str = ""
    """Of the fleet that was asked."""
    contexts: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    """Namespaces beside its own, and that one."""


class ByteStream(Protocol):
    """Bytes to and from a port of a replica. Used by one task; `read` and `write` may run at once."""

    async def read(self) -> bytes:
        """What came; empty at the end. Raises Unreachable where it broke."""
        ...

    async def write(self, data: bytes) -> None: ...

    async def end(self) -> None:
        """No more is written; reading goes on."""
        ...

    async def close(self) -> None:
        """At once. Idempotent."""
        ...


class ExecStream(ByteStream, Protocol):
    """A program that runs in a container. `read` gives what it writes, both streams together."""

    async def resize(self, columns: int, rows: int) -> None: ...

    async def exit_code(self) -> int:
        """Waits for its end."""
        ...


@runtime_checkable
class PlatformOwned(Protocol):
    """Drivers whose platform keeps the counts: nothing is created or removed by us, the platform is told."""

    def workloads(self) -> Sequence[PlatformWorkload]:
        """What there is, in a stable order. Free, like `observe`: the same object until something changed."""
        ...

    def declare(self, specs: Sequence[WorkloadSpec]) -> None:
        """What trinity.yaml says of the platform's own workloads (`spec.of`). From now on `workloads` carries their
        routes, slots and engine (see backend.fleet.overlay), and their replicas are reported with that port."""
        ...

    async def scale(self, workload: str, replicas: int) -> int:
        """Want that many; returns how many were wanted before. Raises Refused where it cannot be scaled."""
        ...

    async def rollout(self, workload: str, progress: Progress) -> str:
        """Replace every replica as the platform does, health-gated, to the end; a sentence about it."""
        ...


@runtime_checkable
class Reversible(Protocol):
    """Drivers that can return a workload to its former revision."""

    async def rollback(self, workload: str, progress: Progress) -> str: ...


@runtime_checkable
class Pausable(Protocol):
    """Drivers that can freeze a replica (Docker's pause) and let it go on."""

    async def pause(self, replica: str) -> None: ...

    async def unpause(self, replica: str) -> None:
        """Idempotent."""
        ...


@runtime_checkable
class Evictable(Protocol):
    """Drivers that can ask a replica to leave within the platform's disruption budgets."""

    async def evict(self, replica: str) -> None:
        """Raises Refused, naming the budget, where one forbids it now."""
        ...


@runtime_checkable
class HasNodes(Protocol):
    """Drivers of platforms with several machines."""

    def nodes(self) -> Sequence[NodeStatus]: ...

    async def cordon(self, node: str, *, on: bool) -> None: ...

    async def drain_node(self, node: str, progress: Progress, *, deadline_s: float = 600.0) -> str:
        """Cordon it, then evict what may be evicted, waiting where a budget says so. The node stays cordoned."""
        ...


@runtime_checkable
class Loggable(Protocol):
    """Drivers that fetch logs when somebody wants them. They write them under `logs/<replica>/` of the state directory
    in the shims' own format, former incarnations too, so that every reader of logs reads them."""

    async def want_logs(self, replicas: Sequence[str] | None) -> None:
        """Begin to follow those (null: as many as is sensible, the newest first) and go on for some minutes after the
        last wish. Returns once what was there before is stored, or after two seconds."""
        ...


@runtime_checkable
class Executable(Protocol):
    """Drivers that can run a program in a replica."""

    async def exec(
        self, replica: str, argv: Sequence[str], *, tty: bool, columns: int = 80, rows: int = 24, container: str = ""
    ) -> ExecStream: ...


@runtime_checkable
class Forwardable(Protocol):
    """Drivers that can open a stream to a port of a replica."""

    async def dial(self, replica: str, port: int) -> ByteStream:
        """Raises Unreachable where nothing listens there."""
        ...


@runtime_checkable
class HasPorts(Protocol):
    """Drivers that know how things can be reached."""

    def ports(self) -> Sequence[PortView]: ...


@runtime_checkable
class Describable(Protocol):
    """Drivers that can tell all they know of a replica, a workload or a node."""

    async def describe(self, name: str) -> Description:
        """Raises UsageError for an unknown name."""
        ...


@runtime_checkable
class HasNeighbours(Protocol):
    """Drivers that know what other fleets there are where theirs is."""

    async def neighbours(self) -> Neighbours:
        """What cannot be asked for is left out."""
        ...


@runtime_checkable
class Limited(Protocol):
    """Drivers that know beforehand what they may not do, and when they see nothing."""

    def limits(self) -> Mapping[str, str]:
        """Verb (words.Verb) -> why not: the missing rule, or what the platform lacks."""
        ...

    def trouble(self) -> Trouble | None: ...
