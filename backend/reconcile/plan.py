"""The plan: from what is wanted and what is seen to the next steps. Pure; every decision of the loop is here.

Owns which replica is created, filled, drained or removed, and in which order. Never acts, never waits, keeps
nothing: what is under way is part of the `Situation` it is given, so a new daemon plans from what it finds.

Failure model: a daemon may die between any two steps; a replica may die at any moment; an observation may be
half a second old. So every step is safe to repeat, and a rollout in progress is seen as "one replica too many".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from backend.contract.edge import SlotAssignment
from backend.contract.faults import PROXY_HOST
from backend.contract.fleet import ReplicaStatus, WorkloadSpec
from backend.contract.words import Phase, SlotState
from backend.reconcile.wanted import WantedState

DEAD: Final = frozenset({Phase.PENDING, Phase.FAILED, Phase.CRASH_LOOP, Phase.TERMINATING, Phase.COMPLETED})
"""Phases in which a replica answers no request, whatever its slot says (Terminating: its driver gave it up)."""


class Create(msgspec.Struct, frozen=True, tag=True):
    """Start a replica under a new name."""

    workload: str
    replica: str


class Remove(msgspec.Struct, frozen=True, tag=True):
    """Drain the replica, wait for its requests, end it, empty its slot."""

    workload: str
    replica: str
    reason: str


class Fill(msgspec.Struct, frozen=True, tag=True):
    """Give a replica whose own readiness passed a slot at the edge."""

    workload: str
    replica: str


class MarkDown(msgspec.Struct, frozen=True, tag=True):
    """Its process died: stop choosing it at once."""

    workload: str
    replica: str


class Clear(msgspec.Struct, frozen=True, tag=True):
    """Empty the slot of a replica that no longer exists."""

    workload: str
    replica: str


class Drain(msgspec.Struct, frozen=True, tag=True):
    """No new work for it (asked for by name, or its readiness fails); what it has goes on."""

    workload: str
    replica: str
    reason: str


class Undrain(msgspec.Struct, frozen=True, tag=True):
    """Give it work again."""

    workload: str
    replica: str


class StartRollout(msgspec.Struct, frozen=True, tag=True):
    """Replicas of an old revision stand: begin to replace them."""

    workload: str


Step = Create | Remove | Fill | MarkDown | Clear | Drain | Undrain | StartRollout


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """What is seen and what is under way, at one instant. Names are replica names unless said otherwise."""

    specs: tuple[WorkloadSpec, ...]
    wanted: WantedState
    replicas: tuple[ReplicaStatus, ...] = ()
    slots: tuple[SlotAssignment, ...] = ()
    in_flight: Mapping[str, int] = {}
    down: frozenset[str] = frozenset()
    """Marked down at the edge since they were last filled."""
    filled: Mapping[str, int] = {}
    """The pid each replica had when its slot was filled."""
    ejected: Mapping[str, int] = {}
    """Stuck replicas that the edge leaves alone, with the pid of the process that is stuck."""
    leaving: frozenset[str] = frozenset()
    """Being drained and removed now."""
    busy: frozenset[str] = frozenset()
    """Being restarted in place now: no step for them."""
    protected: frozenset[str] = frozenset()
    """Held by a drill: never a victim."""
    rolling: Mapping[str, frozenset[str]] = {}
    """Workload -> replicas a rollout under way has yet to replace."""
    blocked: Mapping[str, str] = {}
    """Workload -> revision that would not get Ready: not rolled out again by itself."""
    surge: Mapping[str, int] = {}
    """Workload -> replicas wanted beyond the count, for as long as something is restarted."""


class _Workload(msgspec.Struct, frozen=True, kw_only=True):
    """One workload's part of a situation, sorted out once."""

    spec: WorkloadSpec
    alive: tuple[ReplicaStatus, ...]
    slots: dict[str, SlotAssignment]
    drained: frozenset[str]
    situation: Situation

    def in_service(self, status: ReplicaStatus) -> bool:
        down = status.name in self.situation.down
        return in_service(self.spec, status, self.slots.get(status.name), down=down)


def in_service(spec: WorkloadSpec, status: ReplicaStatus, slot: SlotAssignment | None, *, down: bool) -> bool:
    """Whether the edge sends it requests: Ready, in a ready slot at its present port, not marked down. A workload
    without routes is not at the edge at all: Ready is enough."""
    if not spec.routes:
        return status.phase == Phase.READY
    if down:
        return False
    return status.phase == Phase.READY and slot is not None and slot.state == SlotState.READY and leads_to(slot, status)


