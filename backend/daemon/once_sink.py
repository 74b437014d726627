"""Request rows once: what an edge's log reader says again after a crash is dropped.

The reader saves its position only after its rows are in the ledger's files, so a daemon that was killed in between
reads some lines twice. Owns that memory only; every other row passes.
"""

from __future__ import annotations

from collections.abc import Iterable

from backend.contract.ledger import RowSink
from backend.contract.rows import RequestRow, Row

Key = tuple[str, str, int, float]


def key_of(row: RequestRow) -> Key:
    """What makes a request row itself: a client may use an id twice, but not at the same microsecond."""
    return row.vantage, row.request_id, row.attempt, round(row.ts, 6)


class OnceSink:
    """A sink in front of another. `known` are the rows that the ledger had at start."""

    def __init__(self, sink: RowSink, known: Iterable[Row]) -> None:
        self._sink = sink
        self._known = {key_of(row) for row in known if isinstance(row, RequestRow)}

    def append(self, row: Row) -> None:
        """Pass the row on, unless it was there at start."""
        if isinstance(row, RequestRow) and self._known:
            key = key_of(row)
            if key in self._known:
                self._known.discard(key)
                return
        self._sink.append(row)

    async def append_durable(self, row: Row) -> None:
        """Pass the row on."""
        await self._sink.append_durable(row)
