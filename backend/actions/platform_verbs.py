"""The verbs that only fleets on a platform have: pause, evict, roll back, and what is done to nodes.

Owns their previews and inverses. Each takes the driver as a capability (contract.platform); a fleet whose driver
lacks it refuses in a sentence. What rights forbid is the guard's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Final

import msgspec

from backend.actions.executor import ActionState, Effect, Executor, Inverse, Irreversible, Progress, TargetKind
from backend.contract.control import ActionRequest, ReplicaView
from backend.contract.errors import Refused, UsageError
from backend.contract.fleet import Fleet
from backend.contract.needs import refusal_of
from backend.contract.platform import Evictable, HasNodes, Pausable, Reversible
from backend.contract.words import Phase, Risk, Verb

NODE_DRAIN_S: Final = 600.0


class _PlatformVerb(ABC):
    """What these verbs have in common: a fleet without the capability refuses, before and at the deed."""

    exclusive: bool = True
    in_maintenance: bool = True

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    @property
    @abstractmethod
    def verb(self) -> Verb: ...

    def preview(self, state: ActionState, request: ActionRequest) -> Effect:
        return msgspec.structs.replace(self.effect(state, request), refusal=refusal_of(self._fleet, self.verb))

    async def run(self, request: ActionRequest, progress: Progress) -> str:
        if refusal := refusal_of(self._fleet, self.verb):
            raise Refused(refusal)
        return await self.deed(self._fleet, request, progress)

    @abstractmethod
    def effect(self, state: ActionState, request: ActionRequest) -> Effect:
        """What it would do to a fleet that can."""

    @abstractmethod
    async def deed(self, fleet: Any, request: ActionRequest, progress: Progress) -> str:
        """Done to a fleet that has the capability which the verb needs."""


class Pause(_PlatformVerb):
    """`pause` a replica: its processes are frozen as they are until `unpause`."""

    verb: Final = Verb.PAUSE
    target_kind: TargetKind = "replica"

    def effect(self, state: ActionState, request: ActionRequest) -> Effect:
        replica = state.replica(request.target)
        effects = ("requests it has hang until it goes on, or until their own deadline",)
        alone = not _others_ready(state, replica)
        risk = Risk.HIGH if alone and replica.status.phase == Phase.READY else Risk.LOW
        summary = (
            f"{replica.status.name}: frozen until it is unpaused; {_others_ready(state, replica)} others are Ready"
        )
        return Effect(summary=summary, effects=effects, risk=risk)

    def inverse(self, state: ActionState, request: ActionRequest) -> Inverse | Irreversible:
        return Inverse(verb=Verb.UNPAUSE, words="let it go on")

    async def deed(self, fleet: Pausable, request: ActionRequest, progress: Progress) -> str:
        await fleet.pause(request.target)
        return f"{request.target} is paused."


class Unpause(_PlatformVerb):
    """`unpause` a replica."""

    verb: Final = Verb.UNPAUSE
    target_kind: TargetKind = "replica"

    def effect(self, state: ActionState, request: ActionRequest) -> Effect:
        name = state.replica(request.target).status.name
        return Effect(summary=f"{name}: goes on where it was frozen")

    def inverse(self, state: ActionState, request: ActionRequest) -> Inverse | Irreversible:
        return Inverse(verb=Verb.PAUSE, words="pause it again")

    async def deed(self, fleet: Pausable, request: ActionRequest, progress: Progress) -> str:
        await fleet.unpause(request.target)
        return f"{request.target} goes on."


class Evict(_PlatformVerb):
    """`evict` a replica: it leaves as its disruption budget allows; its owner makes another."""

    verb: Final = Verb.EVICT
    target_kind: TargetKind = "replica"

    def effect(self, state: ActionState, request: ActionRequest) -> Effect:
        replica = state.replica(request.target)
        owner = replica.status.owner or "nothing"
        summary = f"{replica.status.name}: asked to leave within its disruption budget; {owner} replaces it"
        return Effect(summary=summary, risk=Risk.LOW)

    def inverse(self, state: ActionState, request: ActionRequest) -> Inverse | Irreversible:
        return Irreversible(why="the replica is gone; its owner makes another")

    async def deed(self, fleet: Evictable, request: ActionRequest, progress: Progress) -> str:
        await fleet.evict(request.target)
        return f"{request.target} was evicted."


class Rollback(_PlatformVerb):
    """`rollback` a workload to its former revision, to the rollout's end."""

    verb: Final = Verb.ROLLBACK
    target_kind: TargetKind = "workload"

    def effect(self, state: ActionState, request: ActionRequest) -> Effect:
        view = state.workload(request.target)
        summary = f"{view.name}: back to its former revision; {view.total} replicas are replaced"
        return Effect(summary=summary, risk=Risk.HIGH)

    def inverse(self, state: ActionState, request: ActionRequest) -> Inverse | Irreversible:
        return Inverse(verb=Verb.ROLLBACK, words="roll back again, to where it was before")

    async def deed(self, fleet: Reversible, request: ActionRequest, progress: Progress) -> str:
        return await fleet.rollback(request.target, progress)


