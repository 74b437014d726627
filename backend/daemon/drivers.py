"""Which driver a fleet gets, whether it wants an edge of ours, and what its driver cannot do. Starts nothing.

Drivers of platforms bring large libraries along: each is imported when a fleet of it is opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from backend.config.paths import StatePaths
from backend.config.resolve import FleetConfig
from backend.contract.clock import Clock
from backend.contract.fleet import Fleet, ReplicaStatus
from backend.contract.ledger import RowSink
from backend.contract.needs import lacks
from backend.contract.platform import Limited, NodeStatus, PlatformOwned
from backend.contract.words import Verb
from backend.fleet.local import LocalFleet

PRODUCTION: Final = frozenset({"prod", "production"})
"""Environments in which no program of ours obeys a fault switch."""

_NO_SLOTS: Final = "no edge of ours leads requests there; give its workload routes, or evict the replica"
_NO_EDGE: Final = "no edge of ours is there to send requests to; give a workload routes"


class Driver(Fleet, Protocol):
    """A fleet with its life."""

    async def adopt(self) -> Sequence[ReplicaStatus]:
        """Once, first: what a former daemon left, or what the platform has. Never raises for a platform that does not
        answer: its driver says so and goes on trying."""
        ...

    async def close(self) -> None:
        """Detach; replicas go on."""
        ...

    async def stop_all(self, *, reason: str = ...) -> None:
        """End the replicas that are ours, then detach."""
        ...


def make_driver(config: FleetConfig, paths: StatePaths, sink: RowSink, clock: Clock) -> Driver:
    """By the file's `driver`."""
    if config.file.driver == "kubernetes":
        from backend.fleet.kube.fleet import KubeFleet

        return KubeFleet(paths, sink, clock, config.name, config.file.kubernetes)
    if config.file.driver == "docker":
        from backend.fleet.docker_engine.fleet import DockerFleet

        return DockerFleet(paths, sink, clock, config.name, config.file.docker)
    # Fault switches in our serving programs: everywhere but in production.
    switches = config.settings.trinity_environment not in PRODUCTION
    return LocalFleet(paths, sink, clock, config.name, fault_switches=switches)


def wants_edge(config: FleetConfig) -> bool:
    """A local fleet always has one; on a platform only where something is declared that gets requests through it."""
    return config.file.driver == "local" or any(spec.routes for spec in config.workloads)


def missing(fleet: Fleet, *, slots: bool, served: bool) -> dict[str, str]:
    """Verb -> why nobody can do it in this fleet: what its driver lacks, then what the platform says itself.

    Without `slots` no edge of ours chooses who gets requests; not `served`, there is none at all to send any to."""
    found = dict(lacks(fleet))
    if not slots:
        found |= dict.fromkeys(map(str, (Verb.DRAIN, Verb.UNDRAIN)), _NO_SLOTS)
    if not served:
        found |= dict.fromkeys(map(str, (Verb.LOAD_START, Verb.LOAD_STOP)), _NO_EDGE)
    return found | dict(fleet.limits()) if isinstance(fleet, Limited) else found


def rollouts(fleet: Fleet) -> dict[str, str]:
    """Workload -> how its rollout stands, where the platform keeps it and one is under way."""
    if not isinstance(fleet, PlatformOwned):
        return {}
    return {workload.spec.name: workload.rollout for workload in fleet.workloads() if workload.rollout}


def use_of_nodes(nodes: Sequence[NodeStatus]) -> tuple[float | None, float | None]:
    """CPU and memory in use on a platform's machines together, in percent; null where none of them tells."""
    cpu = [node.cpu_percent for node in nodes if node.cpu_percent is not None]
    told = [node for node in nodes if node.memory_bytes is not None and node.memory_capacity_bytes]
    used, room = sum(node.memory_bytes or 0 for node in told), sum(node.memory_capacity_bytes or 0 for node in told)
    return (sum(cpu) / len(cpu) if cpu else None), (100.0 * used / room if room else None)
