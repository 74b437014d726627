"""What is seen of the pretended fleet: its replicas, workloads and scaling as views. Makes them; keeps nothing."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

from backend.contract.control import ReplicaView, ScalingView, SeriesPoint, WorkloadView
from backend.contract.edge import EdgeServer
from backend.contract.fleet import ProbeStatus, ReplicaStatus
from backend.contract.rows import Scalar
from backend.contract.words import Phase, SlotState
from console.state.sim_past import PastWorld
from console.state.sim_world import SLOTS, SimReplica, SimWorld

Scene = SimWorld | PastWorld


def workload_views(world: Scene, point: SeriesPoint) -> tuple[WorkloadView, ...]:
    """In the order in which they were made."""
    platform = world.platform
    if platform is None:
        return tuple(_workload(name, world, point) for name in world.wanted)
    total, ready = Counter[str](), Counter[str]()
    for one in world.replicas:
        total[one.workload] += 1
        ready[one.workload] += one.phase == Phase.READY
    return tuple(
        WorkloadView(
            name=name,
            wanted=wanted,
            ready=ready[name],
            total=total[name],
            slots=SLOTS * ready[name] if platform.serves(name) else 0,
            routes=("/v1",) if platform.serves(name) else (),
            queued=world.queued if platform.serves(name) else 0,
            in_flight=point.in_flight if platform.serves(name) else 0,
            kind=platform.shapes[name].kind,
            rollout=platform.rollouts.get(name, ""),
        )
        for name, wanted in world.wanted.items()
    )


def _workload(name: str, world: Scene, point: SeriesPoint) -> WorkloadView:
    """The local simulator has one workload: what the fleet does, it does."""
    return WorkloadView(
        name=name,
        wanted=world.wanted[name],
        ready=point.ready,
        total=len(world.replicas),
        slots=SLOTS * point.ready,
        routes=("/v1",),
        queued=world.queued,
        in_flight=point.in_flight,
        maintenance=name in world.maintenance,
        autoscale=world.autoscale,
    )


def scaling_view(name: str, world: Scene, point: SeriesPoint) -> ScalingView:
    ttft = point.ttft.p99_s
    inputs: dict[str, Scalar] = {
        "cpu_percent": round(point.cpu_percent, 1),
        "cpu_target": 70,
        "queue_depth": world.queued,
        "queue_target": 50,
        "ttft_p99_ms": None if ttft is None else round(ttft * 1000),
        "ttft_target_ms": 100,
    }
    return ScalingView(
        workload=name,
        policy="threshold",
        enabled=world.autoscale,
        current=world.wanted[name],
        minimum=1,
        maximum=4,
        maximum_note="memory holds 4",
        last_decision=_decision(inputs, world.autoscale),
        last_decision_ts=world.now - 20,
        inputs=inputs,
    )


@lru_cache(64)
def _probes(ts: float, ok: bool, detail: str) -> tuple[ProbeStatus, ...]:
    """Most replicas that are looked at in a second say the same."""
    return tuple(
        ProbeStatus(name=name, ok=ok, detail=detail, last_ts=ts, latency_s=0.0012)
        for name in ("startup", "readiness", "liveness")
    )


def replica_view(one: SimReplica, world: Scene) -> ReplicaView:
    up = one.phase == Phase.READY and not one.draining
    state = SlotState.DRAIN if one.phase == Phase.DRAINING else SlotState.READY
    detail = "200 OK" if up else one.reason
    status = ReplicaStatus(
        name=one.name,
        fleet="local",
        workload=one.workload,
        phase=one.phase,
        revision="5f2c9a",
        reason=one.reason,
        restarts=one.restarts,
        created_ts=one.created_ts,
        started_ts=one.started_ts,
        pid=one.pid,
        shim_pid=one.pid - 1,
        port=18000 + one.pid % 1000,
        health_port=19000 + one.pid % 1000,
        cpu_percent=round(one.cpu),
        memory_bytes=int(one.memory),
        memory_limit_bytes=512 * 1024 * 1024,
        last_exit=one.last_exit,
        probes=_probes(one.looked_ts, one.phase in (Phase.READY, Phase.DRAINING), detail),
    )
    if world.platform is not None:
        status = world.platform.dressed(status, one)
        if not world.platform.serves(one.workload):
            return ReplicaView(status=status)
    edge = EdgeServer(
        workload=one.workload,
        slot=0,
        replica=one.name,
        state=state,
        up=up,
        status="UP" if up else "DRAIN" if state == SlotState.DRAIN else "DOWN",
        in_flight=one.in_flight,
        queued=one.waiting,
        sessions_total=one.sessions,
        retries_total=0,
        errors_total=0,
    )
    return ReplicaView(
        status=status,
        edge=edge if one.phase != Phase.PENDING else None,
        ttft=world.quantiles([one]),
        requests_per_s=len(one.recent) / 60,
        tokens_per_s=one.tokens_per_s,
        engine_running=one.in_flight,
        engine_waiting=one.waiting,
    )


def _decision(inputs: dict[str, Scalar], enabled: bool) -> str:
    """The documented threshold rule, in words."""
    over = [
        f"{name} {value} > {target}"
        for name, value, target in (
            ("queue", inputs["queue_depth"], inputs["queue_target"]),
            ("ttft p99 ms", inputs["ttft_p99_ms"], inputs["ttft_target_ms"]),
        )
        if isinstance(value, int) and isinstance(target, int) and value > target
    ]
    if not over:
        return "hold: every input is within its target"
    return f"{'up' if enabled else 'would scale up'}: {', '.join(over)}"
