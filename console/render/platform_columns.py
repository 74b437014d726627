"""The columns of the tables of nodes, ports and forwards. Pure."""

from __future__ import annotations

from functools import cache
from typing import Final

import msgspec

from backend.contract.platform import ForwardView, NodeStatus
from console.render import units
from console.render.cells import number_cell
from console.render.spans import Span, clean
from console.state.column import Column
from console.state.port_rows import PortRow

FORWARD_STATES: Final[dict[str, tuple[str, str]]] = {
    "listening": ("●", "ok"),
    "connecting": ("◔", "accent"),
    "broken": ("✗", "error"),
}
ALL_INTERFACES: Final = ("0.0.0.0", "::", "")  # noqa: S104 - words to recognise; nothing is bound here


def node_state(node: NodeStatus) -> Span:
    """Ready, cordoned or not: a glyph and a word."""
    if not node.ready:
        return ("✗ NotReady", "error b")
    if not node.schedulable:
        return ("⊘ cordoned", "warn")
    return ("◑ Ready" if node.reason else "● Ready", "warn" if node.reason else "ok")


def memory_share(node: NodeStatus) -> float | None:
    """Percent of its memory that is taken."""
    if node.memory_bytes is None or not node.memory_capacity_bytes:
        return None
    return 100 * node.memory_bytes / node.memory_capacity_bytes


def _share(value: float | None) -> Span:
    hot = value is not None and value >= 90
    return (units.percent(value), "warn" if hot else "text" if value is not None else "faint")


NODES: Final[tuple[Column[NodeStatus], ...]] = (
    Column(
        key="name", title="NODE", width=9, flex=2, cell=lambda n, _: (clean(n.name), "text b"), sort=lambda n: n.name
    ),
    Column(key="state", title="STATE", width=10, cell=lambda n, _: node_state(n), sort=lambda n: node_state(n)[0]),
    Column(
        key="replicas",
        kind="number",
        title="REPLICAS",
        width=8,
        align="right",
        priority=1,
        cell=lambda n, _: number_cell(str(n.replicas), quiet=not n.replicas),
        sort=lambda n: n.replicas,
    ),
    Column(
        key="cpu",
        kind="percent",
        title="CPU",
        width=4,
        align="right",
        priority=2,
        cell=lambda n, _: _share(n.cpu_percent),
        sort=lambda n: n.cpu_percent,
    ),
    Column(
        key="memory",
        kind="percent",
        title="MEM",
        width=4,
        align="right",
        priority=3,
        cell=lambda n, _: _share(memory_share(n)),
        sort=memory_share,
    ),
    Column(
        key="capacity",
        kind="bytes",
        title="OF",
        width=7,
        align="right",
        priority=6,
        cell=lambda n, _: (units.size(n.memory_capacity_bytes), "muted"),
        sort=lambda n: n.memory_capacity_bytes,
    ),
    Column(
        key="age",
        kind="seconds",
        timely=True,
        title="AGE",
        width=4,
        align="right",
        priority=7,
        value=lambda n, now: None if n.created_ts is None else now - n.created_ts,
        cell=lambda n, now: (units.age(None if n.created_ts is None else now - n.created_ts), "muted"),
        sort=lambda n: None if n.created_ts is None else -n.created_ts,
    ),
    Column(
        key="roles",
        title="ROLES",
        width=13,
        flex=1,
        priority=8,
        cell=lambda n, _: (clean(" ".join(n.roles)), "muted") if n.roles else (units.NOTHING, "faint"),
        sort=lambda n: " ".join(n.roles) or None,
    ),
    Column(
        key="version",
        title="VERSION",
        width=9,
        priority=9,
        cell=lambda n, _: (clean(n.version), "muted"),
        sort=lambda n: n.version or None,
    ),
    Column(
        key="address",
        title="ADDRESS",
        width=13,
        priority=10,
        cell=lambda n, _: (clean(n.address), "muted"),
        sort=lambda n: n.address or None,
    ),
    Column(
        key="reason",
        title="WHY",
        width=14,
        flex=3,
        priority=4,
        cell=lambda n, _: (clean(n.reason), "warn" if n.reason else "muted"),
        sort=lambda n: n.reason or None,
    ),
)


def node_haystack(node: NodeStatus) -> str:
    return f"{node.name} {node_state(node)[0]} {' '.join(node.roles)} {node.reason}"


def _port(value: int | None) -> Span:
    return number_cell(units.NOTHING if value is None else str(value), quiet=value is None)


