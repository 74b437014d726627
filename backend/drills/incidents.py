"""What the edge did to replicas during a run, out of its events: ejections, false ones, poisoned requests. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from backend.contract.rows import EventRow
from backend.drills.records import FaultStamps

EJECTION_EVENTS: Final = frozenset({"edge.marked-down", "edge.ejected"})
POISON_EVENT: Final = "request.poison"
SAME_EJECTION_S: Final = 1.0
"""A replica's death and its ejection are told by two parts within this time: one ejection, not two."""


def instant(event: EventRow, mono_offset_s: float) -> float:
    """When it happened on CLOCK_MONOTONIC, from its wall time where it carries nothing better."""
    return event.ts + mono_offset_s if event.mono_s is None else event.mono_s


def ejections(
    events: Sequence[EventRow],
    members: Collection[str],
    mono_offset_s: float,
    *,
    explained_by: Sequence[FaultStamps] = (),
) -> list[float]:
    """Instants at which the edge stopped choosing one of `members`, without those that a fault in place explains."""
    found: list[float] = []
    last: dict[str, float] = {}
    told = [(instant(e, mono_offset_s), e.subject) for e in events if e.kind in EJECTION_EVENTS]
    for at, replica in sorted(told):
        if replica not in members:
            continue
        again = at - last.get(replica, float("-inf")) <= SAME_EJECTION_S
        last[replica] = at
        if not again and not any(_explains(fault, replica, at) for fault in explained_by):
            found.append(at)
    return found


def poisonings(events: Sequence[EventRow], members: Collection[str], mono_offset_s: float) -> list[float]:
    """Instants at which a request was found to kill whoever takes it. Its event names a replica or a workload."""
    workloads = {name.rpartition("-")[0] for name in members}
    return [
        instant(event, mono_offset_s)
        for event in events
        if event.kind == POISON_EVENT
        and (
            {event.subject, event.attributes.get("workload"), event.attributes.get("replica")} & {*members, *workloads}
        )
    ]


def _explains(fault: FaultStamps, replica: str, at: float) -> bool:
    """Whether the replica was the fault's victim then: from the injection until it served again."""
    if fault.t_command is None or replica not in fault.victims or at < fault.t_command:
        return False
    ends = [end for end in (fault.t_undone, fault.t_healed, fault.t_ready) if end is not None]
    return at <= max(ends, default=float("inf"))
