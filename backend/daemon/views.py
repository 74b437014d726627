"""The snapshot as a pure join of what driver, edge, telemetry and reconciler each know. Does no I/O, keeps nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter

import msgspec

from backend.contract.control import (
    DrillView,
    LoadView,
    ReplicaView,
    ScalingView,
    SeriesPoint,
    Snapshot,
    WorkloadView,
)
from backend.contract.edge import EdgeObservation, EdgeServer
from backend.contract.fleet import ReplicaStatus, WorkloadSpec
from backend.contract.platform import ForwardView, NodeStatus, PortView, Trouble
from backend.contract.words import Phase
from backend.reconcile.wanted import WantedState
from backend.telemetry.engines import EngineReading
from backend.telemetry.traffic import NO_TRAFFIC, TrafficView
from backend.version import VERSION

_NAMED = 4
"""Causes and workloads that a sentence names; the others are counted."""
_REASON = 80
"""Characters of a replica's reason in a sentence about the fleet."""
_PHASE = attrgetter("status.phase")
_STARTING_S = 60.0
"""How long a fleet that was never Ready counts as starting rather than down."""


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What the parts of the daemon know at one instant."""

    ts: float
    fleet: str
    specs: Sequence[WorkloadSpec]
    wanted: WantedState
    replicas: Sequence[ReplicaStatus]
    edge: EdgeObservation
    point: SeriesPoint
    readings: dict[str, EngineReading]
    replica_traffic: Callable[[str], TrafficView]
    lease: Callable[[str], str | None]
    scaling: tuple[ScalingView, ...] = ()
    load: LoadView = LoadView()
    drill: DrillView | None = None
    drills_blocked: str = ""
    consoles: int = 0
    loop_lag_p99_s: float | None = None
    dropped_rows: int = 0
    uptime_s: float = 0.0
    was_ready: bool = False
    metrics_url: str = ""
    driver: str = "local"
    has_edge: bool = True
    edge_slots: bool = True
    """Whether it is the daemon's own; see Snapshot."""
    limits: Mapping[str, str] = {}
    trouble: Trouble | None = None
    nodes: Sequence[NodeStatus] = ()
    forwards: Sequence[ForwardView] = ()
    ports: Sequence[PortView] = ()
    rollouts: Mapping[str, str] = {}
    """Workload -> how its rollout on the platform stands."""
    former: Sequence[ReplicaView] = ()
    """Those of the snapshot before: of many replicas few change."""


def build_snapshot(seq: int, known: Known) -> Snapshot:
    """Everything a screen needs, from what is known."""
    replicas = _replicas(known)
    by_workload: dict[str, list[ReplicaView]] = {}
    for view in replicas:
        by_workload.setdefault(view.status.workload, []).append(view)
    workloads = tuple(_workload(spec, known, by_workload.get(spec.name, [])) for spec in known.specs)
    health, reason = fleet_health(workloads, by_workload, known)
    return Snapshot(
        seq=seq,
        ts=known.ts,
        fleet=known.fleet,
        version=VERSION,
        health=health,
        health_reason=reason,
        replicas=replicas,
        workloads=workloads,
        point=known.point,
        scaling=known.scaling,
        load=known.load,
        drill=known.drill,
        drills_blocked=known.drills_blocked,
        edge_up=known.edge.up,
        public_url=known.edge.public_url,
        stats_url=known.edge.stats_url,
        metrics_url=known.metrics_url,
        consoles=known.consoles,
        loop_lag_p99_s=known.loop_lag_p99_s,
        dropped_rows=known.dropped_rows,
        driver=known.driver,
        has_edge=known.has_edge,
        edge_slots=known.edge_slots,
        limits=dict(known.limits),
        trouble=known.trouble,
        nodes=tuple(known.nodes),
        forwards=tuple(known.forwards),
        ports=tuple(known.ports),
    )


def _replicas(known: Known) -> tuple[ReplicaView, ...]:
    if not known.has_edge and not known.readings and len(known.former) == len(known.replicas):
        # Of thousands of replicas on a platform nearly all are as they were, and where they were.
        pairs = zip(known.former, known.replicas, strict=True)
        return tuple([old if old.status is status else ReplicaView(status=status) for old, status in pairs])
    servers = {server.replica: server for server in reversed(known.edge.servers)}
    former = {view.status.name: view for view in known.former}
    return tuple(
        _replica(status, known, servers.get(status.name), former.get(status.name)) for status in known.replicas
    )


