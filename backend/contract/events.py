"""The one way to tell of what happens: an event row, stamped by both clocks at that instant, into the ledger.

What is known of an instant in the past (a row read back, an exit that was recorded) is an `EventRow` of its own.
"""

from __future__ import annotations

from backend.contract.clock import Clock
from backend.contract.ledger import RowSink
from backend.contract.rows import EventRow, Scalar
from backend.contract.words import Severity


class EventRecorder:
    """Appends events as they happen. Never blocks the loop."""

    def __init__(self, sink: RowSink, clock: Clock) -> None:
        self._sink, self._clock = sink, clock

    def record(self, kind: str, severity: Severity, subject: str, message: str, /, **attributes: Scalar) -> None:
        """Say that it happened now. `kind` is `<part>.<what>`, `subject` a replica, a workload or a part."""
        self._sink.append(
            EventRow(
                ts=self._clock.now(),
                mono_s=self._clock.mono(),
                kind=kind,
                severity=severity,
                subject=subject,
                message=message,
                attributes=attributes,
            )
        )
