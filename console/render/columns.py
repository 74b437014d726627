"""The columns of the replicas and workloads tables: which words and numbers are shown, how they sort. Pure."""

from __future__ import annotations

from backend.contract.control import ReplicaView, WorkloadView
from backend.contract.words import Phase
from console.render import units
from console.render.cells import number_cell
from console.render.replica_extras import REPLICA_EXTRAS
from console.render.spans import Span, clean
from console.render.words import PHASES
from console.state.table import Column


def phase_cell(view: ReplicaView) -> Span:
    glyph, style = PHASES[view.status.phase]
    return (f"{glyph} {view.status.phase}", style)


def _restarts(view: ReplicaView) -> Span:
    number = view.status.restarts
    return (str(number), "faint" if number == 0 else "warn")


def _memory(view: ReplicaView) -> Span:
    used, limit = view.status.memory_bytes, view.status.memory_limit_bytes
    hot = used is not None and limit is not None and used > 0.9 * limit
    return (units.size(used), "warn" if hot else "text" if used else "faint")


def _queue(view: ReplicaView) -> int | None:
    if view.edge is not None and view.edge.queued:
        return view.edge.queued
    return view.engine_waiting if view.engine_waiting is not None else (view.edge.queued if view.edge else None)


def _in_flight(view: ReplicaView) -> int | None:
    return view.edge.in_flight if view.edge else view.engine_running


def _edge_word(view: ReplicaView) -> Span:
    if view.edge is None:
        return (units.NOTHING, "faint")
    word = view.edge.status or view.edge.state
    return (word, "ok" if view.edge.up else "warn")


_ORDER = list(Phase)

REPLICAS: tuple[Column[ReplicaView], ...] = (
    Column(
        key="name",
        title="REPLICA",
        width=9,
        flex=2,
        middle=True,
        cell=lambda v, _: (v.status.name, "text b"),
        sort=lambda v: v.status.name,
    ),
    Column(
        key="phase",
        value=lambda v, _: str(v.status.phase),
        words=tuple(str(phase) for phase in Phase),
        title="PHASE",
        width=13,
        cell=lambda v, _: phase_cell(v),
        sort=lambda v: _ORDER.index(v.status.phase),
    ),
    Column(
        key="restarts",
        kind="number",
        title="RST",
        width=3,
        align="right",
        priority=3,
        cell=lambda v, _: _restarts(v),
        sort=lambda v: v.status.restarts,
    ),
    Column(
        key="age",
        kind="seconds",
        timely=True,
        value=lambda v, now: now - (v.status.started_ts or v.status.created_ts),
        title="AGE",
        width=4,
        align="right",
        priority=6,
        cell=lambda v, now: (units.age(now - (v.status.started_ts or v.status.created_ts)), "muted"),
        sort=lambda v: -(v.status.started_ts or v.status.created_ts),
    ),
    Column(
        key="cpu",
        kind="percent",
        title="CPU",
        width=4,
        align="right",
        priority=4,
        cell=lambda v, _: number_cell(units.percent(v.status.cpu_percent), quiet=(v.status.cpu_percent or 0) < 0.5),
        sort=lambda v: v.status.cpu_percent,
    ),
    Column(
        key="memory",
        kind="bytes",
        title="MEM",
        width=7,
        align="right",
        priority=5,
        cell=lambda v, _: _memory(v),
        sort=lambda v: v.status.memory_bytes,
    ),
    Column(
        key="in_flight",
        kind="number",
        title="BUSY",
        width=4,
        align="right",
        priority=2,
        cell=lambda v, _: number_cell(units.count(_in_flight(v)), quiet=not _in_flight(v)),
        sort=_in_flight,
    ),
    Column(
        key="queue",
        kind="number",
        names=("waiting",),
        title="WAIT",
        width=4,
        align="right",
        priority=7,
        cell=lambda v, _: (units.count(_queue(v)), "warn" if _queue(v) else "faint"),
        sort=_queue,
    ),
    Column(
        key="ttft_p50",
        kind="seconds",
        title="P50",
        width=7,
        align="right",
        priority=8,
        cell=lambda v, _: number_cell(units.latency(v.ttft.p50_s), quiet=v.ttft.p50_s is None),
        sort=lambda v: v.ttft.p50_s,
    ),
    Column(
        key="ttft_p95",
        kind="seconds",
        names=("ttft",),
        title="P95",
        width=7,
        align="right",
        priority=1,
        cell=lambda v, _: number_cell(units.latency(v.ttft.p95_s), quiet=v.ttft.p95_s is None),
        sort=lambda v: v.ttft.p95_s,
    ),
    Column(
        key="samples",
        kind="number",
        title="N",
        width=4,
        align="right",
        priority=9,
        cell=lambda v, _: (units.count(v.ttft.count), "faint"),
        sort=lambda v: v.ttft.count,
    ),
    Column(
        key="rate",
        kind="number",
        title="REQ/S",
        width=5,
        align="right",
        priority=10,
        cell=lambda v, _: number_cell(units.rate(v.requests_per_s), quiet=not v.requests_per_s),
        sort=lambda v: v.requests_per_s,
    ),
    Column(
        key="tokens",
        kind="number",
        title="TOK/S",
        width=5,
        align="right",
        priority=11,
        cell=lambda v, _: number_cell(units.rate(v.tokens_per_s), quiet=not v.tokens_per_s),
        sort=lambda v: v.tokens_per_s,
    ),
    Column(
        key="edge",
        title="EDGE",
        width=6,
        priority=12,
        cell=lambda v, _: _edge_word(v),
        sort=lambda v: _edge_word(v)[0],
    ),
    Column(
        key="reason",
        title="WHY",
        width=16,
        flex=5,
        priority=13,
        cell=lambda v, _: (clean(v.status.reason), "warn" if v.status.phase != Phase.READY else "muted"),
        sort=lambda v: v.status.reason or None,
    ),
    *REPLICA_EXTRAS,
)


