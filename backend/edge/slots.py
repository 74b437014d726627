"""Which replica fills which pre-declared server slot: a frozen table and the functions that change it.

Pure. Nothing here talks to HAProxy; what the table says is what haproxy.cfg and the runtime API are made to say.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from backend.contract.edge import SlotAssignment
from backend.contract.errors import Refused
from backend.contract.fleet import WorkloadSpec
from backend.contract.words import SlotState


class EdgeBackend(msgspec.Struct, frozen=True, kw_only=True):
    """What the edge needs to know of a workload: an edge backend with `slots` server slots."""

    workload: str
    slots: int
    """Declared server slots: the most replicas it can have."""
    maxconn: int
    """Concurrent requests per replica unless a fill says otherwise."""
    routes: tuple[str, ...]
    check_path: str | None
    """HTTP health check on the slot's check port; None: a TCP connect."""
    deadline_s: float


class SlotTable(msgspec.Struct, frozen=True, kw_only=True):
    """Every edge backend and every filled slot."""

    backends: tuple[EdgeBackend, ...] = ()
    filled: tuple[SlotAssignment, ...] = ()
    retries_on: bool = True
    spent: tuple[str, ...] = ()
    """Workloads whose retry budget is spent: no retries for them now."""

    def retries_of(self, workload: str) -> bool:
        """Whether its requests may be tried twice."""
        return self.retries_on and workload not in self.spent

    def find(self, workload: str, replica: str) -> SlotAssignment | None:
        """The slot a replica fills, or None."""
        return next((a for a in self.filled if a.workload == workload and a.replica == replica), None)

    def backend(self, workload: str) -> EdgeBackend | None:
        return next((b for b in self.backends if b.workload == workload), None)


def backend_of(spec: WorkloadSpec) -> EdgeBackend:
    """The edge's view of a workload."""
    readiness = spec.probes.readiness
    path = readiness.path if readiness is not None and readiness.kind == "http" else None
    return EdgeBackend(
        workload=spec.name,
        slots=spec.max_replicas,
        maxconn=spec.slots,
        routes=spec.routes,
        check_path=path,
        deadline_s=spec.request_deadline_s,
    )


def declare(table: SlotTable, specs: Sequence[WorkloadSpec]) -> SlotTable:
    """The table with exactly these workloads; slots that no longer exist are emptied."""
    backends = tuple(sorted((backend_of(s) for s in specs if s.routes), key=lambda b: b.workload))
    width = {b.workload: b.slots for b in backends}
    kept = tuple(a for a in table.filled if a.slot < width.get(a.workload, 0))
    spent = tuple(name for name in table.spent if name in width)
    return msgspec.structs.replace(table, backends=backends, filled=kept, spent=spent)


def fill(
    table: SlotTable, workload: str, replica: str, *, host: str, port: int, check_port: int, maxconn: int
) -> tuple[SlotTable, SlotAssignment]:
    """Put a replica into its slot, or into the lowest free one, as ready. Raises Refused where there is none."""
    backend = table.backend(workload)
    if backend is None:
        raise Refused(f"The edge has no backend for {workload}.", "Declare the workload first (`trinity apply`).")
    present = table.find(workload, replica)
    if present is not None:
        slot = present.slot
    else:
        taken = {a.slot for a in table.filled if a.workload == workload}
        free = next((n for n in range(backend.slots) if n not in taken), None)
        if free is None:
            raise Refused(
                f"All {backend.slots} slots of {workload} are taken.", "Raise max_replicas in trinity.yaml and apply."
            )
        slot = free
    made = SlotAssignment(
        workload=workload,
        slot=slot,
        replica=replica,
        host=host,
        port=port,
        check_port=check_port,
        maxconn=maxconn,
        state=SlotState.READY,
    )
    return _with(table, made), made


def set_state(table: SlotTable, workload: str, replica: str, state: SlotState) -> SlotTable:
    """The table with a replica's slot in `state`; unchanged where the replica fills none."""
    present = table.find(workload, replica)
    return table if present is None else _with(table, msgspec.structs.replace(present, state=state))


def set_retries(table: SlotTable, *, on: bool, workload: str | None) -> SlotTable:
    """The table with the operator's switch (no workload) or one workload's budget switch thrown."""
    if workload is None:
        return msgspec.structs.replace(table, retries_on=on)
    others = set(table.spent) - {workload}
    return msgspec.structs.replace(table, spent=tuple(sorted(others if on else others | {workload})))


def clear(table: SlotTable, workload: str, replica: str) -> SlotTable:
    """The table without that replica."""
    kept = tuple(a for a in table.filled if not (a.workload == workload and a.replica == replica))
    return msgspec.structs.replace(table, filled=kept)


def _with(table: SlotTable, made: SlotAssignment) -> SlotTable:
    others = (a for a in table.filled if (a.workload, a.slot) != (made.workload, made.slot))
    filled = tuple(sorted((*others, made), key=lambda a: (a.workload, a.slot)))
    return msgspec.structs.replace(table, filled=filled)
