"""Columns of the replicas table that show when they are asked for: where it runs, how it ended, its counters. Pure."""

from __future__ import annotations

from typing import Final

from backend.contract.control import ReplicaView
from console.render import units
from console.render.cause import exit_words
from console.render.cells import extra_ago, extra_number, extra_words
from console.render.spans import Span
from console.render.words import SHORT_KINDS
from console.state.column import Column


def containers_cell(view: ReplicaView) -> Span:
    """`1/2`: containers that are ready."""
    ready, every = view.status.containers_ready, view.status.containers
    if ready is None:
        return (units.NOTHING, "faint")
    return (f"{ready}/{every}", "text" if ready >= every else "warn")


def short_owner(owner: str) -> str:
    """`deploy/web` of `Deployment/web`: kinds as kubectl shortens them."""
    kind, slash, name = owner.partition("/")
    return f"{SHORT_KINDS.get(kind, kind)}/{name}" if slash else owner


def _ready_share(view: ReplicaView) -> float | None:
    ready = view.status.containers_ready
    return None if ready is None else ready / max(1, view.status.containers)


def _net(view: ReplicaView) -> float | None:
    known = [n for n in (view.status.net_rx_bytes_per_s, view.status.net_tx_bytes_per_s) if n is not None]
    return sum(known) if known else None


def net_words(view: ReplicaView) -> str | None:
    """Bytes a second, received and sent: `12 KiB/1.4 MiB`."""
    if _net(view) is None:
        return None
    return f"{units.size(view.status.net_rx_bytes_per_s)}/{units.size(view.status.net_tx_bytes_per_s)}"


def _image(view: ReplicaView) -> str | None:
    """Without its registry: what tells two images apart stands at the end."""
    return view.status.image.rpartition("/")[2] or None


def _probes(view: ReplicaView) -> str | None:
    """The probes that fail by name, or `ok`."""
    probes = view.status.probes
    failing = [probe.name for probe in probes if probe.ok is False]
    return " ".join(failing) or ("ok" if any(probe.ok for probe in probes) else None)


REPLICA_EXTRAS: Final[tuple[Column[ReplicaView], ...]] = (
    extra_words("fleet", "FLEET", 8, lambda v: v.status.fleet),
    extra_words("workload", "WORKLOAD", 9, lambda v: v.status.workload),
    Column(
        key="containers",
        title="READY",
        width=5,
        align="right",
        hidden=True,
        priority=1,
        cell=lambda v, _: containers_cell(v),
        sort=_ready_share,
        value=lambda v, _: v.status.containers_ready,
        kind="number",
    ),
    extra_words("node", "NODE", 9, lambda v: v.status.node),
    extra_words("owner", "OWNER", 16, lambda v: short_owner(v.status.owner)),
    extra_words("image", "IMAGE", 14, _image),
    Column(
        key="net",
        title="NET IN/OUT",
        width=15,
        align="right",
        hidden=True,
        priority=1,
        cell=lambda v, _: (net_words(v) or units.NOTHING, "text" if _net(v) else "faint"),
        sort=_net,
        kind="bytes",
    ),
    extra_words("host", "HOST", 13, lambda v: v.status.host),
    extra_number("port", "PORT", lambda v: v.status.port),
    extra_number("pid", "PID", lambda v: v.status.pid, width=7),
    extra_number("shim_pid", "SHIM", lambda v: v.status.shim_pid, width=7),
    extra_words("revision", "REVISION", 8, lambda v: v.status.revision),
    extra_ago("created", "CREATED", lambda v: v.status.created_ts),
    extra_words("last_exit", "LAST EXIT", 15, lambda v: exit_words(v.status.last_exit), "exit"),
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
