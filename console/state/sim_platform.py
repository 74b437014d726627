"""The pretended platform under a pretended fleet: owners, images, nodes, ports, and what is wrong with some replicas.

Seeded by names: the same fleet looks the same each time. Owns what a platform knows beyond the world's replicas; what
changes is replaced, never changed in place, so that a copy of it is an instant of the past. No clock, no I/O.
"""

from __future__ import annotations

import functools
import math
import random
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from backend.contract.address import Driver
from backend.contract.fleet import ExitRecord, ProbeStatus, ReplicaStatus
from backend.contract.platform import ForwardView, NodeStatus, PortView, Trouble
from backend.contract.words import Phase, Severity, Verb

if TYPE_CHECKING:
    from console.state.sim_world import SimReplica, SimWorld

GIB: Final = 1024**3
MEASURED_EVERY_S: Final = 15
"""As often does a platform measure a replica."""
_LETTERS: Final = "bcdfghjklmnpqrstvwxz2456789"


class Shape(msgspec.Struct, frozen=True):
    """One workload of the platform; `share` of all replicas is its own."""

    name: str
    kind: str
    image: str
    share: float
    port: int | None = None
    containers: int = 1
    memory_mib: int = 300
    host: str = ""
    """Of an ingress that leads to it."""


_KUBERNETES: Final = (
    Shape("chat", "Deployment", "ghcr.io/acme/chat:2.4.1", 0.5, 8000, 2, 2900, "chat.example.org"),
    Shape("embed", "Deployment", "ghcr.io/acme/embed:1.9.0", 0.2, 8100, 1, 900),
    Shape("gateway", "Deployment", "envoyproxy/envoy:v1.31", 0.1, 8080, 1, 120, "api.example.org"),
    Shape("worker", "Deployment", "ghcr.io/acme/worker:2.4.1", 0.1, None, 1, 400),
    Shape("vectors", "StatefulSet", "qdrant/qdrant:v1.12", 0.05, 6333, 1, 1800),
    Shape("node-agent", "DaemonSet", "ghcr.io/acme/agent:3.1", 0.03, 9100, 1, 60),
    Shape("migrate", "Job", "ghcr.io/acme/migrate:2.4.1", 0.01, None, 1, 90),
)
_DOCKER: Final = (
    Shape("web", "compose", "shop/web:1.12", 0.4, 8000, 1, 220),
    Shape("api", "compose", "shop/api:1.12", 0.3, 9000, 1, 340),
    Shape("worker", "service", "shop/worker:1.12", 0.2, None, 1, 260),
    Shape("db", "compose", "postgres:17", 0.04, 5432, 1, 700),
    Shape("cache", "container", "redis:7.4", 0.02, 6379, 1, 80),
)
_ONE_MACHINE: Final = "Docker's engine is one machine: there is no node to {}."
_LIMITS: Final[dict[Driver, dict[str, str]]] = {
    "kubernetes": {
        Verb.PAUSE: "Kubernetes cannot freeze a pod.",
        Verb.UNPAUSE: "Kubernetes cannot freeze a pod.",
    },
    "docker": {
        Verb.EVICT: "Docker has no disruption budgets to ask: restart the container instead.",
        Verb.CORDON: _ONE_MACHINE.format("cordon"),
        Verb.UNCORDON: _ONE_MACHINE.format("uncordon"),
        Verb.NODE_DRAIN: _ONE_MACHINE.format("drain"),
    },
}
LOCAL_LIMITS: Final[dict[str, str]] = {
    verb: f"{what} only where a platform keeps the replicas: this fleet is processes of this machine."
    for verb, what in (
        (Verb.PAUSE, "Replicas are paused"),
        (Verb.UNPAUSE, "Replicas are paused"),
        (Verb.EVICT, "Replicas are evicted"),
        (Verb.ROLLBACK, "There are revisions to go back to"),
        (Verb.CORDON, "There are nodes"),
        (Verb.UNCORDON, "There are nodes"),
        (Verb.NODE_DRAIN, "There are nodes"),
        (Verb.EXEC, "There are containers to run a program in"),
    )
}
_NO_EDGE: Final = "No edge of ours stands in front of this fleet."


