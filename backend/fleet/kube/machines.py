"""A node as the screen shows it. Pure."""

from __future__ import annotations

from typing import Final

from backend.contract.platform import NodeStatus
from backend.fleet.kube.pods import Usage
from backend.fleet.kube.quantities import quantity
from backend.fleet.kube.shapes import Node

_ROLE: Final = "node-role.kubernetes.io/"
_PRESSURES: Final = ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")


def node_status(node: Node, *, replicas: int, usage: Usage | None) -> NodeStatus:
    """`replicas`: pods of this fleet on it. `usage.cpu_percent` is of one core."""
    status = node.status
    conditions = {found.type: found for found in status.conditions or ()}
    ready = conditions.get("Ready")
    reasons: list[str] = [name for name in _PRESSURES if name in conditions and conditions[name].status == "True"]
    if ready is None or ready.status != "True":
        why = ready.message or ready.reason if ready is not None else None
        reasons.insert(
            0, "the kubelet does not report" if ready is not None and ready.status == "Unknown" else why or ""
        )
    addresses = {found.type: found.address for found in status.addresses or ()}
    capacity = status.capacity or {}
    cores, memory = quantity(capacity.get("cpu")), quantity(capacity.get("memory"))
    labels = node.metadata.labels or {}
    return NodeStatus(
        name=node.metadata.name,
        ready=ready is not None and ready.status == "True",
        schedulable=not node.spec.unschedulable,
        roles=tuple(sorted(name[len(_ROLE) :] for name in labels if name.startswith(_ROLE) and name != _ROLE)),
        version=(status.node_info.kubelet_version or "") if status.node_info is not None else "",
        address=addresses.get("InternalIP") or addresses.get("Hostname") or "",
        replicas=replicas,
        cpu_percent=usage.cpu_percent / cores if usage is not None and cores else None,
        memory_bytes=usage.memory_bytes if usage is not None else None,
        memory_capacity_bytes=int(memory) if memory is not None else None,
        reason="; ".join(reason for reason in reasons if reason),
        created_ts=node.metadata.created_ts or None,
    )
