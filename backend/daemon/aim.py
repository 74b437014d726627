"""Where a forward leads: from a target's name and a port to replicas and the port of each.

Reads what the driver sees; opens nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from backend.actions.executor import unknown
from backend.contract.errors import UsageError
from backend.contract.fleet import Fleet, ReplicaStatus, WorkloadSpec
from backend.contract.platform import HasPorts, PortView
from backend.contract.words import Phase

_SERVICES: Final = ("service", "svc", "services")


class Aim(msgspec.Struct, frozen=True, kw_only=True):
    """One target, understood: a single replica or all of a workload, at a port (0: each one's main port)."""

    workload: str
    replica: str = ""
    """Only this one; empty: any of the workload."""
    port: int = 0

    def ready(self, fleet: Fleet) -> list[str]:
        """Who can be led to now, in the driver's order."""
        return [status.name for status in fleet.observe() if self.concerns(status) and status.phase == Phase.READY]

    def concerns(self, status: ReplicaStatus) -> bool:
        """Whether a change of that replica may matter."""
        return status.name == self.replica if self.replica else status.workload == self.workload


def aim_at(fleet: Fleet, specs: Sequence[WorkloadSpec], target: str, port: int) -> Aim:
    """A workload of `specs` is a target even while it has no replica. Raises UsageError, with the nearest name, for a
    target that is neither replica, workload nor service, and for a port that must be named."""
    kind, slash, name = target.partition("/")
    name = name if slash else target
    rows: Sequence[PortView] = fleet.ports() if isinstance(fleet, HasPorts) else ()
    service = _service(rows, name, port)
    replicas = fleet.observe()
    if service is not None and (kind in _SERVICES or service.service_port == port):
        return Aim(workload=service.workload, port=service.container_port or port)
    for status in replicas:
        if status.name == name:
            main = port or _declared(specs, status.workload)
            main = main or _main_port(rows, status.workload, status.port is not None)
            return Aim(workload=status.workload, replica=name, port=main)
    own = [status.port is not None for status in replicas if status.workload == name]
    # Replicas of ours get a port when they come; of the platform's, a declared one is known.
    own = own or [not spec.kind or spec.port > 0 for spec in specs if spec.name == name]
    if own:
        return Aim(workload=name, port=port or _declared(specs, name) or _main_port(rows, name, own[0]))
    if service is not None:
        return Aim(workload=service.workload, port=service.container_port or port)
    names = {name for status in replicas for name in (status.workload, status.name)} | {spec.name for spec in specs}
    services = {row.source.partition(" ")[2] for row in rows if row.source.startswith("service ")}
    raise unknown("replica, workload or service", name, sorted(names | services))


def _service(rows: Sequence[PortView], name: str, port: int) -> PortView | None:
    """The service's row for that port (0: its first) with something behind it."""
    ours = [row for row in rows if row.source == f"service {name}" and row.workload]
    if not port:
        return ours[0] if ours else None
    exact = [row for row in ours if port in (row.service_port, row.container_port)]
    return exact[0] if exact else None


def _declared(specs: Sequence[WorkloadSpec], workload: str) -> int:
    """The port that trinity.yaml says of a workload of the platform's own, whatever others it has; 0 where none."""
    return next((spec.port for spec in specs if spec.name == workload and spec.kind), 0)


def _main_port(rows: Sequence[PortView], workload: str, driver_knows: bool) -> int:
    """The one that is meant where none is named; 0 where the driver itself knows it."""
    ports = sorted({row.container_port for row in rows if row.workload == workload and row.container_port})
    if len(ports) > 1:
        raise UsageError(f"{workload} has the ports {', '.join(map(str, ports))}.", "Name one: TARGET:PORT.")
    if not ports and not driver_knows:
        raise UsageError(f"No port of {workload} is known.", "Name one: TARGET:PORT.")
    return ports[0] if ports else 0
