"""Columns of the replicas table that show when they are asked for: where it runs, how it ended, its counters. Pure."""

from __future__ import annotations

from typing import Final

from backend.contract.control import ReplicaView
from console.render import units
from console.render.cells import extra_ago, extra_number, extra_words
from console.state.column import Column


def _last_exit(view: ReplicaView) -> str | None:
    """`OOMKilled`, `Error 3`, `Killed signal 9`."""
    last = view.status.last_exit
    if last is None:
        return None
    how = f" {last.code}" if last.code is not None else f" signal {last.signal}" if last.signal is not None else ""
    return f"{last.reason}{how}"


def _probes(view: ReplicaView) -> str | None:
    """The probes that fail by name, or `ok`."""
    probes = view.status.probes
    failing = [probe.name for probe in probes if probe.ok is False]
    return " ".join(failing) or ("ok" if any(probe.ok for probe in probes) else None)


REPLICA_EXTRAS: Final[tuple[Column[ReplicaView], ...]] = (
    extra_words("fleet", "FLEET", 8, lambda v: v.status.fleet),
    extra_words("workload", "WORKLOAD", 9, lambda v: v.status.workload),
    extra_words("host", "HOST", 13, lambda v: v.status.host, "node"),
    extra_number("port", "PORT", lambda v: v.status.port),
    extra_number("pid", "PID", lambda v: v.status.pid, width=7),
    extra_number("shim_pid", "SHIM", lambda v: v.status.shim_pid, width=7),
    extra_words("revision", "REVISION", 8, lambda v: v.status.revision),
    extra_ago("created", "CREATED", lambda v: v.status.created_ts),
    extra_words("last_exit", "LAST EXIT", 15, _last_exit, "exit"),
    extra_ago("exited", "EXITED", lambda v: v.status.last_exit.ts if v.status.last_exit is not None else None),
    extra_words("probes", "PROBES", 9, _probes),
    extra_words("adopted", "ADOPTED", 7, lambda v: "yes" if v.status.adopted else None),
    extra_number(
        "memory_limit", "MEM MAX", lambda v: v.status.memory_limit_bytes, units.size, kind="bytes", names=("limit",)
    ),
    extra_number("ttft_p99", "P99", lambda v: v.ttft.p99_s, units.latency, kind="seconds", width=7),
    extra_number("running", "RUNNING", lambda v: v.engine_running),
    extra_number("engine_waiting", "IN ENGINE", lambda v: v.engine_waiting),
    extra_number("slot", "SLOT", lambda v: v.edge.slot if v.edge is not None else None),
    extra_number("sessions", "SESSIONS", lambda v: v.edge.sessions_total if v.edge is not None else None),
    extra_number("retries", "RETRIES", lambda v: v.edge.retries_total if v.edge is not None else None),
    extra_number("errors", "ERRORS", lambda v: v.edge.errors_total if v.edge is not None else None),
    extra_words("check", "CHECK", 10, lambda v: v.edge.check if v.edge is not None else None),
)
