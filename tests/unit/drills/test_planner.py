"""Plans and guards: what would be done, what it can prove, and each refusal with its reason."""

from __future__ import annotations

import random

import msgspec
import pytest

from backend.contract.errors import Refused
from backend.contract.fleet import ReplicaStatus, WorkloadSpec
from backend.contract.words import Phase
from backend.drills import guards
from backend.drills.check import load_scenario
from backend.drills.planner import FleetView, Plan, as_planned, plan, rates_of
from backend.drills.scenario import Target
from tests.unit.drills.samples import MINIMAL

LLM = WorkloadSpec(name="llm", command=("x",), engine="llamacpp", slots=4)
EMBEDDING = WorkloadSpec(name="embedding", command=("x",), routes=("/v1/embeddings", "/embed"))


def replica(name: str, phase: Phase = Phase.READY) -> ReplicaStatus:
    return ReplicaStatus(name=name, fleet="local", workload="llm", phase=phase, created_ts=0.0, pid=7)


def planned(text: str = MINIMAL, *, ready: int = 2, total: int = 2, environment: str = "dev") -> Plan:
    phases = [Phase.READY] * ready + [Phase.CRASH_LOOP] * (total - ready)
    replicas = tuple(replica(f"llm-{i}", phase) for i, phase in enumerate(phases))
    view = FleetView(environment=environment, fleet="local", workloads=(LLM, EMBEDDING), replicas={"llm": replicas})
    return plan(load_scenario(text, "t.yaml"), view)


def test_a_plan_says_what_it_does_and_what_it_can_prove() -> None:
    text = "\n".join(planned(MINIMAL.replace("{chat: 2}", "{chat: 299}")).lines)
    for said in (
        "workload llm, 2 of 2 replicas Ready",
        "busiest Ready replica",
        "299 requests without a failure prove >= 99.00 %",
        "nothing is injected",
        "process.kill (signal KILL, respawn natural)",
        "verified by pid_gone",
        "undo: wait until supervision",
        "capacity is calibrated first",
    ):
        assert said in text
    planned().require()
    assert planned().wall_s < 30


def with_fault(injection: str, safety: str = "{}") -> str:
    old = 'process.kill, target: victim, when: "in_flight(victim) >= 1", verify: [pid_gone]'
    text = MINIMAL.replace(old, injection).replace("title: a tiny drill", f"title: t\nsafety: {safety}")
    return text.replace(', "detect(kill-a) <= 100ms"', "")


def test_a_plan_describes_each_fault_by_what_it_does_takes_and_leaves() -> None:
    text = "\n".join(planned(with_fault("net.latency, target: pool, latency: 50ms, verify: [holder_active]")).lines)
    assert "net.latency (latency 0.05) on pool" in text
    assert "delay bytes each way" in text
    assert "its proxy takes it away (warden: without the daemon; by itself after 60 s)" in text
    text = "\n".join(planned(with_fault("workload.scale, target: pool, replicas: 1, verify: [action_done]")).lines)
    assert "scale back to the count it had" in text


@pytest.mark.parametrize(
    ("injection", "safety", "why"),
    [
        ("net.blackhole, target: pool, verify: [holder_active]", "{}", "keep_healthy is 1"),
        ("net.blackhole, target: pool, verify: [holder_active]", "{blast_radius: {keep_healthy: 0}}", "max_down is 1"),
        ("net.blackhole, target: pool, verify: [holder_active]", "{blast_radius: {keep_healthy: 0, max_down: 2}}", ""),
        ("net.blackhole, target: pool, share: 0.5, verify: [holder_active]", "{}", ""),
        (
            "health.lie, target: victim, status: 503, verify: [holder_active]",
            "{blast_radius: {max_down: 0}}",
            "max_down",
        ),
        ("health.lie, target: victim, status: 200, verify: [holder_active]", "{blast_radius: {max_down: 0}}", ""),
        ("workload.scale, target: pool, replicas: 0, verify: [action_done]", "{}", "keep_healthy is 1"),
        ("edge.kill, target: pool, verify: [edge_replaced]", "{}", ""),
    ],
)
def test_what_counts_as_taking_a_replica_away(injection: str, safety: str, why: str) -> None:
    refusals = " ".join(planned(with_fault(injection, safety)).refusals)
    assert (why in refusals) if why else not refusals, refusals


