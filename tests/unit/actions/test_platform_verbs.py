"""Verbs of platforms: what they say beforehand, what takes them back, and what a fleet that lacks them answers."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest

from backend.actions.executor import ActionState, Executor, Inverse, Irreversible
from backend.actions.fleet_verbs import Kill
from backend.actions.guard import refusal
from backend.actions.platform_verbs import platform_executors
from backend.contract.control import ActionRequest, ReplicaView, WorkloadView
from backend.contract.errors import Refused, UsageError
from backend.contract.fleet import ReplicaStatus
from backend.contract.platform import NodeStatus, Progress
from backend.contract.words import Phase, Risk, Verb
from tests.fakes.fleet import FakeFleet


class AbleFleet(FakeFleet):
    """Can do them all; `done` is what it did."""

    def __init__(self) -> None:
        super().__init__("k8s:x")
        self.done: list[tuple[object, ...]] = []

    async def pause(self, replica: str) -> None:
        self.done.append(("pause", replica))

    async def unpause(self, replica: str) -> None:
        self.done.append(("unpause", replica))

    async def evict(self, replica: str) -> None:
        self.done.append(("evict", replica))

    async def rollback(self, workload: str, progress: Progress) -> str:
        self.done.append(("rollback", workload))
        return "rolled back."

    def nodes(self) -> tuple[NodeStatus, ...]:
        return ()

    async def cordon(self, node: str, *, on: bool) -> None:
        self.done.append(("cordon", node, on))

    async def drain_node(self, node: str, progress: Progress, *, deadline_s: float = 600.0) -> str:
        self.done.append(("drain", node, deadline_s))
        return "drained."


def pod(name: str, node: str, phase: Phase = Phase.READY) -> ReplicaView:
    status = ReplicaStatus(
        name=name, fleet="k8s:x", workload="web", phase=phase, created_ts=0.0, node=node, owner="Deployment/web"
    )
    return ReplicaView(status=status)


NODES = (NodeStatus(name="n1", ready=True), NodeStatus(name="n2", ready=True, schedulable=False))
WEB = WorkloadView(name="web", wanted=2, ready=2, total=2, slots=0, routes=(), queued=0, in_flight=0)
STATE = ActionState(fleet="k8s:x", replicas=(pod("a", "n1"), pod("b", "n2")), workloads=(WEB,), nodes=NODES)
TARGETS = {
    Verb.PAUSE: "a",
    Verb.UNPAUSE: "a",
    Verb.EVICT: "a",
    Verb.ROLLBACK: "web",
    Verb.CORDON: "n1",
    Verb.UNCORDON: "n2",
    Verb.NODE_DRAIN: "n1",
}


def ask(verb: Verb, target: str | None = None, **args: object) -> ActionRequest:
    target = TARGETS[verb] if target is None else target
    return ActionRequest(verb=verb, target=target, args=args, actor="ada")  # type: ignore[arg-type]


def executor(verb: Verb, fleet: FakeFleet | None = None) -> Executor:
    return next(one for one in platform_executors(fleet or AbleFleet()) if one.verb == verb)


@pytest.mark.parametrize("verb", TARGETS)
async def test_a_fleet_that_cannot_refuses_before_and_at_the_deed(verb: Verb) -> None:
    unable = executor(verb, FakeFleet())
    assert "cannot" in unable.preview(STATE, ask(verb)).refusal
    with pytest.raises(Refused, match="Fleet local cannot"):
        await unable.run(ask(verb), print)


@pytest.mark.parametrize("verb", TARGETS)
async def test_one_that_can_does_it_once(verb: Verb) -> None:
    fleet = AbleFleet()
    able = executor(verb, fleet)
    assert able.preview(STATE, ask(verb)).refusal == ""
    assert await able.run(ask(verb), print)
    assert len(fleet.done) == 1
    assert fleet.done[0][1] == TARGETS[verb]


@pytest.mark.parametrize("verb", TARGETS)
def test_a_missing_right_is_named_before_anything_is_tried(verb: Verb) -> None:
    words = "needs `create` on `pods/eviction` in namespace shop"
    state = msgspec.structs.replace(STATE, limits={str(verb): words})
    said = refusal(state, ask(verb), executor(verb), read_only=False, blocker=lambda *_: None)
    assert said == f"{verb} cannot be done here: {words}."
    assert not refusal(STATE, ask(verb), executor(verb), read_only=False, blocker=lambda *_: None)


@pytest.mark.parametrize("verb", TARGETS)
def test_an_unknown_target_is_said_with_those_there_are(verb: Verb) -> None:
    with pytest.raises(UsageError, match="There is no"):
        executor(verb).preview(STATE, ask(verb, "nobody"))


def test_pausing_the_only_one_that_is_ready_asks_harder() -> None:
    assert executor(Verb.PAUSE).preview(STATE, ask(Verb.PAUSE)).risk == Risk.LOW
    alone = ActionState(fleet="x", replicas=(pod("a", "n1"), pod("b", "n2", Phase.FAILED)), workloads=(WEB,))
    assert executor(Verb.PAUSE).preview(alone, ask(Verb.PAUSE)).risk == Risk.HIGH


def test_what_takes_them_back() -> None:
    def back(verb: Verb, target: str | None = None) -> Verb | None:
        inverse = executor(verb).inverse(STATE, ask(verb, target))
        return inverse.verb if isinstance(inverse, Inverse) else None

    assert [back(verb) for verb in TARGETS] == [
        Verb.UNPAUSE,
        Verb.PAUSE,
        None,
        Verb.ROLLBACK,
        Verb.UNCORDON,
        Verb.CORDON,
        Verb.UNCORDON,
    ]
    assert isinstance(executor(Verb.CORDON).inverse(STATE, ask(Verb.CORDON, "n2")), Irreversible)


def test_a_node_drain_promises_nothing_of_what_would_be_there_again_at_once() -> None:
    agents = [
        msgspec.structs.replace(r, status=msgspec.structs.replace(r.status, owner="DaemonSet/agent"))
        for r in STATE.replicas
    ]
    effect = executor(Verb.NODE_DRAIN).preview(
        msgspec.structs.replace(STATE, replicas=tuple(agents)), ask(Verb.NODE_DRAIN)
    )
    assert "leaving it: 0 of this fleet (nothing of this fleet); staying: 1 of daemon sets" in effect.effects[0]


def test_a_node_drain_says_who_leaves_and_where_they_can_go() -> None:
    effect = executor(Verb.NODE_DRAIN).preview(STATE, ask(Verb.NODE_DRAIN))
    assert "leaving it: 1 of this fleet (web); it stays" in effect.effects[0]
    assert (effect.summary, effect.risk) == ("n1: drained onto 0 other nodes", Risk.HIGH)
    assert executor(Verb.NODE_DRAIN).preview(STATE, ask(Verb.NODE_DRAIN, "n2")).risk == Risk.LOW


@pytest.mark.parametrize("seconds", [0, -1, "soon", True])
async def test_a_node_drain_takes_seconds(seconds: object) -> None:
    with pytest.raises(UsageError, match="grace_s in seconds"):
        await executor(Verb.NODE_DRAIN).run(ask(Verb.NODE_DRAIN, grace_s=seconds), print)


def test_a_kill_without_an_edge_of_ours_promises_no_retries() -> None:
    alive = msgspec.structs.replace(pod("a", "n1").status, pid=7)
    state = msgspec.structs.replace(STATE, replicas=(ReplicaView(status=alive), pod("b", "n2")))
    effect = Kill(cast(Any, None)).preview(state, ActionRequest(verb=Verb.KILL, target="a", actor="cli:ada"))
    assert effect.effects == (
        (
            "its connections break: no edge of ours retries for it; "
            "its platform starts it again, or does not, by its own policy"
        ),
    )
