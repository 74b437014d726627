"""Descriptions as lines: a replica (probes, last exit, log tail, requests), any ledger row, raw data. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from backend.contract.control import ReplicaView
from backend.contract.fleet import ExitRecord, ProbeStatus
from backend.contract.rows import EventRow, LogRow, RequestRow
from console.render import units
from console.render.columns import phase_cell
from console.render.description import LABEL, field, platform_fields, section
from console.render.log_lines import layout, log_lines
from console.render.panels import event_line, wrapped
from console.render.spans import Line, clean, fit_line
from console.render.words import REQUESTS


def replica_lines(
    view: ReplicaView,
    *,
    requests: Sequence[RequestRow],
    events: Sequence[EventRow],
    logs: Sequence[LogRow],
    now: float,
    width: int,
    has_edge: bool = True,
    edge_slots: bool = True,
    more: Sequence[Line] = (),
) -> list[Line]:
    """Everything one wants to know of a replica, the most urgent first; `more` is what its platform says besides."""
    status = view.status
    platform = platform_fields(status, width)
    lines: list[Line] = [
        field("phase", phase_cell(view), ("" if platform else f"   {clean(status.reason)}", "warn")),
        *platform,
        field(
            "process",
            (f"pid {status.pid}" if status.pid else "none", "text"),
            (f"   shim {status.shim_pid}" if status.shim_pid else "", "muted"),
            ("   adopted" if status.adopted else "", "accent"),
        ),
        field(
            "age",
            (units.age(now - (status.started_ts or status.created_ts)), "text"),
            (f"   created {units.age(now - status.created_ts)} ago", "muted"),
            (f"   {units.plural(status.restarts, 'restart')}", "warn" if status.restarts else "muted"),
        ),
        field(
            "address",
            (f"{status.host}:{status.port}" if status.port else units.NOTHING, "text"),
            (f"   health on {status.health_port}" if status.health_port else "", "muted"),
        ),
        field(
            "resources",
            (f"cpu {units.percent(status.cpu_percent)} of a core", "text"),
            (f"   memory {units.size(status.memory_bytes)}", "text"),
            (f" of {units.size(status.memory_limit_bytes)}" if status.memory_limit_bytes else ", no limit", "muted"),
        ),
        field(
            "belongs to", (f"{status.workload}", "text"), (f" in {status.fleet}", "muted"), _revision(status.revision)
        ),
    ]
    if has_edge and edge_slots:
        lines.append(field("edge", *_edge(view)))
    if has_edge:
        lines.append(field("TTFT", *_ttft(view)))
    if status.next_start_ts is not None:
        wait = max(0.0, status.next_start_ts - now)
        lines.append(field("back-off", (f"starts again in {units.age(wait)}", "warn")))
    lines += section("Probes") + (
        [_probe(probe, now) for probe in status.probes] or [(("none are configured", "faint"),)]
    )
    lines += section("Last exit") + _exit_lines(status.last_exit, now, width)
    lines += more
    if has_edge:
        lines += section(f"Requests ({len(requests)} newest)")
        lines += [_request(row) for row in reversed(requests)] or [(("none yet", "faint"),)]
    lines += section("Events of the ledger" if more else "Events") + (
        [event_line(row) for row in reversed(events)] or [(("none yet", "faint"),)]
    )
    look = layout(width, [status.name], brief=True)
    tail = [line for row in logs for line in log_lines(row, look)]
    lines += section("Log tail") + (tail or [(("no lines yet", "faint"),)])
    return lines


def _revision(text: str) -> tuple[str, str]:
    return (f"   revision {text}" if text else "", "muted")


def _edge(view: ReplicaView) -> list[tuple[str, str]]:
    edge = view.edge
    if edge is None:
        return [("has no slot", "muted")]
    return [
        (edge.status, "ok" if edge.up else "warn"),
        (f"   slot {edge.slot} {edge.state}", "muted"),
        (f"   {edge.in_flight} in flight", "text"),
        (f"   {edge.queued} waiting", "warn" if edge.queued else "text"),
        (f"   {units.count(edge.sessions_total)} served", "muted"),
        (f"   {units.count(edge.retries_total)} retried", "warn" if edge.retries_total else "muted"),
        (f"   {units.count(edge.errors_total)} errors", "error" if edge.errors_total else "muted"),
    ]


def _ttft(view: ReplicaView) -> list[tuple[str, str]]:
    ttft = view.ttft
    if ttft.count == 0:
        return [(f"idle: no streamed answer in {ttft.window_s:.0f} s", "muted")]
    return [
        (
            f"p50 {units.latency(ttft.p50_s)}   p95 {units.latency(ttft.p95_s)}   p99 {units.latency(ttft.p99_s)}",
            "text",
        ),
        (f"   of {units.count(ttft.count)} in {ttft.window_s:.0f} s", "muted"),
    ]


def _probe(probe: ProbeStatus, now: float) -> Line:
    glyph, word, style = {True: ("✓", "passes", "ok"), False: ("✗", "fails", "error"), None: ("○", "waits", "muted")}[
        probe.ok
    ]
    return (
        (probe.name.ljust(LABEL), "muted"),
        (f"{glyph} {word}".ljust(10), style),
        (clean(probe.detail), "text"),
        (f"   {units.plural(probe.failures, 'failure')} in a row" if probe.failures else "", "warn"),
        (f"   took {units.latency(probe.latency_s)}" if probe.latency_s is not None else "", "faint"),
        (f"   {units.age(now - probe.last_ts)} ago" if probe.last_ts is not None else "", "faint"),
    )


def _exit_lines(record: ExitRecord | None, now: float, width: int) -> list[Line]:
    if record is None:
        return [(("it has never exited", "faint"),)]
    how = f"signal {record.signal}" if record.signal is not None else f"code {record.code}"
    bad = record.reason not in ("Completed", "Stopped")
    lines: list[Line] = [
        field(
            "ended",
            (f"{units.age(now - record.ts)} ago at {units.time_of_day(record.ts)}", "text"),
            (f"   {record.reason}", "error" if bad else "text"),
            (f"   {how if record.signal is not None or record.code is not None else 'cause unknown'}", "text"),
            (f"   pid {record.pid}" if record.pid else "", "muted"),
            (f"   peak memory {units.size(record.max_rss_bytes)}" if record.max_rss_bytes else "", "muted"),
        )
    ]
    for text in record.last_lines[-6:]:
        lines += wrapped(text, width - 2, "muted", indent="  ")
    return lines


def _request(row: RequestRow) -> Line:
    glyph, style = REQUESTS[row.outcome]
    return (
        (units.time_of_day(row.ts), "faint"),
        (f" {glyph} {row.status} ".ljust(8), style),
        (f"ttft {units.latency(row.ttft_s)}".ljust(15), "text"),
        (f"total {units.latency(row.total_s)}".ljust(15), "text"),
        (f"{units.plural(row.retries, 'retry').replace('retrys', 'retries')}  " if row.retries else "", "warn"),
        (f"{clean(row.route)}  ", "muted"),
        (clean(row.request_id), "faint"),
    )


def row_lines(row: msgspec.Struct, width: int) -> list[Line]:
    """Any ledger row, a field a line; times are written for people as well."""
    lines: list[Line] = []
    data = msgspec.structs.asdict(row)
    label = max(len(name) for name in data) + 2
    for name, value in data.items():
        shown = units.NOTHING if value is None else str(value)
        if name.endswith("ts") and isinstance(value, float):
            shown = f"{units.time_of_day(value)}   {value:.3f}"
        elif name.endswith("_s") and isinstance(value, float):
            shown = units.latency(value)
        elif isinstance(value, dict):
            shown = "  ".join(f"{key}={item}" for key, item in value.items()) or units.NOTHING
        style = "faint" if shown == units.NOTHING else "text"
        for at, line in enumerate(wrapped(shown, max(10, width - label), style)):
            lines.append(((name.ljust(label) if at == 0 else " " * label, "muted"), *line))
    return lines


def raw_lines(data: Any, width: int, indent: int = 0) -> list[Line]:
    """Data as indented `key: value` lines: readable, and complete."""
    pad = "  " * indent
    lines: list[Line] = []
    pairs = data.items() if isinstance(data, dict) else ((f"- {at}", item) for at, item in enumerate(data))
    for key, value in pairs:
        if isinstance(value, dict | list | tuple) and value:
            lines.append(((f"{pad}{key}:", "accent"),))
            lines += raw_lines(value, width, indent + 1)
        else:
            shown = _json_word(value)
            style = "faint" if value is None else "text"
            lines.append(fit_line(((f"{pad}{key}: ", "accent"), (clean(shown), style)), width))
    return lines


def _json_word(value: Any) -> str:
    """A scalar as JSON spells it; strings without quotes."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list | tuple):
        return "{}" if isinstance(value, dict) else "[]"
    return "null" if value is None else str(value)
