"""Joins a run's client rows with the edge's own: causes of failures, last dispatch to a victim, failover. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from backend.contract.rows import RequestRow
from backend.contract.words import RequestOutcome, Vantage
from backend.drills.records import DrillRow, FaultStamps, RunRecord
from backend.drills.report import slowest_of


def with_edge_rows(record: RunRecord, rows: Sequence[DrillRow], edge_rows: Sequence[RequestRow]) -> RunRecord:
    """The record with what only the edge knows. Client rows stay the truth for verdicts."""
    by_id = {row.request_id: row for row in edge_rows if row.vantage == Vantage.EDGE}
    dead_ends = [row for row in edge_rows if row.outcome == RequestOutcome.FAILED]
    unanswered = [row.request.request_id for row in rows if not row.answered]
    offset = record.started_mono_s - record.started_ts
    told = {*unanswered, *(row.request.request_id for row in slowest_of(rows))}
    attempts: dict[str, list[RequestRow]] = {}
    for tried in sorted((row for row in edge_rows if row.vantage == Vantage.ATTEMPT), key=lambda row: row.ts):
        if tried.request_id in told:
            attempts.setdefault(tried.request_id, []).append(tried)
    return msgspec.structs.replace(
        record,
        attempts={request_id: tuple(tries) for request_id, tries in attempts.items()},
        causes={request_id: by_id[request_id] for request_id in unanswered if request_id in by_id},
        faults=tuple(_stamped(fault, rows, by_id, dead_ends, offset) for fault in record.faults),
    )


def with_edge_facts(rows: Sequence[DrillRow], edge_rows: Sequence[RequestRow]) -> list[DrillRow]:
    """Client rows with what only the edge knows of them: how often it tried again, and who answered."""
    by_id = {row.request_id: row for row in edge_rows if row.vantage == Vantage.EDGE}
    return [_told(row, by_id.get(row.request.request_id)) for row in rows]


def _told(row: DrillRow, edge: RequestRow | None) -> DrillRow:
    if edge is None:
        return row
    request = row.request
    replica, retries = request.replica or edge.replica, max(request.retries, edge.retries)
    if (replica, retries) == (request.replica, request.retries):
        return row
    return msgspec.structs.replace(row, request=msgspec.structs.replace(request, replica=replica, retries=retries))


def _stamped(
    fault: FaultStamps,
    rows: Sequence[DrillRow],
    by_id: dict[str, RequestRow],
    dead_ends: Sequence[RequestRow],
    offset: float,
) -> FaultStamps:
    effective = fault.t_effective
    if effective is None or not by_id:
        return fault
    until = fault.t_ready if fault.t_ready is not None else float("inf")
    # Attempts and requests that got no answer from the victim: the new process under its name answers.
    dispatched = (row.ts + offset + (row.queue_s or 0.0) for row in dead_ends if row.replica in fault.victims)
    late = [at for at in dispatched if effective <= at < until]
    moved = [
        row.ended_s
        for row in rows
        if row.answered
        and row.ended_s >= effective
        and _moved(by_id.get(row.request.request_id), fault, is_later=row.intended_s >= effective)
    ]
    return msgspec.structs.replace(
        fault, t_last_dispatch=max(late, default=None), t_first_failover_ok=min(moved, default=None)
    )


def _moved(edge: RequestRow | None, fault: FaultStamps, *, is_later: bool) -> bool:
    """Whether no victim answered, because of the fault: after a retry, or for a request that came after it."""
    if edge is None or edge.replica is None or edge.replica in fault.victims:
        return False
    return is_later or edge.retries > 0
