"""The fleet as Prometheus text and as JSON: pure functions, snapshot in, bytes out.

Owns the exported names. `/metrics` is the Prometheus text format 0.0.4, never OpenMetrics: there a counter must
end in `_total`, and `trinity_total_requests` does not (Prometheus takes it as it stands; prometheus_client's
parser shows it as `trinity_total_requests_total`).

A gauge that is not known and a quantile without samples are `NaN`, as Prometheus summaries do it: never 0. The
quantiles of `trinity_ttft_seconds` are exact, over the streaming requests that ended in the last 60 s, while its
`_sum` and `_count` and the histogram `trinity_request_ttft_seconds` cover the life of the daemon.

A daemon with one fleet exports it without a label that says so. With several, all that is of one fleet has its name as
`fleet`; what is of the machine and of the daemon itself stands once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

from backend.contract.control import FleetInfo, Quantiles, ReplicaView, SeriesPoint, Snapshot
from backend.contract.words import Phase
from backend.quantiles import Histogram
from backend.telemetry.looplag import LoopLag
from backend.telemetry.machine import MachineReading
from backend.telemetry.traffic import TrafficView

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_Kind = Literal["counter", "gauge", "summary", "histogram"]
_Labels = Mapping[str, str]


class Exposition(msgspec.Struct, frozen=True, kw_only=True):
    """All that `/metrics` is made of."""

    snapshot: Snapshot
    traffic: TrafficView = TrafficView()
    workload_traffic: dict[str, TrafficView] = {}
    ttft_histograms: dict[str, Histogram] = {}
    """Per workload, over the daemon's life."""
    tokens_out_total: float | None = None
    tokens_in_total: float | None = None
    tokens_out_per_s: float | None = None
    machine: MachineReading | None = None
    loop_lag: LoopLag = LoopLag()
    fleets: tuple[FleetInfo, ...] = ()
    """All of the daemon, where it has more than the one that everything above is about, which is the first of them."""
    others: dict[str, Exposition] = {}
    """By name, the further ones that are open."""


class _Page:
    """Lines of an exposition. A family that is begun again goes on where it stands: each is declared once."""

    def __init__(self) -> None:
        self._families: dict[str, list[str]] = {}
        self._lines: list[str] = []
        self.common: _Labels = {}
        """Of all samples that follow."""

    def family(self, name: str, kind: _Kind, text: str) -> None:
        self._lines = self._families.setdefault(name, [f"# HELP {name} {text}", f"# TYPE {name} {kind}"])

    def sample(self, name: str, value: float | None, labels: _Labels | None = None) -> None:
        held = {**self.common, **(labels or {})}
        inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in held.items())
        self._lines.append(f"{name}{{{inside}}} {_number(value)}" if inside else f"{name} {_number(value)}")

    def single(self, name: str, kind: _Kind, text: str, value: float | None) -> None:
        self.family(name, kind, text)
        self.sample(name, value)

    def text(self) -> str:
        return "\n".join(line for family in self._families.values() for line in family) + "\n"


def metrics_text(state: Exposition) -> str:
    """The body of `/metrics`."""
    page = _Page()
    _machine(page, state.machine)
    _fleet(page, state, name=state.fleets[0].name if state.fleets else "")
    for name, other in state.others.items():
        _fleet(page, other, name=name)
    _daemon(page, state)
    _fleets(page, state.fleets)
    return page.text()


def _fleet(page: _Page, state: Exposition, *, name: str) -> None:
    """All that is of one fleet, with its name where it has one."""
    page.common = {"fleet": name} if name else {}
    _fleet_counters(page, state)
    _fleet_gauges(page, state)
    _ttft(page, state)
    _workloads(page, state)
    _replicas(page, state.snapshot.replicas)
    _autoscaler(page, state.snapshot)
    page.common = {}


def _fleets(page: _Page, fleets: Sequence[FleetInfo]) -> None:
    if not fleets:
        return
    page.family("trinity_fleet_ok", "gauge", "1 if all is well in that fleet of the daemon, else 0.")
    for info in fleets:
        page.sample("trinity_fleet_ok", int(info.health == "ok"), {"fleet": info.name, "driver": info.driver})
    page.family("trinity_fleet_replicas", "gauge", "Replicas that exist in that fleet of the daemon.")
    for info in fleets:
        page.sample("trinity_fleet_replicas", info.replicas, {"fleet": info.name, "driver": info.driver})


