"""A sink of rows that keeps the newest events, for descriptions."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import Final

from backend.contract.ledger import RowSink
from backend.contract.rows import EventRow, Row

_KEPT: Final = 500
_SHOWN: Final = 20


class RememberingSink:
    """Passes every row on to `sink`."""

    def __init__(self, sink: RowSink) -> None:
        self._sink = sink
        self._events: deque[EventRow] = deque(maxlen=_KEPT)

    def append(self, row: Row) -> None:
        if isinstance(row, EventRow):
            self._events.append(row)
        self._sink.append(row)

    async def append_durable(self, row: Row) -> None:
        await self._sink.append_durable(row)

    def of(self, subjects: Collection[str]) -> list[EventRow]:
        """The newest events about any of them, oldest first."""
        return [row for row in self._events if row.subject in subjects][-_SHOWN:]
