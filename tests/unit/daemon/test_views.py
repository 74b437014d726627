"""The snapshot: a pure join of what the parts know, and an honest word on the fleet's health."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from backend.contract.control import Quantiles
from backend.contract.edge import EdgeObservation, EdgeServer, EdgeWorkload
from backend.contract.fleet import ReplicaStatus, WorkloadSpec
from backend.contract.platform import Trouble
from backend.contract.words import Phase, SlotState
from backend.daemon.views import Known, build_snapshot, is_serving
from backend.reconcile.wanted import WantedState, WorkloadWanted
from backend.telemetry.engine_names import EngineMetric
from backend.telemetry.engines import EngineReading
from backend.telemetry.traffic import NO_TRAFFIC, TrafficView
from tests.unit.console.sample import point

NONE_WANTED = WantedState(workloads={"llm": WorkloadWanted(replicas=0, declared=2)})
SPEC = WorkloadSpec(name="llm", command=("x",), replicas=2, slots=4, routes=("/v1",))


def status(name: str, phase: Phase = Phase.READY, reason: str = "", workload: str = "llm") -> ReplicaStatus:
    return ReplicaStatus(name=name, fleet="local", workload=workload, phase=phase, reason=reason, created_ts=1.0)


def server(replica: str, up: bool = True) -> EdgeServer:
    return EdgeServer(
        workload="llm",
        slot=0,
        replica=replica,
        state=SlotState.READY,
        up=up,
        status="UP" if up else "DOWN",
        in_flight=2,
        queued=1,
        sessions_total=9,
        retries_total=0,
        errors_total=0,
    )


def known(**parts: Any) -> Known:
    totals = EdgeWorkload(workload="llm", in_flight=3, queued=5, sessions_total=9, retries_total=0, errors_total=0)
    values: dict[str, Any] = {
        "ts": 100.0,
        "fleet": "local",
        "specs": (SPEC,),
        "wanted": WantedState(workloads={"llm": WorkloadWanted(replicas=2, declared=2, autoscale=True)}),
        "replicas": (status("llm-0"), status("llm-1")),
        "edge": EdgeObservation(
            ts=100.0, up=True, servers=(server("llm-0"), server("llm-1")), workloads=(totals,), public_url="http://e"
        ),
        "point": point(),
        "readings": {},
        "replica_traffic": lambda _: TrafficView(requests_per_s=1.5),
        "lease": lambda _: None,
        "uptime_s": 100.0,
        "was_ready": True,
    }
    return Known(**(values | parts))


def edge(*up: str, alive: bool = True) -> EdgeObservation:
    return EdgeObservation(ts=1.0, up=alive, servers=tuple(server(name) for name in up))


def test_a_workload_joins_driver_edge_and_wanted_state() -> None:
    view = build_snapshot(7, known(lease=lambda name: f"drill on {name}")).workloads[0]
    assert (view.name, view.wanted, view.ready, view.total, view.slots) == ("llm", 2, 2, 2, 8)
    assert (view.queued, view.in_flight, view.autoscale, view.maintenance) == (5, 3, True, False)
    assert view.lease == "drill on llm"


def test_a_replica_joins_status_slot_traffic_and_engine() -> None:
    reading = EngineReading(
        replica="llm-0",
        workload="llm",
        ts=1.0,
        mono_s=1.0,
        latency_s=0.01,
        values={EngineMetric.RUNNING: 3.0, EngineMetric.WAITING: 0.0},
        tokens_out_per_s=40.0,
    )
    snapshot = build_snapshot(7, known(readings={"llm-0": reading}))
    first, second = snapshot.replicas
    assert first.edge is not None
    assert (first.edge.replica, first.requests_per_s, first.tokens_per_s) == ("llm-0", 1.5, 40.0)
    assert (first.engine_running, first.engine_waiting) == (3, 0)
    assert (second.tokens_per_s, second.engine_running) == (None, None), "unknown is null, never 0"
    assert (snapshot.seq, snapshot.public_url, snapshot.edge_up) == (7, "http://e", True)


def test_a_replica_without_a_slot_serves_nobody() -> None:
    snapshot = build_snapshot(1, known(edge=edge("llm-0")))
    assert [is_serving(view) for view in snapshot.replicas] == [True, False]
    assert snapshot.workloads[0].ready == 1


@pytest.mark.parametrize(
    ("parts", "health", "reason"),
    [
        ({}, "ok", ""),
        ({"edge": edge("llm-0", "llm-1", alive=False)}, "down", "the edge does not answer"),
        (
            {"edge": edge("llm-0"), "replicas": (status("llm-0"), status("llm-1", Phase.CRASH_LOOP, "exit code 3"))},
            "degraded",
            "llm has 1 of 2 ready (llm-1 CrashLoop: exit code 3)",
        ),
        ({"edge": edge("llm-0"), "replicas": (status("llm-0"),)}, "degraded", "llm has 1 of 2 ready"),
        (
            {"edge": edge(), "replicas": (status("llm-0", Phase.FAILED, "no program"),)},
            "down",
            "no replica of llm is Ready (llm-0 Failed: no program)",
        ),
        ({"edge": edge(), "replicas": ()}, "down", "no replica of llm is Ready"),
        (
            {"edge": edge(), "replicas": (status("llm-0", Phase.STARTING),), "was_ready": False, "uptime_s": 3.0},
            "starting",
            "no replica of llm is Ready (llm-0 Starting)",
        ),
        ({"edge": edge(), "replicas": (), "was_ready": False, "uptime_s": 61.0}, "down", "no replica of llm is Ready"),
        (
            {
                "edge": edge(),
                "replicas": (),
                "wanted": NONE_WANTED,
            },
            "ok",
            "",
        ),
    ],
)
def test_health_says_what_is_wrong_and_why(parts: dict[str, Any], health: str, reason: str) -> None:
    snapshot = build_snapshot(1, known(**parts))
    assert (snapshot.health, snapshot.health_reason) == (health, reason)


def test_a_workload_taken_away_leaves_no_view() -> None:
    snapshot = build_snapshot(1, known(specs=(), replicas=(status("llm-0", Phase.TERMINATING),)))
    assert snapshot.workloads == ()
    assert [view.status.name for view in snapshot.replicas] == ["llm-0"], "until it is gone it is shown"


PLATFORM = WorkloadSpec(name="web", command=(), routes=(), kind="Deployment", replicas=2)


def on_platform(*replicas: ReplicaStatus, **parts: Any) -> Known:
    values: dict[str, Any] = {
        "specs": (PLATFORM,),
        "wanted": WantedState(workloads={"web": WorkloadWanted(replicas=2, declared=2)}),
        "replicas": replicas,
        "edge": EdgeObservation(ts=1.0, up=False),
        "has_edge": False,
        "driver": "kubernetes",
    }
    return known(**(values | parts))


def pod(name: str, phase: Phase = Phase.READY, reason: str = "", workload: str = "web") -> ReplicaStatus:
    return ReplicaStatus(
        name=name,
        fleet="k8s:x",
        workload=workload,
        phase=phase,
        reason=reason,
        created_ts=1.0,
        owner=f"Deployment/{workload}",
    )


def test_without_an_edge_of_ours_ready_is_serving() -> None:
    snapshot = build_snapshot(1, on_platform(pod("web-a"), pod("web-b"), rollouts={"web": "1 of 2 updated"}))
    assert (snapshot.health, snapshot.has_edge, snapshot.driver) == ("ok", False, "kubernetes")
    assert (snapshot.workloads[0].ready, snapshot.workloads[0].kind) == (2, "Deployment")
    assert snapshot.workloads[0].rollout == "1 of 2 updated"


def test_an_edge_that_the_platform_runs_shows_traffic_and_no_slots() -> None:
    asked: list[str] = []

    def traffic(name: str) -> TrafficView:
        asked.append(name)
        return TrafficView(ttft=Quantiles(count=2, p50_s=0.2), requests_per_s=1.5) if name == "web-a" else NO_TRAFFIC

    counts = EdgeWorkload(workload="web", in_flight=3, queued=2, sessions_total=9, retries_total=0, errors_total=0)
    edge = EdgeObservation(ts=1.0, up=True, workloads=(counts,))
    parts = {"edge": edge, "has_edge": True, "edge_slots": False, "replica_traffic": traffic}
    base = on_platform(pod("web-a"), pod("web-b"), **parts)
    snapshot = build_snapshot(1, base)
    assert (snapshot.health, snapshot.has_edge, snapshot.edge_slots, snapshot.edge_up) == ("ok", True, False, True)
    assert (snapshot.workloads[0].ready, snapshot.workloads[0].queued, snapshot.workloads[0].in_flight) == (2, 2, 3)
    assert [(v.ttft.p50_s, v.requests_per_s) for v in snapshot.replicas] == [(0.2, 1.5), (None, 0.0)]
    again = build_snapshot(2, msgspec.structs.replace(base, former=snapshot.replicas))
    assert again.replicas[1] is snapshot.replicas[1], "of those without requests nothing is made anew"
    down = build_snapshot(3, msgspec.structs.replace(base, edge=EdgeObservation(ts=1.0, up=False), was_ready=True))
    assert (down.health, down.health_reason) == ("down", "no replica of the edge is Ready")


def test_one_of_many_workloads_down_on_a_platform_is_degraded_all_of_them_down() -> None:
    two = (PLATFORM, WorkloadSpec(name="db", command=(), routes=(), kind="StatefulSet", replicas=1))
    wanted = WantedState(
        workloads={"web": WorkloadWanted(replicas=1, declared=1), "db": WorkloadWanted(replicas=1, declared=1)}
    )
    sick = pod("db-0", Phase.CRASH_LOOP, "exit code 1", workload="db")
    snapshot = build_snapshot(1, on_platform(pod("web-a"), sick, specs=two, wanted=wanted))
    assert (snapshot.health, snapshot.health_reason) == (
        "degraded",
        "db has 0 of 1 ready (db-0 CrashLoop: exit code 1)",
    )
    snapshot = build_snapshot(1, on_platform(sick, specs=two[1:], wanted=wanted))
    assert snapshot.health == "down"


def test_beside_an_edge_of_ours_what_it_serves_decides_whether_the_fleet_is_down() -> None:
    both = {"specs": (SPEC, PLATFORM), "edge": edge("llm-0", "llm-1"), "has_edge": True}
    wanted = WantedState(
        workloads={"llm": WorkloadWanted(replicas=2, declared=2), "web": WorkloadWanted(replicas=1, declared=1)}
    )
    sick = pod("web-a", Phase.CRASH_LOOP)
    served = build_snapshot(1, on_platform(status("llm-0"), status("llm-1"), sick, **both, wanted=wanted))
    assert (served.health, served.health_reason) == ("degraded", "web has 0 of 1 ready (web-a CrashLoop)")
    assert build_snapshot(1, on_platform(sick, **both, wanted=wanted)).health == "down"


def test_a_platform_that_does_not_answer_is_down_with_the_remedy() -> None:
    trouble = Trouble(kind="unreachable", message="The API does not answer.", next_step="See it.", since_ts=1.0)
    snapshot = build_snapshot(1, on_platform(pod("web-a"), pod("web-b"), trouble=trouble))
    assert (snapshot.health, snapshot.health_reason) == ("down", "The API does not answer. See it.")


def test_a_sentence_names_some_causes_and_counts_the_others() -> None:
    sick = [pod(f"web-{n}", Phase.FAILED, f"exit code {n}") for n in range(30)]
    wanted = WantedState(workloads={"web": WorkloadWanted(replicas=30, declared=30)})
    reason = build_snapshot(1, on_platform(pod("web-x"), *sick, wanted=wanted)).health_reason
    assert reason.startswith("web has 1 of 30 ready (web-0 Failed: exit code 0; ")
    assert reason.endswith("; 26 more)")


def test_a_sentence_tells_replicas_that_fail_alike_once_and_no_page_of_output() -> None:
    sick = [pod(f"web-{n}", Phase.NOT_READY, "unhealthy: " + "usage " * 50) for n in range(3)]
    wanted = WantedState(workloads={"web": WorkloadWanted(replicas=4, declared=4)})
    reason = build_snapshot(1, on_platform(pod("web-x"), *sick, wanted=wanted)).health_reason
    assert reason.startswith("web has 1 of 4 ready (web-0 and 2 more NotReady: unhealthy: usage")
    assert reason.endswith("…)") and len(reason) < 160