def _fleet_counters(page: _Page, state: Exposition) -> None:
    totals = state.traffic.totals
    page.single("trinity_total_requests", "counter", "Requests that ended at the edge.", totals.requests)
    page.single(
        "trinity_total_tokens", "counter", "Output tokens that the engines reported.", state.tokens_out_total or 0
    )
    page.single("trinity_total_errors", "counter", "Requests whose caller got no answer or an error.", totals.errors)
    page.single("trinity_shed_requests_total", "counter", "Requests refused because the fleet was full.", totals.shed)
    page.single("trinity_retries_total", "counter", "Extra attempts that the edge made.", totals.retries)
    page.single(
        "trinity_prompt_tokens_total", "counter", "Prompt tokens the engines computed.", state.tokens_in_total or 0
    )
    dropped = state.snapshot.dropped_rows
    page.single("trinity_dropped_rows_total", "counter", "Ledger rows lost since the daemon started.", dropped)


def _machine(page: _Page, machine: MachineReading | None) -> None:
    gauges: tuple[tuple[str, str, str], ...] = (
        ("cpu_percent", "trinity_cpu_usage_percent", "CPU in use on this machine, 0 to 100."),
        ("memory_percent", "trinity_memory_usage_percent", "Memory in use, 0 to 100."),
        ("memory_available_bytes", "trinity_memory_available_bytes", "Memory that can be taken."),
    )
    for attribute, name, text in gauges:
        page.single(name, "gauge", text, None if machine is None else float(getattr(machine, attribute)))


def _fleet_gauges(page: _Page, state: Exposition) -> None:
    snapshot = state.snapshot
    gauges: tuple[tuple[str, str, float | None], ...] = (
        ("trinity_queue_depth", "Requests waiting at the edge for a slot.", snapshot.point.queued),
        ("trinity_active_requests", "Requests in flight in replicas.", snapshot.point.in_flight),
        ("trinity_instance_count", "Replicas that exist.", len(snapshot.replicas)),
        ("trinity_healthy_instances", "Replicas that are Ready.", _ready(snapshot.replicas)),
        ("trinity_throughput_tokens_per_second", "Output tokens per second, last 10 s.", state.tokens_out_per_s),
        ("trinity_requests_per_second", "Requests ended per second, last 10 s.", state.traffic.requests_per_s),
        ("trinity_errors_per_second", "Failed requests per second, last 10 s.", state.traffic.errors_per_s),
        ("trinity_retry_share", "Extra attempts per request, last 30 s.", state.traffic.retry_share),
        ("trinity_edge_up", "1 if the edge answers.", float(snapshot.edge_up) if snapshot.has_edge else None),
        ("trinity_consoles", "Consoles attached.", snapshot.consoles),
    )
    for name, text, value in gauges:
        page.single(name, "gauge", text, value)


def _ttft(page: _Page, state: Exposition) -> None:
    name = "trinity_ttft_seconds"
    page.family(name, "summary", "Time to first token of streaming requests, last 60 s.")
    _quantiles(page, name, state.traffic.ttft)
    page.sample(f"{name}_sum", sum(histogram.total for histogram in state.ttft_histograms.values()))
    page.sample(f"{name}_count", sum(histogram.count for histogram in state.ttft_histograms.values()))
    page.single("trinity_ttft_samples", "gauge", "Samples behind the quantiles.", state.traffic.ttft.count)
    name = "trinity_request_ttft_seconds"
    page.family(name, "histogram", "Time to first token of streaming requests since the daemon started.")
    for workload, histogram in state.ttft_histograms.items():
        for bound, count in histogram.cumulative().items():
            page.sample(f"{name}_bucket", count, {"workload": workload, "le": _number(bound)})
        page.sample(f"{name}_sum", histogram.total, {"workload": workload})
        page.sample(f"{name}_count", histogram.count, {"workload": workload})