def replica_haystack(view: ReplicaView) -> str:
    status = view.status
    where = f"{status.node} {status.owner} {status.image}"
    return f"{status.name} {status.workload} {status.phase} {status.fleet} {status.reason} {where}"


def is_done(view: WorkloadView) -> bool:
    """A job that came to its end: nothing is wanted of it any more."""
    return view.kind == "Job" and not view.wanted and not view.rollout


def _workload_ready(view: WorkloadView) -> Span:
    if is_done(view):
        return ("✓ done", "muted")
    style = "ok" if view.ready >= view.wanted else "warn" if view.ready else "error b"
    glyph = "●" if view.ready >= view.wanted else "◑" if view.ready else "✗"
    glyph = glyph if view.wanted or view.ready else "○"
    return (f"{glyph} {view.ready}/{view.wanted}", style if view.wanted else "muted")


def _working(view: WorkloadView) -> Span:
    words = [
        word
        for word in (
            "maintenance" if view.maintenance else "",
            "autoscale" if view.autoscale else "",
            f"{view.lease} is at work" if view.lease else "",
        )
        if word
    ]
    return (", ".join(words), "warn" if view.maintenance or view.lease else "muted")


WORKLOADS: tuple[Column[WorkloadView], ...] = (
    Column(key="name", title="WORKLOAD", width=10, flex=1, cell=lambda v, _: (v.name, "text b"), sort=lambda v: v.name),
    Column(
        key="ready", title="READY", width=8, kind="number", cell=lambda v, _: _workload_ready(v), sort=lambda v: v.ready
    ),
    Column(
        key="total",
        kind="number",
        title="RUNNING",
        width=7,
        align="right",
        priority=4,
        cell=lambda v, _: (str(v.total), "text"),
        sort=lambda v: v.total,
    ),
    Column(
        key="slots",
        kind="number",
        title="SLOTS",
        width=5,
        align="right",
        priority=3,
        cell=lambda v, _: (str(v.slots), "text"),
        sort=lambda v: v.slots,
    ),
    Column(
        key="in_flight",
        kind="number",
        title="BUSY",
        width=4,
        align="right",
        priority=1,
        cell=lambda v, _: number_cell(units.count(v.in_flight), quiet=not v.in_flight),
        sort=lambda v: v.in_flight,
    ),
    Column(
        key="queued",
        kind="number",
        title="QUEUE",
        width=5,
        align="right",
        priority=2,
        cell=lambda v, _: (units.count(v.queued), "warn" if v.queued else "faint"),
        sort=lambda v: v.queued,
    ),
    Column(
        key="routes",
        title="ROUTES",
        width=12,
        flex=2,
        priority=6,
        cell=lambda v, _: (" ".join(v.routes), "muted"),
        sort=lambda v: " ".join(v.routes),
    ),
    Column(
        key="state",
        title="STATE",
        width=14,
        flex=2,
        priority=5,
        cell=lambda v, _: _working(v),
        sort=lambda v: _working(v)[0],
    ),
    Column(
        key="kind",
        title="KIND",
        width=11,
        priority=3,
        hidden=True,
        cell=lambda v, _: (clean(v.kind), "muted"),
        sort=lambda v: v.kind or None,
    ),
    Column(
        key="rollout",
        title="ROLLOUT",
        width=16,
        flex=3,
        priority=2,
        hidden=True,
        cell=lambda v, _: (clean(v.rollout), "error" if v.rollout.startswith("stuck") else "accent"),
        sort=lambda v: v.rollout or None,
    ),
)
