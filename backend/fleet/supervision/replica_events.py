"""The events of a replica's life as rows, and their way into the ledger."""

from __future__ import annotations

from backend.contract.clock import Clock
from backend.contract.fleet import ExitRecord
from backend.contract.ledger import RowSink
from backend.contract.rows import EventRow, Scalar
from backend.contract.words import Severity
from backend.fleet.supervision.cause import cause_line, exit_phrase


def replica_event(
    kind: str, severity: Severity, replica: str, message: str, *, ts: float, mono_s: float, **attributes: Scalar
) -> EventRow:
    """`replica.<kind>` about one replica."""
    return EventRow(
        ts=ts,
        mono_s=mono_s,
        kind=f"replica.{kind}",
        severity=severity,
        subject=replica,
        message=message,
        attributes=attributes,
    )


class ReplicaEvents:
    """Records what happens to one replica."""

    def __init__(self, sink: RowSink, clock: Clock, replica: str, workload: str) -> None:
        self._sink, self._clock, self._replica, self._workload = sink, clock, replica, workload

    def record(self, kind: str, severity: Severity, message: str, **attributes: Scalar) -> None:
        """`replica.<kind>`, now."""
        now, mono_s = self._clock.now(), self._clock.mono()
        attributes = {"workload": self._workload, **attributes}
        self._sink.append(replica_event(kind, severity, self._replica, message, ts=now, mono_s=mono_s, **attributes))


def died_message(replica: str, record: ExitRecord, *, missed: bool) -> str:
    """`llm-1 ended: killed by SIGKILL`."""
    return f"{replica} ended{' while no daemon ran' if missed else ''}: {exit_phrase(record)}"


def exit_attributes(record: ExitRecord) -> dict[str, Scalar]:
    """What is known of an exit, flat."""
    return {
        "pid": record.pid,
        "exit_code": record.code,
        "signal": record.signal,
        "exit_reason": record.reason,
        "max_rss_bytes": record.max_rss_bytes,
        "last_line": cause_line(record.last_lines) or None,
        "exit_ts": record.ts,
    }