PORTS: Final[tuple[Column[PortRow], ...]] = (
    Column(
        key="workload",
        title="WORKLOAD",
        width=10,
        flex=1,
        cell=lambda p, _: (clean(p.view.workload) or units.NOTHING, "text b" if p.view.workload else "faint"),
        sort=lambda p: p.view.workload or None,
    ),
    Column(
        key="source",
        title="THROUGH",
        width=14,
        flex=2,
        cell=lambda p, _: (clean(p.view.source), "text"),
        sort=lambda p: p.view.source,
    ),
    Column(
        key="port",
        kind="number",
        title="CONTAINER",
        width=9,
        align="right",
        priority=1,
        cell=lambda p, _: _port(p.view.container_port),
        sort=lambda p: p.view.container_port,
    ),
    Column(
        key="service",
        kind="number",
        title="SERVICE",
        width=7,
        align="right",
        priority=2,
        cell=lambda p, _: _port(p.view.service_port),
        sort=lambda p: p.view.service_port,
    ),
    Column(
        key="node",
        kind="number",
        title="NODE",
        width=5,
        align="right",
        priority=3,
        names=("published",),
        cell=lambda p, _: _port(p.view.node_port),
        sort=lambda p: p.view.node_port,
    ),
    Column(
        key="here",
        title="HERE",
        width=5,
        align="right",
        priority=5,
        names=("forwarded",),
        cell=lambda p, _: (" ".join(str(port) for port in p.here) or units.NOTHING, "accent" if p.here else "faint"),
        sort=lambda p: p.here[0] if p.here else None,
    ),
    Column(
        key="protocol",
        title="PROTO",
        width=5,
        priority=6,
        cell=lambda p, _: (p.view.protocol, "muted"),
        sort=lambda p: p.view.protocol,
    ),
    Column(
        key="name",
        title="NAME",
        width=8,
        priority=7,
        cell=lambda p, _: (clean(p.view.name), "muted"),
        sort=lambda p: p.view.name or None,
    ),
    Column(
        key="url",
        title="OPEN",
        width=18,
        flex=3,
        priority=4,
        cell=lambda p, _: (clean(p.view.url), "accent"),
        sort=lambda p: p.view.url or None,
    ),
)


@cache
def port_columns(driver: str) -> tuple[Column[PortRow], ...]:
    """Docker publishes on its machine and names no ports; Kubernetes has services and nodes."""
    if driver != "docker":
        return PORTS
    other: dict[str, dict[str, object]] = {
        "node": {"title": "HOST"},
        "service": {"hidden": True},
        "name": {"hidden": True},
    }
    return tuple(msgspec.structs.replace(column, **other.get(column.key, {})) for column in PORTS)


def port_haystack(row: PortRow) -> str:
    port = row.view
    return f"{port.workload} {port.source} {port.name} {port.container_port} {port.service_port} {port.url}"


def bound_words(forward: ForwardView) -> Span:
    """Where it listens; all interfaces stand out."""
    everywhere = forward.bind in ALL_INTERFACES
    return (f"{'▲ all' if everywhere else forward.bind}:{forward.local_port}", "warn" if everywhere else "text")


def _state(forward: ForwardView) -> Span:
    glyph, style = FORWARD_STATES[forward.state]
    return (f"{glyph} {forward.state}", style)


FORWARDS: Final[tuple[Column[ForwardView], ...]] = (
    Column(
        key="local",
        title="HERE",
        width=15,
        cell=lambda f, _: bound_words(f),
        sort=lambda f: f.local_port,
        kind="number",
    ),
    Column(
        key="target",
        title="LEADS TO",
        width=14,
        flex=2,
        cell=lambda f, _: (f"{clean(f.target)}:{f.port}", "text b"),
        sort=lambda f: f.target,
    ),
    Column(key="state", title="STATE", width=12, priority=1, cell=lambda f, _: _state(f), sort=lambda f: f.state),
    Column(
        key="connections",
        kind="number",
        title="OPEN",
        width=4,
        align="right",
        priority=3,
        cell=lambda f, _: number_cell(str(f.connections), quiet=not f.connections),
        sort=lambda f: f.connections,
    ),
    Column(
        key="bytes",
        kind="bytes",
        title="CARRIED",
        width=8,
        align="right",
        priority=4,
        cell=lambda f, _: number_cell(units.size(f.bytes_in + f.bytes_out), quiet=not f.bytes_in + f.bytes_out),
        sort=lambda f: f.bytes_in + f.bytes_out,
    ),
    Column(
        key="restarts",
        kind="number",
        title="RST",
        width=3,
        align="right",
        priority=5,
        cell=lambda f, _: (str(f.restarts), "warn" if f.restarts else "faint"),
        sort=lambda f: f.restarts,
    ),
    Column(
        key="replica",
        title="REPLICA",
        width=18,
        flex=1,
        priority=6,
        cell=lambda f, _: (clean(f.detail if f.state == "broken" else f.replica), "warn" if f.detail else "muted"),
        sort=lambda f: f.replica or None,
    ),
    Column(
        key="url",
        title="OPEN IT",
        width=24,
        flex=2,
        priority=2,
        cell=lambda f, _: (clean("  ".join(f.urls)), "accent"),
        sort=lambda f: f.urls[0] if f.urls else None,
    ),
)


def forward_haystack(forward: ForwardView) -> str:
    where = f"{forward.target} {forward.port} {forward.local_port} {forward.replica}"
    return f"{where} {forward.state} {' '.join(forward.urls)}"
