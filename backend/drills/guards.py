"""Targets and blast radius: which replicas a scenario means, and what may be taken away. Pure.

Checked when a run is planned and again, against live health, right before each injection.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence

from backend.contract.errors import Refused
from backend.contract.fleet import ReplicaStatus, WorkloadSpec
from backend.contract.words import Phase
from backend.drills.scenario import Role, Scenario, Target

_ROLES: Mapping[Role, Callable[[WorkloadSpec], bool]] = {
    "inference": lambda spec: spec.engine not in ("none", "embedding"),
    "embedding": lambda spec: any(route.startswith(("/v1/embeddings", "/embed")) for route in spec.routes),
}


def resolve_pool(name: str, target: Target, workloads: Sequence[WorkloadSpec]) -> WorkloadSpec:
    """The workload a pool stands for. Raises Refused when there is none, or more than one."""
    if target.workload is not None:
        found = [spec for spec in workloads if spec.name == target.workload]
        wanted = f"workload {target.workload}"
    else:
        assert target.role is not None
        found = [spec for spec in workloads if _ROLES[target.role](spec)]
        wanted = f"role {target.role}"
    if len(found) != 1:
        there = ", ".join(spec.name for spec in workloads) or "none"
        count = "no workload" if not found else f"{len(found)} workloads"
        raise Refused(f"Target `{name}` ({wanted}) fits {count} of this fleet.", f"It has: {there}.")
    return found[0]


def roles_of(spec: WorkloadSpec) -> list[Role]:
    """The roles a workload has."""
    return [role for role, fits in _ROLES.items() if fits(spec)]


def healthy(replicas: Sequence[ReplicaStatus]) -> int:
    return sum(replica.phase == Phase.READY for replica in replicas)


def pick_replica(
    target: Target,
    replicas: Sequence[ReplicaStatus],
    in_flight: Mapping[str, int],
    rng: random.Random,
    *,
    seat: str = "",
) -> ReplicaStatus:
    """The one replica a target means now; of an index, the one named `seat` where it is there. Raises Refused when it
    is not there or not Ready."""
    ready = [replica for replica in replicas if replica.phase == Phase.READY and replica.pid is not None]
    if not ready:
        raise Refused("No replica of the pool is Ready, so there is none to pick.", "Wait until the fleet is healthy.")
    if target.index is not None:
        kept = next((replica for replica in replicas if replica.name == seat), None)
        if kept is None and target.index >= len(replicas):
            raise Refused(f"There is no replica of index {target.index}.", f"The pool has {len(replicas)}.")
        chosen = kept or replicas[target.index]
        if chosen not in ready:
            raise Refused(f"{chosen.name} is {chosen.phase}, not Ready.", "Wait until the fleet is healthy.")
        return chosen
    if target.pick == "random":
        return rng.choice(ready)
    if target.pick == "busiest":
        return max(ready, key=lambda replica: in_flight.get(replica.name, 0))
    return ready[0]


def beside(chosen: ReplicaStatus, replicas: Sequence[ReplicaStatus]) -> list[ReplicaStatus]:
    """The others on its node. Raises Refused where it is on none."""
    if not chosen.node:
        raise Refused(f"{chosen.name} is on no node: this fleet has none.", "Run this drill on Kubernetes or on Swarm.")
    return [replica for replica in replicas if replica.node == chosen.node and replica is not chosen]


def check_environment(scenario: Scenario, environment: str) -> None:
    """Raises Refused when the scenario is not meant for this environment."""
    allowed = scenario.safety.environments
    if environment not in allowed:
        raise Refused(
            f"{scenario.name} may run in {', '.join(allowed)}; this fleet is `{environment}`.",
            "Run it elsewhere, or change safety.environments in the file.",
        )


def check_blast(
    scenario: Scenario,
    spec: WorkloadSpec,
    replicas: Sequence[ReplicaStatus],
    *,
    taking: int,
    down: Collection[str] = (),
) -> None:
    """Raises Refused when taking `taking` more replicas, with those named in `down` already taken by us, leaves too
    little. A replica we hold down is not healthy, whatever its probes still say."""
    radius = scenario.safety.blast_radius
    never = [role for role in roles_of(spec) if role in radius.never_roles]
    if never:
        raise Refused(f"{spec.name} has the role {never[0]}, which this drill may never touch.", "Pick another target.")
    total, gone = len(replicas), len(down)
    after = healthy([replica for replica in replicas if replica.name not in down]) - taking
    if after < radius.keep_healthy:
        raise Refused(
            f"This would leave {max(after, 0)} healthy replicas of {spec.name}; keep_healthy is {radius.keep_healthy}.",
            f"Scale {spec.name} up, wait until its replicas are Ready, or lower keep_healthy in the file.",
        )
    if taking and gone + taking > radius.max_down:
        raise Refused(
            f"This would take {gone + taking} replicas of {spec.name} at once; max_down is {radius.max_down}.",
            "Heal a fault first, or raise safety.blast_radius.max_down.",
        )
    if taking and total and 100.0 * (gone + taking) / total > radius.max_percent:
        raise Refused(
            f"This would take {100.0 * (gone + taking) / total:.0f} % of {spec.name}; max_percent is "
            f"{radius.max_percent:g}.",
            "Scale up, or raise safety.blast_radius.max_percent.",
        )
