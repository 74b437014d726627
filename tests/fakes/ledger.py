"""A RowSink and RowSource in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from backend.contract.rows import ActionRow, EventRow, Row, Scalar, table_of


class MemoryLedger:
    """Keeps every row; `durable` holds those that were appended durably, `fail_with` makes that fail."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.durable: list[Row] = []
        self.fail_with: Exception | None = None
        self._listeners: list[tuple[str, Callable[[Row], None]]] = []

    def append(self, row: Row) -> None:
        self.rows.append(row)
        for table, listener in list(self._listeners):
            if table == table_of(row):
                listener(row)

    async def append_durable(self, row: Row) -> None:
        if self.fail_with is not None:
            raise self.fail_with
        await asyncio.sleep(0)  # an fsync lets others run
        self.durable.append(row)
        self.append(row)

    def recent(
        self,
        table: str,
        *,
        since_ts: float = 0.0,
        until_ts: float | None = None,
        limit: int = 1000,
        where: dict[str, Scalar] | None = None,
    ) -> Sequence[Row]:
        rows = [
            row
            for row in self.rows
            if table_of(row) == table
            and since_ts <= row.ts
            and (until_ts is None or row.ts < until_ts)
            and all(getattr(row, name) == value for name, value in (where or {}).items())
        ]
        return rows[-limit:]

    def subscribe(self, table: str, listener: Callable[[Row], None]) -> Callable[[], None]:
        entry = (table, listener)
        self._listeners.append(entry)
        return lambda: self._listeners.remove(entry)

    def events(self, kind: str = "") -> list[EventRow]:
        """Events whose kind starts with `kind`."""
        return [row for row in self.rows if isinstance(row, EventRow) and row.kind.startswith(kind)]

    def actions(self) -> list[ActionRow]:
        return [row for row in self.rows if isinstance(row, ActionRow)]
