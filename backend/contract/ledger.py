"""What others may ask of the ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from backend.contract.rows import Row, Scalar


class RowSink(Protocol):
    """Where rows go. Never blocks the loop."""

    def append(self, row: Row) -> None:
        """Take a row; it is in the journal file within 250 ms."""
        ...

    async def append_durable(self, row: Row) -> None:
        """Take a row and return after it was fsynced (actions and fault records, before the deed)."""
        ...


class RowSource(Protocol):
    """Recent rows, from memory where they are hot."""

    def recent(
        self,
        table: str,
        *,
        since_ts: float = 0.0,
        until_ts: float | None = None,
        limit: int = 1000,
        where: dict[str, Scalar] | None = None,
    ) -> Sequence[Row]:
        """The newest `limit` rows with since_ts <= ts < until_ts and equal columns, oldest first."""
        ...

    def subscribe(self, table: str, listener: Callable[[Row], None]) -> Callable[[], None]:
        """Call `listener` on the loop for each appended row; returns what ends it."""
        ...