def _quantiles(page: _Page, name: str, seen: Quantiles, labels: _Labels | None = None) -> None:
    for quantile, value in (("0.5", seen.p50_s), ("0.95", seen.p95_s), ("0.99", seen.p99_s)):
        page.sample(name, value, {**(labels or {}), "quantile": quantile})


def _workloads(page: _Page, state: Exposition) -> None:
    views = state.snapshot.workloads
    gauges: tuple[tuple[str, str, str], ...] = (
        ("wanted", "replicas_wanted", "Replicas asked for."),
        ("ready", "replicas_ready", "Replicas that are Ready."),
        ("queued", "queue_depth", "Requests waiting at the edge for a slot."),
        ("in_flight", "active_requests", "Requests in flight."),
        ("slots", "slots", "Requests that Ready replicas take at once."),
        ("maintenance", "maintenance", "1 in maintenance mode."),
    )
    for attribute, name, text in gauges:
        page.family(f"trinity_workload_{name}", "gauge", text)
        for view in views:
            page.sample(f"trinity_workload_{name}", float(getattr(view, attribute)), {"workload": view.name})
    counters: tuple[tuple[str, str], ...] = (
        ("requests", "Requests that ended at the edge."),
        ("errors", "Requests whose caller got no answer or an error."),
        ("shed", "Requests refused because the workload was full."),
        ("retries", "Extra attempts that the edge made."),
    )
    for name, text in counters:
        page.family(f"trinity_workload_{name}_total", "counter", text)
        for workload, traffic in state.workload_traffic.items():
            value = float(getattr(traffic.totals, name))
            page.sample(f"trinity_workload_{name}_total", value, {"workload": workload})
    page.family("trinity_workload_ttft_seconds", "summary", "Time to first token, last 60 s.")
    for workload, traffic in state.workload_traffic.items():
        _quantiles(page, "trinity_workload_ttft_seconds", traffic.ttft, {"workload": workload})


def _replicas(page: _Page, replicas: Sequence[ReplicaView]) -> None:
    def gauge(name: str, text: str, values: Sequence[float | None], kind: _Kind = "gauge") -> None:
        page.family(name, kind, text)
        for view, value in zip(replicas, values, strict=True):
            if value is not None:
                page.sample(name, value, {"workload": view.status.workload, "replica": view.status.name})

    statuses = [view.status for view in replicas]
    edges = [view.edge for view in replicas]
    gauge("trinity_replica_ready", "1 if Ready.", [float(status.phase is Phase.READY) for status in statuses])
    gauge("trinity_replica_restarts_total", "Restarts.", [status.restarts for status in statuses], "counter")
    gauge("trinity_replica_up", "1 if the edge would choose it.", [float(edge.up) if edge else None for edge in edges])
    gauge(
        "trinity_replica_active_requests", "Requests in flight.", [edge.in_flight if edge else None for edge in edges]
    )
    gauge("trinity_replica_queue_depth", "Requests queued for it.", [edge.queued if edge else None for edge in edges])
    gauge("trinity_replica_engine_running", "Busy slots.", [view.engine_running for view in replicas])
    gauge("trinity_replica_engine_waiting", "Requests it holds back.", [view.engine_waiting for view in replicas])
    gauge("trinity_replica_tokens_per_second", "Output, last 10 s.", [view.tokens_per_s for view in replicas])
    gauge("trinity_replica_cpu_percent", "Of one core.", [status.cpu_percent for status in statuses])
    gauge("trinity_replica_memory_bytes", "Resident memory.", [status.memory_bytes for status in statuses])
    page.family("trinity_replica_ttft_seconds", "summary", "Time to first token, last 60 s.")
    for view in replicas:
        labels = {"workload": view.status.workload, "replica": view.status.name}
        _quantiles(page, "trinity_replica_ttft_seconds", view.ttft, labels)