def edge_host(status: ReplicaStatus) -> str:
    """Where the edge is to reach it: a fault proxy is on this machine, whatever it stands in front of."""
    return status.host if status.via_port is None else PROXY_HOST


def edge_ports(status: ReplicaStatus) -> tuple[int | None, int | None]:
    """The main and the check port at which the edge is to reach it: those of a fault proxy while one is spliced."""
    if status.via_port is None:
        return status.port, status.health_port or status.port
    shared = status.health_port in (None, status.port)
    return status.via_port, status.via_health_port or (status.via_port if shared else status.health_port)


def leads_to(slot: SlotAssignment, status: ReplicaStatus) -> bool:
    """Whether a slot holds the address at which the replica is to be reached."""
    return (slot.host, slot.port, slot.check_port) == (edge_host(status), *edge_ports(status))


def plan(situation: Situation) -> tuple[Step, ...]:
    """The next steps, most urgent first; empty when all is as wanted."""
    steps: list[Step] = []
    for spec in situation.specs:
        workload = _sort_out(spec, situation)
        steps += _edge_steps(workload)
        if not spec.kind and not situation.wanted.of(spec.name).maintenance:
            steps += _count_steps(workload)
    steps += _strays(situation)
    going = {step.replica for step in steps if isinstance(step, Remove)}
    steps = [step for step in steps if not (isinstance(step, Fill | Undrain) and step.replica in going)]
    order = (MarkDown, Clear, Undrain, Fill, Drain, Create, Remove, StartRollout)
    return tuple(sorted(steps, key=lambda step: order.index(type(step))))


def lowest_free_name(workload: str, taken: frozenset[str]) -> str:
    """`llm-0`, `llm-1`, …: the first that nothing bears."""
    index = 0
    while f"{workload}-{index}" in taken:
        index += 1
    return f"{workload}-{index}"


def surge_room(spec: WorkloadSpec, wanted: int) -> bool:
    """Whether one replica more than wanted can stand at the same time (its port and an edge slot are free)."""
    return spec.port == 0 and wanted < spec.max_replicas


def _sort_out(spec: WorkloadSpec, situation: Situation) -> _Workload:
    alive = tuple(
        status for status in situation.replicas if status.workload == spec.name and status.name not in situation.leaving
    )
    return _Workload(
        spec=spec,
        alive=alive,
        slots={slot.replica: slot for slot in situation.slots if slot.workload == spec.name},
        drained=frozenset(situation.wanted.of(spec.name).drained),
        situation=situation,
    )


def _edge_steps(workload: _Workload) -> list[Step]:
    """Bring each slot in line with its replica."""
    situation, name = workload.situation, workload.spec.name
    present = {status.name: status for status in situation.replicas if status.workload == name}
    orphans = workload.slots.keys() - present.keys() - situation.leaving - situation.busy
    steps: list[Step] = [Clear(name, replica) for replica in sorted(orphans)]
    for replica, status in present.items():
        if replica in situation.busy or not workload.spec.routes:
            continue
        step = _slot_step(workload, status)
        if step is not None:
            steps.append(step)
    return steps


def _slot_step(workload: _Workload, status: ReplicaStatus) -> Step | None:
    situation, name, replica = workload.situation, workload.spec.name, status.name
    slot = workload.slots.get(replica)
    filled = slot is not None and slot.state != SlotState.MAINT and replica not in situation.down
    if replica in situation.leaving and status.phase == Phase.TERMINATING:
        return None
    if filled and has_died(status, situation.filled.get(replica)):
        return MarkDown(name, replica)
    if replica in situation.leaving or status.pid is None:
        return None
    if situation.ejected.get(replica) == status.pid:
        return None
    drained = replica in workload.drained
    if status.phase == Phase.READY:
        if not filled or slot is None or not leads_to(slot, status):
            return None if drained else Fill(name, replica)
        if drained and slot.state == SlotState.READY:
            return Drain(name, replica, "drained by name")
        if not drained and slot.state == SlotState.DRAIN:
            return Undrain(name, replica)
        return None
    if status.phase == Phase.NOT_READY and filled and slot is not None and slot.state == SlotState.READY:
        if situation.wanted.of(name).maintenance:
            return None
        return Drain(name, replica, f"not ready: {status.reason or 'readiness probe fails'}")
    return None


