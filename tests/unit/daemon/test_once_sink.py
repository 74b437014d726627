"""Rows read again after a crash are in the ledger once."""

from __future__ import annotations

import msgspec

from backend.contract.rows import EventRow, RequestRow
from backend.contract.words import RequestOutcome, Severity, Vantage
from backend.daemon.once_sink import OnceSink
from tests.fakes.ledger import MemoryLedger

ROW = RequestRow(
    ts=10.5, vantage=Vantage.EDGE, request_id="a", fleet="f", workload="w", route="/", status=200,
    outcome=RequestOutcome.OK,
)  # fmt: skip
EVENT = EventRow(ts=10.5, kind="note", severity=Severity.INFO, subject="s", message="m")


def test_a_known_row_is_dropped_once_and_everything_else_passes() -> None:
    ledger = MemoryLedger()
    sink = OnceSink(ledger, [ROW, EVENT])
    attempt = msgspec.structs.replace(ROW, vantage=Vantage.ATTEMPT)
    later = msgspec.structs.replace(ROW, ts=11.0)
    for row in (ROW, attempt, later, EVENT):
        sink.append(row)
    assert list(ledger.recent("requests")) == [attempt, later]
    assert len(list(ledger.recent("events"))) == 1
    sink.append(ROW)
    assert ROW in list(ledger.recent("requests")), "the same key again is another request"