def _replica(status: ReplicaStatus, known: Known, server: EdgeServer | None, former: ReplicaView | None) -> ReplicaView:
    reading = known.readings.get(status.name)
    if not known.has_edge and reading is None:
        # Its status is all there is to know of it.
        return former if former is not None and former.status is status else ReplicaView(status=status)
    traffic = known.replica_traffic(status.name)
    if not known.edge_slots and reading is None and traffic is NO_TRAFFIC:
        was_quiet = former is not None and former.status is status and former == ReplicaView(status=status)
        return former if was_quiet and former is not None else ReplicaView(status=status)
    return ReplicaView(
        status=status,
        edge=server,
        ttft=traffic.ttft,
        requests_per_s=traffic.requests_per_s,
        tokens_per_s=reading.tokens_out_per_s if reading else None,
        engine_running=reading.running if reading else None,
        engine_waiting=reading.waiting if reading else None,
    )


def is_serving(view: ReplicaView) -> bool:
    """Ready by its own probes, and chosen by the edge."""
    return view.status.phase == Phase.READY and view.edge is not None and view.edge.up


def _workload(spec: WorkloadSpec, known: Known, ours: Sequence[ReplicaView]) -> WorkloadView:
    totals = next((w for w in known.edge.workloads if w.workload == spec.name), None)
    wanted = known.wanted.of(spec.name)
    # Where the platform leads requests, Ready is all there is to know.
    ready = sum(map(is_serving, ours)) if spec.routes else list(map(_PHASE, ours)).count(Phase.READY)
    return WorkloadView(
        name=spec.name,
        wanted=wanted.replicas,
        ready=ready,
        total=len(ours) - list(map(_PHASE, ours)).count(Phase.COMPLETED),
        slots=spec.slots * ready,
        routes=spec.routes,
        queued=totals.queued if totals else 0,
        in_flight=totals.in_flight if totals else 0,
        lease=known.lease(spec.name),
        maintenance=wanted.maintenance,
        autoscale=wanted.autoscale,
        kind=spec.kind,
        rollout=known.rollouts.get(spec.name, ""),
    )


def fleet_health(
    workloads: Sequence[WorkloadView], replicas: Mapping[str, Sequence[ReplicaView]], known: Known
) -> tuple[str, str]:
    """`ok`, `degraded`, `down` or `starting`, and why in a phrase."""
    reasons: list[str] = []
    if known.trouble is not None:
        return "down", f"{known.trouble.message} {known.trouble.next_step}".strip()
    if known.has_edge and not known.edge.up:
        reasons.append("the edge does not answer" if known.edge_slots else "no replica of the edge is Ready")
    empty = [w for w in workloads if w.wanted > 0 and w.ready == 0]
    # On a platform one workload that is down is one among many that are not ours: all of them are another matter.
    grave = [w for w in empty if known.has_edge and known.edge_slots and (w.routes or not w.kind)]
    if grave or len(empty) == len([w for w in workloads if w.wanted > 0]):
        worst = grave or empty
        reasons += [f"no replica of {w.name} is Ready{_causes(replicas.get(w.name, ()))}" for w in worst[:_NAMED]]
    if reasons:
        starting = not known.was_ready and known.uptime_s < _STARTING_S
        return ("starting" if starting else "down"), "; ".join(reasons)
    short = [w for w in workloads if w.ready < w.wanted]
    reasons = [f"{w.name} has {w.ready} of {w.wanted} ready{_causes(replicas.get(w.name, ()))}" for w in short[:_NAMED]]
    if len(short) > _NAMED:
        reasons.append(f"and {len(short) - _NAMED} more workloads")
    return ("degraded", "; ".join(reasons)) if reasons else ("ok", "")


def _causes(replicas: Sequence[ReplicaView]) -> str:
    """What the replicas that do not serve are at, those alike told once, in parentheses; empty where there is none."""
    alike: dict[str, list[str]] = {}
    for status in (r.status for r in replicas if not _serves(r)):
        reason = status.reason if len(status.reason) <= _REASON else f"{status.reason[: _REASON - 1].rstrip()}…"
        alike.setdefault(f"{status.phase}{f': {reason}' if reason else ''}", []).append(status.name)
    causes = [
        f"{names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''} {why}"
        for why, names in list(alike.items())[:_NAMED]
    ]
    if left := sum(map(len, list(alike.values())[_NAMED:])):
        causes.append(f"{left} more")
    return f" ({'; '.join(causes)})" if causes else ""


def _serves(view: ReplicaView) -> bool:
    return is_serving(view) or (bool(view.status.owner) and view.edge is None and view.status.phase == Phase.READY)