def has_died(status: ReplicaStatus, filled_pid: int | None) -> bool:
    """Whether the process whose slot was filled can no longer answer. A replica that is Starting with that same
    process was adopted a moment ago and has yet to be asked."""
    if status.pid is None or status.phase in DEAD:
        return True
    return filled_pid is not None and status.pid != filled_pid


def _count_steps(workload: _Workload) -> list[Step]:
    """Bring the number of replicas, and their revision, in line with what is wanted."""
    situation, spec = workload.situation, workload.spec
    wanted = situation.wanted.of(spec.name).replicas
    targets = situation.rolling.get(spec.name, frozenset()) & {status.name for status in workload.alive}
    if targets:
        return _rollout_steps(workload, wanted, targets)
    allowed = wanted + min(situation.surge.get(spec.name, 0), spec.max_replicas - wanted)
    missing = allowed - len(workload.alive)
    if missing > 0:
        return _creates(workload, missing)
    if missing < 0:
        return [Remove(spec.name, victim, "scaled down") for victim in _victims(workload, -missing)]
    if wanted and not situation.surge.get(spec.name) and _is_stale(workload):
        return [StartRollout(spec.name)]
    return []


def _is_stale(workload: _Workload) -> bool:
    """An old revision stands, nothing else is going on, and the new one was not tried in vain."""
    spec, situation = workload.spec, workload.situation
    if situation.rolling.get(spec.name) or situation.blocked.get(spec.name) == spec.revision:
        return False
    if any(status.name in situation.busy for status in workload.alive):
        return False
    return any(status.revision != spec.revision for status in workload.alive)


def _creates(workload: _Workload, count: int) -> list[Step]:
    name = workload.spec.name
    if workload.spec.port and any(status.workload == name for status in workload.situation.replicas):
        return []  # its fixed port is still in use
    room = 1 if workload.spec.port else count
    steps: list[Step] = []
    taken = frozenset(status.name for status in workload.situation.replicas)
    taken |= workload.situation.leaving | workload.slots.keys()
    for _ in range(min(count, room)):
        replica = lowest_free_name(name, taken)
        taken |= {replica}
        steps.append(Create(name, replica))
    return steps


def _rollout_steps(workload: _Workload, wanted: int, targets: frozenset[str]) -> list[Step]:
    """Surge first: one replica more, and an old one goes only when all the new ones serve."""
    spec, situation = workload.spec, workload.situation
    surge = 1 if surge_room(spec, wanted) else 0
    missing = wanted + surge - len(workload.alive)
    if missing > 0:
        return _creates(workload, missing)
    fresh = [status for status in workload.alive if status.name not in targets]
    if not all(workload.in_service(status) or status.name in workload.drained for status in fresh):
        return []
    serving = sum(workload.in_service(status) for status in workload.alive)
    floor = wanted - (1 - surge) - sum(status.name in workload.drained for status in fresh)
    for status in sorted(workload.alive, key=lambda status: _eagerness(workload, status)):
        if status.name not in targets or status.name in situation.protected | situation.busy:
            continue
        left = serving - workload.in_service(status)
        if not workload.in_service(status) or left >= floor:
            return [Remove(spec.name, status.name, "replaced by a new replica")]
    return []


def _victims(workload: _Workload, count: int) -> list[str]:
    """Who goes when there are too many: never one that a drill holds or that is being restarted."""
    held = workload.situation.protected | workload.situation.busy
    free = [status for status in workload.alive if status.name not in held]
    return [status.name for status in sorted(free, key=lambda status: _eagerness(workload, status))[:count]]


def _eagerness(workload: _Workload, status: ReplicaStatus) -> tuple[bool, bool, bool, bool, int, float, str]:
    """Sorts the replica that is missed least first: one whose drain had begun, not serving, drained by name,
    of an old revision, fewest requests, youngest."""
    slot = workload.slots.get(status.name)
    begun = slot is not None and slot.state == SlotState.DRAIN and status.name not in workload.drained
    return (
        status.phase == Phase.READY and not begun,
        workload.in_service(status),
        status.name not in workload.drained,
        status.revision == workload.spec.revision,
        workload.situation.in_flight.get(status.name, 0),
        -status.created_ts,
        status.name,
    )


def _strays(situation: Situation) -> list[Step]:
    """Replicas of workloads that are no longer declared go; not those that a platform keeps."""
    declared = {spec.name for spec in situation.specs}
    return [
        Remove(status.workload, status.name, "its workload is no longer declared")
        for status in situation.replicas
        if status.workload not in declared
        and not status.owner
        and status.name not in situation.leaving | situation.busy | situation.protected
    ]
