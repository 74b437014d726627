"""What one injection is about, as data: its victims and everything its deed and its proofs need. Pure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from backend.contract.clock import Clock
from backend.contract.fleet import ReplicaStatus, WorkloadSpec
from backend.drills import processes
from backend.drills.ports import DrillHost
from backend.drills.scenario import Injection


class Victim(msgspec.Struct, frozen=True, kw_only=True):
    """A process a fault is for, pinned by pid and start mark. `replica` is empty for the edge. `mark` is empty where
    its driver shows no processes of this machine: then its end is what the fleet says of it."""

    run_id: str
    workload: str
    replica: str
    pid: int
    mark: str
    host: str = "127.0.0.1"
    port: int | None = None
    health_port: int | None = None
    node: str = ""


class Proof(msgspec.Struct, frozen=True):
    """What a verify step found, and when (monotonic seconds)."""

    step: str
    ok: bool
    at_s: float
    text: str


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One injection in its run."""

    host: DrillHost
    clock: Clock
    run_id: str
    injection: Injection
    spec: WorkloadSpec
    victims: tuple[Victim, ...]
    """The replicas it is done to; empty for faults of edge, daemon and workload."""
    seed: int
    ttl_s: float
    before: dict[str, int | None] = {}
    """Replica -> pid of the whole workload, right before."""
    edge: Victim | None = None
    """The edge's process, right before (edge.kill, edge.reload)."""
    spawn: Callable[[asyncio.Task[str]], None]
    """Take over a background task of the deed; what it returns is evidence, what it raises makes the fault unproven."""
    injected: asyncio.Event
    """Set once the deed was ordered: proofs that an unhurt victim would also give wait for it."""


def mark_of(host: DrillHost, pid: int) -> str | None:
    """What pins a replica's process; null where it has ended, empty where it is none of this machine."""
    return "" if host.driver == "kubernetes" else processes.start_mark(pid)


def replica_of(host: DrillHost, victim: Victim) -> ReplicaStatus | None:
    return next((r for r in host.replicas(victim.workload) if r.name == victim.replica), None)


def has_ended(host: DrillHost, victim: Victim) -> bool:
    """Whether that very process has ended."""
    if victim.mark:
        return processes.is_gone(victim.pid, victim.mark)
    seen = replica_of(host, victim)
    return seen is None or seen.pid != victim.pid