def _autoscaler(page: _Page, snapshot: Snapshot) -> None:
    gauges: tuple[tuple[str, str], ...] = (
        ("enabled", "1 if it acts."),
        ("current", "Replicas it counts."),
        ("minimum", "Fewest it may want."),
        ("maximum", "Most it may want, clamped to what memory holds."),
        ("cooldown_left_s", "Seconds until it may act again."),
    )
    for attribute, text in gauges:
        name = f"trinity_autoscaler_{attribute.removesuffix('_s')}" + ("_seconds" if attribute.endswith("_s") else "")
        page.family(name, "gauge", text)
        for view in snapshot.scaling:
            labels = {"workload": view.workload, "policy": view.policy}
            page.sample(name, float(getattr(view, attribute)), labels)


def _daemon(page: _Page, state: Exposition) -> None:
    snapshot, lag = state.snapshot, state.loop_lag
    page.family("trinity_loop_lag_seconds", "summary", "Lateness of the daemon's event loop, last 60 s.")
    for quantile, value in (("0.5", lag.p50_s), ("0.99", lag.p99_s), ("1", lag.max_s)):
        page.sample("trinity_loop_lag_seconds", value, {"quantile": quantile})
    page.family("trinity_build_info", "gauge", "Always 1; the version is a label.")
    page.sample("trinity_build_info", 1, {"version": snapshot.version, "fleet": snapshot.fleet})


def status_json(snapshot: Snapshot) -> bytes:
    """The body of `/status`: the snapshot as it is on the wire (see contract.control.Snapshot).

    Keys are snake case with the unit at their end (`_s` seconds, `_bytes`, `_percent` 0..100, `_per_s`); unknown
    is null.
    """
    return msgspec.json.encode(snapshot)


class Dashboard(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `/dashboard`: what a page of charts needs, and nothing to compute."""

    ts: float
    fleet: str
    health: str
    health_reason: str
    edge_up: bool
    replicas_ready: int
    replicas_wanted: int
    queue_depth: int
    active_requests: int
    requests_per_s: float
    tokens_per_s: float
    errors_per_s: float
    cpu_percent: float
    memory_percent: float
    ttft: Quantiles
    """Over the last 60 s, with its sample count; null when idle."""
    replicas: tuple[DashboardReplica, ...]
    series: tuple[SeriesPoint, ...]
    """One point a second, oldest first."""


class DashboardReplica(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the dashboard's table."""

    name: str
    workload: str
    phase: Phase
    reason: str
    restarts: int
    in_flight: int | None
    queued: int | None
    cpu_percent: float | None
    memory_bytes: int | None
    requests_per_s: float
    tokens_per_s: float | None
    ttft: Quantiles


def dashboard_json(snapshot: Snapshot, series: Sequence[SeriesPoint]) -> bytes:
    """The body of `/dashboard` (see Dashboard for its keys)."""
    point = snapshot.point
    return msgspec.json.encode(
        Dashboard(
            ts=snapshot.ts,
            fleet=snapshot.fleet,
            health=snapshot.health,
            health_reason=snapshot.health_reason,
            edge_up=snapshot.edge_up,
            replicas_ready=point.ready,
            replicas_wanted=point.wanted,
            queue_depth=point.queued,
            active_requests=point.in_flight,
            requests_per_s=point.requests_per_s,
            tokens_per_s=point.tokens_per_s,
            errors_per_s=point.errors_per_s,
            cpu_percent=point.cpu_percent,
            memory_percent=point.memory_percent,
            ttft=point.ttft,
            replicas=tuple(_dashboard_replica(view) for view in snapshot.replicas),
            series=tuple(series),
        )
    )


def _dashboard_replica(view: ReplicaView) -> DashboardReplica:
    return DashboardReplica(
        name=view.status.name,
        workload=view.status.workload,
        phase=view.status.phase,
        reason=view.status.reason,
        restarts=view.status.restarts,
        in_flight=view.edge.in_flight if view.edge else None,
        queued=view.edge.queued if view.edge else None,
        cpu_percent=view.status.cpu_percent,
        memory_bytes=view.status.memory_bytes,
        requests_per_s=view.requests_per_s,
        tokens_per_s=view.tokens_per_s,
        ttft=view.ttft,
    )


def _ready(replicas: Sequence[ReplicaView]) -> int:
    return sum(view.status.phase is Phase.READY for view in replicas)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))