TWO_KILLS = MINIMAL.replace(
    'when: "in_flight(victim) >= 1", verify: [pid_gone]}',
    "respawn: held, verify: [pid_gone]}\n      - {id: b, fault: process.kill, target: victim, verify: [pid_gone]}",
)


@pytest.mark.parametrize(
    ("text", "options", "why"),
    [
        (MINIMAL, {"ready": 1}, "1 Ready replicas, 2 are wanted"),
        (MINIMAL, {"ready": 1, "total": 1}, "keep_healthy"),
        (MINIMAL, {"environment": "prod"}, "this fleet is `prod`"),
        (MINIMAL.replace("workload: llm", "workload: llama"), {}, "fits no workload"),
        (MINIMAL.replace("pick: busiest", "index: 2"), {}, "index 2"),
        (TWO_KILLS, {"ready": 3, "total": 3}, "max_down is 1"),
        (MINIMAL.replace("targets:", "safety: {blast_radius: {max_percent: 30}}\ntargets:"), {}, "max_percent is 30"),
        (
            MINIMAL.replace("targets:", "safety: {blast_radius: {never_roles: [inference]}}\ntargets:"),
            {},
            "may never touch",
        ),
    ],
)
def test_each_refusal_has_its_reason(text: str, options: dict[str, object], why: str) -> None:
    refused = planned(text, **options)  # type: ignore[arg-type]  # test data by name
    assert any(why in line for line in refused.refusals), refused.refusals
    with pytest.raises(Refused):
        refused.require()


def test_roles_find_their_workload() -> None:
    assert guards.resolve_pool("p", Target(role="inference"), [LLM, EMBEDDING]) is LLM
    assert guards.resolve_pool("p", Target(role="embedding"), [LLM, EMBEDDING]) is EMBEDDING
    with pytest.raises(Refused, match="2 workloads"):
        guards.resolve_pool("p", Target(role="inference"), [LLM, LLM])


def test_picking_a_replica() -> None:
    rng = random.Random(1)
    three = [replica("a", Phase.STARTING), replica("b"), replica("c")]
    assert guards.pick_replica(Target(source="p"), three, {}, rng).name == "b"
    assert guards.pick_replica(Target(source="p", pick="busiest"), three, {"c": 3, "a": 9}, rng).name == "c"
    assert guards.pick_replica(Target(source="p", index=2), three, {}, rng).name == "c"
    assert guards.pick_replica(Target(source="p", pick="random"), three, {}, rng).name in "bc"
    for target in (Target(source="p", index=0), Target(source="p", index=3)):
        with pytest.raises(Refused):
            guards.pick_replica(target, three, {}, rng)
    with pytest.raises(Refused, match="No replica"):
        guards.pick_replica(Target(source="p"), three[:1], {}, rng)


def test_rates_are_frozen_from_capacity() -> None:
    compiled = load_scenario(MINIMAL, "t.yaml")
    assert rates_of(compiled, {"pool": 2}, {"pool": 4.0}) == {"chat": 2.0}
    assert rates_of(compiled, {"pool": 2}, {"pool": 400.0}) == {"chat": 5.0}
    with pytest.raises(Refused, match="not positive"):
        rates_of(compiled, {"pool": 2}, {"pool": 0.0})


def test_where_the_platform_restarts_what_dies_a_held_kill_is_natural_and_says_so() -> None:
    text = with_fault("process.kill, target: victim, respawn: held, verify: [pid_gone]")
    compiled = load_scenario(text, "t.yaml")
    replicas = {"llm": (replica("llm-0"), replica("llm-1"))}
    view = FleetView(environment="dev", fleet="k8s:x", workloads=(LLM,), replicas=replicas, unheld=frozenset({"llm"}))
    there = plan(compiled, view)
    assert there.natural == {"kill-a"}
    assert "    respawn natural: k8s:x starts what dies again by itself" in there.lines
    assert "undo: wait until supervision" in "\n".join(there.lines)
    adapted = as_planned(compiled, there)
    assert [one.respawn for one in adapted.scenario.injections()] == ["natural"]
    assert (adapted.digest, adapted.text) == (compiled.digest, compiled.text)
    here = plan(compiled, msgspec.structs.replace(view, unheld=frozenset()))
    assert not here.natural
    assert as_planned(compiled, here) is compiled