class Cordon(_PlatformVerb):
    """`cordon` and `uncordon` a node: whether new replicas may come onto it."""

    target_kind: TargetKind = "free"
    exclusive = False

    def __init__(self, fleet: Fleet, *, on: bool) -> None:
        super().__init__(fleet)
        self._on = on

    @property
    def verb(self) -> Verb:
        return Verb.CORDON if self._on else Verb.UNCORDON

    def effect(self, state: ActionState, request: ActionRequest) -> Effect:
        node = state.node(request.target)
        if node.schedulable != self._on:
            return Effect(summary=f"{node.name}: is {'cordoned' if self._on else 'open'} already")
        words = "no new replicas come onto it; those it has stay" if self._on else "new replicas may come onto it"
        return Effect(summary=f"{node.name}: {words}", risk=Risk.LOW)

    def inverse(self, state: ActionState, request: ActionRequest) -> Inverse | Irreversible:
        if state.node(request.target).schedulable != self._on:
            return Irreversible(why="it changed nothing")
        back = Verb.UNCORDON if self._on else Verb.CORDON
        return Inverse(verb=back, words=f"{back} it")

    async def deed(self, fleet: HasNodes, request: ActionRequest, progress: Progress) -> str:
        await fleet.cordon(request.target, on=self._on)
        return f"{request.target} is {'cordoned' if self._on else 'open for new replicas'}."


STAYING: Final = ("DaemonSet/", "Node/")
"""Owners of what a drain leaves where it is: it would be there again at once."""


class NodeDrain(_PlatformVerb):
    """`node-drain {grace_s}`: cordon a node and evict what is on it, within disruption budgets."""

    verb: Final = Verb.NODE_DRAIN
    target_kind: TargetKind = "free"
    exclusive = False

    def effect(self, state: ActionState, request: ActionRequest) -> Effect:
        node = state.node(request.target)
        every = [r.status for r in state.replicas if r.status.node == node.name]
        here = [status for status in every if not status.owner.startswith(STAYING)]
        named = ", ".join(sorted({status.workload for status in here})) or "nothing of this fleet"
        stay = f"; staying: {len(every) - len(here)} of daemon sets" if len(every) > len(here) else ""
        effects = (
            f"leaving it: {len(here)} of this fleet ({named}){stay}; it stays cordoned",
            "budgets are respected: it waits where one says no",
        )
        others = [other for other in state.nodes if other.name != node.name and other.ready and other.schedulable]
        risk = Risk.LOW if others else Risk.HIGH
        summary = f"{node.name}: drained onto {len(others)} other node{'' if len(others) == 1 else 's'}"
        return Effect(summary=summary, effects=effects, risk=risk)

    def inverse(self, state: ActionState, request: ActionRequest) -> Inverse | Irreversible:
        return Inverse(verb=Verb.UNCORDON, words="uncordon it; what left does not come back by itself")

    async def deed(self, fleet: HasNodes, request: ActionRequest, progress: Progress) -> str:
        seconds = request.args.get("grace_s")
        if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds <= 0):
            raise UsageError(f"node-drain takes grace_s in seconds, not {seconds!r}.")
        deadline_s = NODE_DRAIN_S if seconds is None else float(seconds)
        return await fleet.drain_node(request.target, progress, deadline_s=deadline_s)


def platform_executors(fleet: Fleet) -> tuple[Executor, ...]:
    """All verbs of this module, ready to be registered."""
    return (
        Pause(fleet),
        Unpause(fleet),
        Evict(fleet),
        Rollback(fleet),
        Cordon(fleet, on=True),
        Cordon(fleet, on=False),
        NodeDrain(fleet),
    )


def _others_ready(state: ActionState, replica: ReplicaView) -> int:
    return sum(
        other.status.phase == Phase.READY
        for other in state.replicas
        if other.status.workload == replica.status.workload and other.status.name != replica.status.name
    )
