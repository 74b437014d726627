"""The edge's events: which kinds there are, how severe, and their sentences. Owns no state but what was told last."""

from __future__ import annotations

from collections.abc import Sequence

from backend.contract.clock import Clock
from backend.contract.events import EventRecorder
from backend.contract.fleet import ExitRecord
from backend.contract.ledger import RowSink
from backend.contract.rows import EventRow, RequestRow, Scalar
from backend.contract.words import Severity
from backend.edge.records import FirstRecord

SUBJECT = "edge"


def poison_event(row: RequestRow, attempts: Sequence[FirstRecord]) -> EventRow:
    """A request lost as many replicas as one may. `row` is its end at the edge, `attempts` what it tried."""
    replicas = ", ".join(dict.fromkeys(a.rep for a in attempts)) or row.replica or "unknown"
    ended = row.ts + (row.total_s or 0.0)
    return EventRow(
        ts=ended,
        kind="request.poison",
        severity=Severity.ERROR,
        subject=row.workload,
        message=f"Request {row.request_id} lost {replicas} one after the other and is not tried again: it may be the"
        " cause, or it met unrelated failures.",
        attributes={
            "request_id": row.request_id,
            "route": row.route,
            "workload": row.workload,
            "replicas": replicas,
            "attempts": len(attempts),
        },
    )


class EdgeEvents:
    """Appends `edge.*` events to the ledger."""

    def __init__(self, sink: RowSink, clock: Clock) -> None:
        self._events = EventRecorder(sink, clock)
        self._told: dict[str, str] = {}

    def died(self, record: ExitRecord) -> None:
        """HAProxy ended without being told to."""
        how = f"signal {record.signal}" if record.signal else f"exit code {record.code}"
        message = f"HAProxy ended ({how}); its shim starts it again."
        if record.reason == "Unknown":
            message = "The shim of HAProxy was killed, and HAProxy with it; both are started again."
        self._tell("edge.died", Severity.ERROR, message, pid=record.pid, signal=record.signal, code=record.code)

    def respawned(self, pid: int | None, gap_s: float, lost: int) -> None:
        """Its shim started it again; `gap_s` counts from its end, `lost` is what it had in flight."""
        message = f"HAProxy is back after {gap_s * 1000:.0f} ms; about {lost} requests in flight were cut off."
        self._tell("edge.respawned", Severity.WARNING, message, pid=pid, gap_s=round(gap_s, 4), in_flight_lost=lost)

    def respawned_unseen(self, pid: int | None, starts: int) -> None:
        """It was started again while no daemon ran."""
        message = "HAProxy was started again while no daemon ran."
        self._tell("edge.respawned", Severity.WARNING, message, pid=pid, starts=starts)

    def reloaded(self, pid: int | None, old_pid: int | None) -> None:
        """A new process took over."""
        message = "HAProxy reloaded; the old process finishes its requests."
        self._tell("edge.reloaded", Severity.INFO, message, pid=pid, old_pid=old_pid)

    def mended(self, commands: int) -> None:
        """A running HAProxy differed from the slot table."""
        self._tell("edge.mended", Severity.INFO, "Slots were re-applied.", commands=commands)

    def slot(self, workload: str, replica: str, slot: int, state: str) -> None:
        """A slot changed."""
        message = f"Slot {slot} of {workload} ({replica}) is {state}."
        self._tell("edge.slot", Severity.DEBUG, message, workload=workload, replica=replica, slot=slot, state=state)

    def retries(self, *, on: bool) -> None:
        """The retry switch was thrown."""
        self._tell("edge.retries", Severity.INFO, f"Retries switched {'on' if on else 'off'}.", on=on)

    def trouble(self, kind: str, message: str) -> None:
        """Something of ours failed; told once until another message of that kind comes."""
        if self._told.get(kind) != message:
            self._told[kind] = message
            self._tell(kind, Severity.ERROR, message)

    def _tell(self, kind: str, severity: Severity, message: str, **attributes: Scalar) -> None:
        self._events.record(kind, severity, SUBJECT, message, **attributes)