class SimNode(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    schedulable: bool = True
    ready: bool = True
    reason: str = ""
    roles: tuple[str, ...] = ("worker",)
    memory: int = 64 * GIB


@dataclass
class SimPlatform:
    """See the module. `limits` and `trouble` may be set by tests."""

    driver: Driver
    name: str
    edge: bool
    shapes: dict[str, Shape]
    nodes: tuple[SimNode, ...] = ()
    limits: Mapping[str, str] = field(default_factory=dict)
    trouble: Trouble | None = None
    forwards: tuple[ForwardView, ...] = ()
    rollouts: Mapping[str, str] = field(default_factory=dict)
    placed: dict[str, str] = field(default_factory=dict)
    """Replica to node; one that was placed stays there."""
    gone: set[str] = field(default_factory=set)
    """Names that do not come again."""

    # -- what a replica is -----------------------------------------------------------------------------------

    def serves(self, workload: str) -> bool:
        """Whether our edge sends requests to it: to the first workload, where there is an edge."""
        return self.edge and workload == next(iter(self.shapes))

    def replica_name(self, workload: str, number: int) -> str:
        """As the platform would name its `number`th replica."""
        kind = self.shapes[workload].kind
        if self.driver == "docker":
            return {"compose": f"shop-{workload}-{number + 1}", "service": f"{workload}.{number + 1}"}.get(
                kind, workload if number == 0 else f"{workload}-{number + 1}"
            )
        if kind == "StatefulSet":
            return f"{workload}-{number}"
        stem = f"{workload}-{_letters(workload, 10)}" if kind == "Deployment" else workload
        return f"{stem}-{_letters(f'{workload}/{number}', 5)}"

    def node_of(self, replica: str) -> str:
        """Where it runs; a new one goes to a node that takes any."""
        if replica not in self.placed and self.nodes:
            open_ones = [node for node in self.nodes if node.schedulable and node.ready] or list(self.nodes)
            self.placed[replica] = open_ones[zlib.crc32(replica.encode()) % len(open_ones)].name
        return self.placed.get(replica, "")

    def owner_of(self, workload: str) -> str:
        kind = self.shapes[workload].kind
        return "" if kind == "container" else f"{kind} {workload}" if self.driver == "docker" else f"{kind}/{workload}"

    def dressed(self, status: ReplicaStatus, one: SimReplica) -> ReplicaStatus:
        """The replica as this platform's driver would tell of it."""
        shape, up = self.shapes[one.workload], one.phase in (Phase.READY, Phase.DRAINING)
        alive = one.phase in (Phase.READY, Phase.DRAINING, Phase.NOT_READY, Phase.TERMINATING)
        cpu, memory = _measured(one, shape) if alive else (0.0, 0.0)
        ready = shape.containers if up else shape.containers - 1 if one.phase == Phase.NOT_READY else 0
        return msgspec.structs.replace(
            status,
            fleet=self.name,
            image=shape.image,
            owner=self.owner_of(one.workload),
            node=self.node_of(one.name),
            containers=shape.containers,
            containers_ready=ready,
            host="127.0.0.1"
            if self.driver == "docker"
            else f"10.42.{zlib.crc32(one.name.encode()) % 8}.{one.pid % 250}",
            port=shape.port if alive else None,
            health_port=None,
            shim_pid=None,
            revision=shape.image.rpartition(":")[2],
            cpu_percent=cpu if alive else None,
            memory_bytes=int(memory) if alive else None,
            memory_limit_bytes=shape.memory_mib * 3 // 2 * 1024 * 1024,
            net_rx_bytes_per_s=cpu * 1900 if alive else None,
            net_tx_bytes_per_s=cpu * 5200 if alive else None,
            probes=_probes(one, shape, up=up),
        )

    # -- what the platform is --------------------------------------------------------------------------------

    def node_views(self, replicas: Iterable[SimReplica], now: float) -> tuple[NodeStatus, ...]:
        count = Counter(self.node_of(one.name) for one in replicas)
        return tuple(
            NodeStatus(
                name=node.name,
                ready=node.ready,
                schedulable=node.schedulable,
                roles=node.roles,
                version="v1.36.1",
                address=f"10.0.0.{10 + at}",
                replicas=count[node.name],
                cpu_percent=round(self.cpu_percent(now + 40 * at)) if node.ready else None,
                memory_bytes=int(node.memory * (0.93 if node.reason else 0.35 + 0.04 * at)) if node.ready else None,
                memory_capacity_bytes=node.memory,
                reason=node.reason,
                created_ts=now - 86_400 * (40 - at),
            )
            for at, node in enumerate(self.nodes)
        )

    def cpu_percent(self, now: float) -> float:
        """Of all nodes together."""
        return 38.0 + 9.0 * math.sin(now / 90) + 3.0 * math.sin(now / 17)

    def memory_percent(self, now: float) -> float:
        """The same of their memory."""
        return 63.0 + 2.0 * math.sin(now / 200)

    def ports(self) -> tuple[PortView, ...]:
        out: list[PortView] = []
        for shape in self.shapes.values():
            if shape.port is None:
                continue
            name, port = shape.name, shape.port
            if self.driver == "docker":
                source, published = f"container {self.replica_name(name, 0)}", port + 20_000
                url = f"http://127.0.0.1:{published}/"
                out.append(PortView(workload=name, source=source, container_port=port, node_port=published, url=url))
                continue
            out.append(PortView(workload=name, source=f"service {name}", name="http", container_port=port,
                                service_port=80, node_port=30_080 if name == "gateway" else None))  # fmt: skip
            if shape.host:
                url = f"https://{shape.host}/"
                out.append(
                    PortView(workload=name, source=f"ingress {name}", container_port=port, service_port=80, url=url)
                )
        return tuple(out)

    def due(self, one: SimReplica, now: float) -> bool:
        """Whether it is measured in this second, and writes a line."""
        return zlib.crc32(one.name.encode()) % MEASURED_EVERY_S == int(now) % MEASURED_EVERY_S

    # -- what changes ----------------------------------------------------------------------------------------

    def with_node(self, name: str, *, schedulable: bool) -> None:
        self.nodes = tuple(
            msgspec.structs.replace(node, schedulable=schedulable) if node.name == name else node for node in self.nodes
        )

    def left(self, replica: str, workload: str) -> None:
        """It goes for good: the next one has another name, unless its kind counts its replicas."""
        if self.shapes[workload].kind in ("Deployment", "DaemonSet", "Job"):
            self.gone.add(replica)

    def removed(self, replica: str) -> None:
        """Whoever has its name next is placed anew."""
        self.placed.pop(replica, None)

    def node(self, name: str) -> SimNode | None:
        return next((node for node in self.nodes if node.name == name), None)

    def rolled(self, workload: str, words: str = "") -> None:
        """How its rollout stands; empty ends it."""
        rest = {name: said for name, said in self.rollouts.items() if name != workload}
        self.rollouts = rest | ({workload: words} if words else {})


def platform_of(driver: Driver, replicas: int, *, edge: bool) -> tuple[SimPlatform, dict[str, int]]:
    """A platform for so many replicas, and how many of each workload those are."""
    shapes = _KUBERNETES if driver == "kubernetes" else _DOCKER
    counts: dict[str, int] = {}
    left = replicas - 1
    for shape in shapes[1:]:
        counts[shape.name] = min(left, max(1, int(shape.share * replicas)))
        left -= counts[shape.name]
    counts = {shapes[0].name: left + 1} | {name: count for name, count in counts.items() if count}
    nodes = _nodes(max(3, min(40, replicas // 30))) if driver == "kubernetes" else ()
    barred = dict(_LIMITS[driver])
    if not edge:
        barred |= dict.fromkeys((Verb.DRAIN, Verb.UNDRAIN, Verb.LOAD_START, Verb.AUTOSCALE), _NO_EDGE)
    name = "k8s:demo/chat" if driver == "kubernetes" else "docker:default/shop"
    held = {shape.name: shape for shape in shapes if shape.name in counts}
    return SimPlatform(driver, name, edge, held, nodes, barred), counts


def ail(platform: SimPlatform, world: SimWorld) -> None:
    """What is wrong in a fleet of some size: a probe that fails, a crash loop, an image that is not there, a kill for
    memory that is over, a rollout under way."""
    for one in world.replicas:
        platform.node_of(one.name)
    if platform.nodes:
        platform.with_node(platform.nodes[-1].name, schedulable=False)
    first = next(iter(platform.shapes))
    some = world.of(first)
    if len(some) > 2:
        failing = "readiness probe fails: HTTP 503" if platform.driver == "kubernetes" else "health check fails: exit 1"
        world.put(some[1].name, Phase.NOT_READY, failing)
        world.event("replica.unhealthy", Severity.WARNING, some[1].name, failing)
        last = ("CUDA out of memory: tried to allocate 512 MiB", "Killed")
        gone = ExitRecord(ts=world.now - 1500, code=137, reason="OOMKilled", last_lines=last)
        world.put(some[2].name, Phase.READY, "", restarts=4, last_exit=gone)
    for one in world.of("worker")[:1]:
        lines = ("Traceback (most recent call last):", "ConnectionRefusedError: cache:6379 refused the connection")
        gone = ExitRecord(ts=world.now - 100, code=1, reason="Error", last_lines=lines)
        word = "CrashLoopBackOff" if platform.driver == "kubernetes" else "restarting"
        world.put(one.name, Phase.CRASH_LOOP, f"{word}: exit code 1", restarts=14, last_exit=gone)
        world.event("replica.crashloop", Severity.WARNING, one.name, "back-off before its 15th start: exit code 1")
    for one in world.of("embed")[:1]:
        world.put(one.name, Phase.PENDING, "ImagePullBackOff: ghcr.io/acme/embed:1.9.1 is not there")
        world.event("image.pull", Severity.WARNING, one.name, "ghcr.io/acme/embed:1.9.1 is not there")
        platform.rolled("embed", f"{len(world.of('embed')) - 1} of {len(world.of('embed'))} updated")


def _nodes(count: int) -> tuple[SimNode, ...]:
    """One has too little memory left."""
    made = [SimNode(name=f"node-{at + 1}") for at in range(count)]
    made[0] = msgspec.structs.replace(made[0], roles=("control-plane", "worker"))
    made[1] = msgspec.structs.replace(made[1], reason="MemoryPressure")
    return tuple(made)


def _measured(one: SimReplica, shape: Shape) -> tuple[float, float]:
    """CPU in percent of a core and memory in bytes, as of when it was last looked at."""
    dice = zlib.crc32(one.name.encode()) % 1000 / 1000
    wave = math.sin(one.looked_ts / 60 + dice * 7)
    return round((12 + 70 * dice) * (1 + 0.3 * wave)), shape.memory_mib * 1024 * 1024 * (
        0.8 + 0.15 * dice + 0.03 * wave
    )


def _probes(one: SimReplica, shape: Shape, *, up: bool) -> tuple[ProbeStatus, ...]:
    if shape.port is None or not (up or one.phase == Phase.NOT_READY):
        return ()
    detail, failures = ("HTTP 200", 0) if up else (one.reason.partition(": ")[2], 12)
    return (ProbeStatus(name="readiness", ok=up, detail=detail, last_ts=one.looked_ts, failures=failures),)


@functools.lru_cache(50_000)
def _letters(seed: str, count: int) -> str:
    pick = random.Random(seed)  # noqa: S311 - a pretended name
    return "".join(pick.choice(_LETTERS) for _ in range(count))
