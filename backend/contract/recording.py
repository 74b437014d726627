"""The fleet's past as consoles ask for it: how far it reaches, and what a screen needs of one instant."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from backend.contract.control import SeriesPoint, Snapshot
from backend.contract.rows import ActionRow, EventRow
from backend.contract.words import ActionOutcome


class RecordExtent(msgspec.Struct, frozen=True, kw_only=True):
    """GET /v1/past: what can be looked at. Both times are null while nothing is recorded."""

    first_ts: float | None = None
    last_ts: float | None = None
    size_bytes: int = 0
    origin: str = "daemon"
    """`daemon`, `simulator` or the name of the file that is replayed."""


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """GET /v1/past/{ts}: the fleet as it was at `ts`."""

    ts: float
    """The instant that was asked for, within the extent."""
    snapshot: Snapshot
    """The newest one recorded at or before `ts`; `snapshot.ts` says when."""
    points: tuple[SeriesPoint, ...] = ()
    """Seconds of the charts' window that ends at `ts`, oldest first."""
    events: tuple[EventRow, ...] = ()
    """The newest before `ts`, oldest first."""
    actions: tuple[ActionRow, ...] = ()
    """As they stood at `ts`: an action that ended later is `running`. Oldest first."""


def actions_as_of(rows: Iterable[ActionRow], ts: float) -> tuple[ActionRow, ...]:
    """The actions begun until `ts` as they stood then, one row each, oldest first. A row of an action's end stands at
    that end; what ended later was still running."""
    known: dict[str, ActionRow] = {}
    for row in rows:
        if row.ts <= ts:
            before = known.get(row.id)
            if before is None or row.outcome != ActionOutcome.RUNNING:
                known[row.id] = row
        elif row.duration_s is not None and row.ts - row.duration_s <= ts:
            began = msgspec.structs.replace(
                row,
                ts=row.ts - row.duration_s,
                outcome=ActionOutcome.RUNNING,
                result="",
                undoable=False,
                duration_s=None,
            )
            known.setdefault(row.id, began)
    return tuple(sorted(known.values(), key=lambda row: row.ts))
