"""Where the console gets its data and sends its verbs. Owns the protocol only; never opens a connection.

The control client speaks it to a daemon, the simulator speaks it without one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from backend.contract.control import (
    ActionPreview,
    ActionRequest,
    DrillInfo,
    Frame,
    LogWindow,
    SeriesPoint,
    Snapshot,
    VersionInfo,
)
from backend.contract.rows import ActionRow, EventRow, LogRow, RequestRow, SampleRow, Scalar

LedgerRow = RequestRow | EventRow | ActionRow | SampleRow


class FleetSource(Protocol):
    """A fleet to look at and act on. Every method raises `contract.errors.TrinityError`; `Unreachable` heals."""

    async def version(self) -> VersionInfo: ...

    async def snapshot(self) -> Snapshot: ...

    def stream(self, interval_s: float = 1.0) -> AsyncIterator[Frame]:
        """Frames until the daemon goes away, then `Unreachable`."""
        ...

    async def series(self, seconds: int) -> list[SeriesPoint]:
        """The last `seconds` seconds, oldest first."""
        ...

    async def rows(
        self,
        table: str,
        *,
        since_ts: float = 0.0,
        until_ts: float | None = None,
        limit: int = 1000,
        where: dict[str, Scalar] | None = None,
    ) -> Sequence[LedgerRow]:
        """The newest `limit` rows of a ledger table, oldest first."""
        ...

    async def logs(
        self, replicas: list[str] | None, *, since_ts: float = 0.0, until_ts: float | None = None, limit: int = 500
    ) -> LogWindow:
        """The newest `limit` lines of those replicas (all of them for None), oldest first."""
        ...

    def follow_logs(self, replicas: list[str] | None, *, since_ts: float = 0.0) -> AsyncIterator[list[LogRow]]:
        """Batches of new lines."""
        ...

    async def preview(self, request: ActionRequest) -> ActionPreview: ...

    async def perform(self, request: ActionRequest) -> ActionRow: ...

    async def drills(self) -> list[DrillInfo]: ...

    async def raw(self, replica: str) -> dict[str, object]:
        """Everything known of a replica, as the daemon holds it."""
        ...

    async def aclose(self) -> None: ...
