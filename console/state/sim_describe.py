"""What the pretended platform says of a replica, a workload or a node, for reading. Makes text; keeps nothing."""

from __future__ import annotations

from backend.contract.errors import UsageError
from backend.contract.fleet import ReplicaStatus
from backend.contract.platform import Description
from backend.contract.rows import EventRow
from backend.contract.words import Phase
from console.render import units
from console.state.sim_platform import SimNode, SimPlatform
from console.state.sim_views import replica_view
from console.state.sim_world import SimReplica, SimWorld

Section = tuple[str, tuple[str, ...]]
EVENTS = 8


def describe(name: str, world: SimWorld) -> Description:
    """Raises UsageError for a name that nothing has."""
    platform = world.platform
    one = world.find(name)
    if one is not None:
        return _of_replica(one, replica_view(one, world).status, world)
    if platform is not None and name in platform.shapes:
        return _of_workload(name, platform, world)
    node = platform.node(name) if platform is not None else None
    if platform is not None and node is not None:
        return _of_node(node, platform, world)
    raise UsageError(f"There is nothing named {name}.", "Choose a replica, a workload or a node that is shown.")


def _of_replica(one: SimReplica, status: ReplicaStatus, world: SimWorld) -> Description:
    if world.platform is None:
        process = (f"pid {status.pid}, shim {status.shim_pid}", f"port {status.port}, health on {status.health_port}")
        return Description(name=one.name, kind="process", sections=(("Process", process), _events(one.name, world)))
    shape, kubernetes = world.platform.shapes[one.workload], world.platform.driver == "kubernetes"
    names = [one.workload, "logs"][: status.containers]
    state = "Running" if one.phase == Phase.READY else one.reason or str(one.phase)
    containers = tuple(
        f"{name}: {shape.image if at == 0 else 'fluent/fluent-bit:3.2'}, {state if at == 0 else 'Running'}"
        for at, name in enumerate(names)
    )
    ready = one.phase == Phase.READY
    conditions = tuple(
        f"{what}: {'True' if ok else 'False'}"
        for what, ok in (("PodScheduled", True), ("Initialized", True), ("ContainersReady", ready), ("Ready", ready))
    )
    sections: list[Section] = [("Containers", containers)]
    sections += [("Conditions", conditions)] if kubernetes else []
    sections += [("Volumes", ("config: ConfigMap chat-config", "cache: EmptyDir")), _events(one.name, world)]
    kind = "Pod" if kubernetes else "container"
    source = [
        *(["apiVersion: v1", f"kind: {kind}", "metadata:"] if kubernetes else [f"kind: {kind}", "metadata:"]),
        f"  name: {one.name}",
        f"  labels: {{app: {one.workload}}}",
        "spec:",
        *([f"  nodeName: {status.node}"] if status.node else []),
        "  containers:",
        f"    - name: {one.workload}",
        f"      image: {shape.image}",
        "      env:",
        "        - {name: API_KEY, value: '***'}",
        "status:",
        f"  phase: {one.phase}",
    ]
    return Description(name=one.name, kind=kind, sections=tuple(sections), source="\n".join(source) + "\n")


def _of_workload(name: str, platform: SimPlatform, world: SimWorld) -> Description:
    shape, some = platform.shapes[name], world.of(name)
    ready = sum(one.phase == Phase.READY for one in some)
    stands = platform.rollouts.get(name, "complete")
    sections: tuple[Section, ...] = (
        ("Replicas", (f"{world.wanted[name]} wanted, {len(some)} there, {ready} ready",)),
        ("Rollout", (stands,)),
        ("Template", (f"image {shape.image}", f"memory {units.size(shape.memory_mib * 1024 * 1024)}")),
        _events(name, world),
    )
    source = f"kind: {shape.kind}\nmetadata:\n  name: {name}\nspec:\n  replicas: {world.wanted[name]}\n"
    return Description(name=name, kind=shape.kind, sections=sections, source=source)


def _of_node(node: SimNode, platform: SimPlatform, world: SimWorld) -> Description:
    some = [one.name for one in world.replicas if platform.node_of(one.name) == node.name]
    words = (
        f"Ready: {'True' if node.ready else 'False'}",
        f"MemoryPressure: {'True' if node.reason == 'MemoryPressure' else 'False'}",
    )
    sections: tuple[Section, ...] = (
        ("Conditions", words),
        ("Scheduling", ("takes new replicas" if node.schedulable else "cordoned: takes no new replicas",)),
        (f"Replicas ({len(some)})", tuple(some)),
        _events(node.name, world),
    )
    source = (
        f"kind: Node\nmetadata:\n  name: {node.name}\nspec:\n  unschedulable: {str(not node.schedulable).lower()}\n"
    )
    return Description(name=node.name, kind="Node", sections=sections, source=source)


def _events(name: str, world: SimWorld) -> Section:
    rows: list[EventRow] = [row for row in world.events if row.subject == name][-EVENTS:]
    lines = tuple(f"{units.time_of_day(row.ts)}  {row.severity}  {row.message}" for row in reversed(rows))
    return ("Events", lines or ("none",))
