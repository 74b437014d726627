"""An edge in memory: slots as data, and requests as counters."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

import msgspec

from backend.contract.edge import EdgeObservation, EdgeServer, EdgeWorkload, SlotAssignment
from backend.contract.errors import Refused
from backend.contract.fleet import WorkloadSpec
from backend.contract.words import SlotState


class FakeEdge:
    """Obeys Edge. `begin` and `end` are a client's request; `calls` is what was asked of it, in order.

    A replica that was marked down keeps its slot and is not chosen before `recheck` (HAProxy's own check) or a
    slot that was emptied and filled anew; filling a slot with what it holds already changes nothing.
    """

    def __init__(self) -> None:
        self.declared: dict[str, WorkloadSpec] = {}
        self.table: dict[tuple[str, str], SlotAssignment] = {}
        self.requests: Counter[str] = Counter()
        self.calls: list[tuple[str, str]] = []
        self.error: Exception | None = None
        self.unhealthy: set[str] = set()
        self.retries_on = True
        self.spent: set[str] = set()
        self.reloads = 0

    def begin(self, workload: str) -> str | None:
        """A request comes in: the replica that gets it (fewest in flight), or None where it must wait."""
        ready = [slot.replica for slot in self.table.values() if slot.workload == workload and self._chosen(slot)]
        if not ready:
            return None
        replica = min(ready, key=lambda name: (self.requests[name], name))
        self.requests[replica] += 1
        return replica

    def end(self, replica: str) -> None:
        self.requests[replica] -= 1

    def recheck(self, replica: str) -> None:
        """HAProxy's own check passed."""
        self.unhealthy.discard(replica)

    def chosen(self, replica: str) -> bool:
        """Whether it would get a request now."""
        return any(slot.replica == replica and self._chosen(slot) for slot in self.table.values())

    def state(self, replica: str) -> SlotState | None:
        """Its slot's state; None where it has none."""
        return next((slot.state for slot in self.table.values() if slot.replica == replica), None)

    def observe(self) -> EdgeObservation:
        servers = tuple(
            EdgeServer(
                workload=slot.workload,
                slot=slot.slot,
                replica=slot.replica,
                state=slot.state,
                up=self._chosen(slot),
                status="UP" if self._chosen(slot) else str(slot.state).upper(),
                in_flight=self.requests[slot.replica],
                queued=0,
                sessions_total=0,
                retries_total=0,
                errors_total=0,
            )
            for slot in self.table.values()
        )
        totals = tuple(
            EdgeWorkload(
                workload=name,
                in_flight=sum(s.in_flight for s in servers if s.workload == name),
                queued=0,
                sessions_total=0,
                retries_total=0,
                errors_total=0,
            )
            for name in self.declared
        )
        return EdgeObservation(ts=time.time(), up=True, servers=servers, workloads=totals, retries_on=self.retries_on)

    def slots(self) -> Sequence[SlotAssignment]:
        return tuple(self.table.values())

    async def settled(self) -> None:
        """At once."""

    async def configure(self, workloads: Sequence[WorkloadSpec]) -> bool:
        declared = {spec.name: spec for spec in workloads if spec.routes}
        changed = {name: (spec.max_replicas, spec.routes) for name, spec in declared.items()} != {
            name: (spec.max_replicas, spec.routes) for name, spec in self.declared.items()
        }
        self.declared = declared
        self.table = {key: slot for key, slot in self.table.items() if slot.workload in declared}
        self.reloads += changed
        return changed

    async def fill(
        self, workload: str, replica: str, *, host: str, port: int, check_port: int, maxconn: int
    ) -> SlotAssignment:
        self._called("fill", replica)
        self.unhealthy.discard(replica)
        spec = self.declared.get(workload)
        if spec is None:
            raise Refused(f"The edge has no backend for {workload}.")
        taken = {slot.slot for slot in self.table.values() if slot.workload == workload and slot.replica != replica}
        present = self.table.get((workload, replica))
        free = [number for number in range(spec.max_replicas) if number not in taken]
        if not free:
            raise Refused(f"All slots of {workload} are taken.")
        made = SlotAssignment(
            workload=workload,
            slot=present.slot if present else free[0],
            replica=replica,
            host=host,
            port=port,
            check_port=check_port,
            maxconn=maxconn,
            state=SlotState.READY,
        )
        self.table[(workload, replica)] = made
        return made

    async def drain(self, workload: str, replica: str) -> None:
        self._called("drain", replica)
        self._set(workload, replica, SlotState.DRAIN)

    async def undrain(self, workload: str, replica: str) -> None:
        self._called("undrain", replica)
        self._set(workload, replica, SlotState.READY)

    async def in_flight(self, workload: str, replica: str) -> int:
        return self.requests[replica]

    async def mark_down(self, workload: str, replica: str) -> None:
        self._called("mark_down", replica)
        self.unhealthy.add(replica)
        self.requests.pop(replica, None)

    async def eject(self, workload: str, replica: str) -> None:
        self._called("eject", replica)
        self._set(workload, replica, SlotState.MAINT)
        self.requests.pop(replica, None)

    async def clear(self, workload: str, replica: str) -> None:
        self._called("clear", replica)
        self.table.pop((workload, replica), None)
        self.unhealthy.discard(replica)

    async def set_retries(self, *, on: bool, workload: str | None = None) -> None:
        if workload is None:
            self.retries_on = on
        elif on:
            self.spent.discard(workload)
        else:
            self.spent.add(workload)

    def _chosen(self, slot: SlotAssignment) -> bool:
        return slot.state == SlotState.READY and slot.replica not in self.unhealthy

    def _called(self, what: str, replica: str) -> None:
        self.calls.append((what, replica))
        if self.error is not None:
            raise self.error

    def _set(self, workload: str, replica: str, state: SlotState) -> None:
        if slot := self.table.get((workload, replica)):
            self.table[(workload, replica)] = msgspec.structs.replace(slot, state=state)
