"""Every row that belongs to one request, from every side that saw it, on one axis of time. Pure; fetches nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from backend.contract.rows import EventRow, LogRow, RequestRow
from backend.contract.words import Vantage

AROUND_S: Final = 5.0
"""Logs and events are looked for so long before the request and after its end."""


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a request's story."""

    kind: Literal["request", "log", "event"]
    ts: float
    seen_by: str
    who: str
    row: RequestRow | LogRow | EventRow
    offset_s: float = 0.0
    """After the earliest row."""
    whole_s: float = 0.0
    """From the earliest row to the end of the latest."""
    number: int = 0

    @property
    def length_s(self) -> float:
        """How long it lasted; 0 for what happened at one instant or has not ended."""
        return (self.row.total_s or 0.0) if isinstance(self.row, RequestRow) else 0.0


def story(
    identity: str, requests: Iterable[RequestRow], events: Iterable[EventRow], logs: Iterable[LogRow]
) -> list[Piece]:
    """The rows that name this request, earliest first; a log line that came from two places is told once."""
    found = [_of_request(row) for row in requests if row.request_id == identity]
    found += [
        Piece(kind="event", ts=row.ts, seen_by="event", who=row.subject, row=row)
        for row in events
        if identity in row.message or identity in map(str, row.attributes.values())
    ]
    told: set[tuple[float, str, str]] = set()
    for row in logs:
        same = (round(row.ts, 6), row.replica, row.message)
        if same not in told and (row.correlation_id == identity or identity in row.message):
            told.add(same)
            found.append(Piece(kind="log", ts=row.ts, seen_by="log", who=row.replica, row=row))
    found.sort(key=lambda piece: (piece.ts, piece.kind != "request"))
    if not found:
        return []
    first = found[0].ts
    whole = max(piece.ts + piece.length_s for piece in found) - first
    return [
        msgspec.structs.replace(piece, offset_s=piece.ts - first, whole_s=whole, number=number)
        for number, piece in enumerate(found)
    ]


def _of_request(row: RequestRow) -> Piece:
    side = f"attempt {row.attempt}" if row.vantage == Vantage.ATTEMPT else str(row.vantage)
    return Piece(kind="request", ts=row.ts, seen_by=side, who=row.replica or row.workload, row=row)


def span(identity: str, requests: Iterable[RequestRow], near_ts: float) -> tuple[float, float]:
    """From when to when its logs and events are looked for."""
    mine = [row for row in requests if row.request_id == identity]
    first = min([near_ts, *(row.ts for row in mine)])
    last = max([near_ts, *(row.ts + (row.total_s or 0.0) for row in mine)])
    return first - AROUND_S, last + AROUND_S
