"""Where the console gets its data and sends its verbs. Owns the protocol only; never opens a connection.

The control client speaks it to a daemon, the simulator speaks it without one.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any, Protocol

from backend.contract.control import (
    ActionPreview,
    ActionRequest,
    DrillInfo,
    DrillView,
    ExecOrder,
    Frame,
    LogWindow,
    SeriesPoint,
    Snapshot,
    VersionInfo,
)
from backend.contract.log_chunks import LogChunk
from backend.contract.platform import Description
from backend.contract.recording import Moment, RecordExtent
from backend.contract.rows import ActionRow, EventRow, RequestRow, SampleRow, Scalar

LedgerRow = RequestRow | EventRow | ActionRow | SampleRow


class PastSource(Protocol):
    """A source that also knows the past."""

    async def extent(self) -> RecordExtent:
        """How far back it reaches, and until when."""
        ...

    async def moment(self, ts: float, *, window_s: int = 900) -> Moment:
        """The fleet at an instant (brought within the extent). Raises UsageError where nothing is recorded."""
        ...


class ExecSession(Protocol):
    """A program that runs in a replica, on a terminal. Closing it ends the program."""

    @property
    def exit_code(self) -> int | None:
        """Once `output` has ended."""
        ...

    async def write(self, data: bytes) -> None: ...

    async def end(self) -> None:
        """Its input has ended."""
        ...

    async def resize(self, columns: int, rows: int) -> None: ...

    def output(self) -> AsyncGenerator[bytes, None]:
        """What it writes, to its end."""
        ...

    async def close(self) -> None: ...


class FleetSource(PastSource, Protocol):
    """A fleet to look at and act on, and its past. Every method raises `contract.errors.TrinityError`; `Unreachable`
    heals."""

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

    def log_chunks(self, replicas: list[str] | None, *, lines: int = 2000) -> AsyncIterator[list[LogChunk]]:
        """Log bytes as they are stored: the newest `lines` lines of each of those replicas (all for None), then what
        is written, for ever.

        An empty batch means that nothing came for a while. Replicas that appear later are followed too."""
        ...

    async def preview(self, request: ActionRequest) -> ActionPreview: ...

    async def perform(self, request: ActionRequest) -> ActionRow: ...

    async def drills(self, *, plans: bool = True) -> list[DrillInfo]:
        """What can be run. Without `plans` nothing is planned, which costs the daemon next to nothing."""
        ...

    async def drill(self, name: str) -> DrillInfo:
        """One drill with what it would do now."""
        ...

    async def drill_runs(self, *, limit: int = 100) -> list[DrillView]:
        """Runs that ended, newest first."""
        ...

    async def drill_report(self, run_id: str) -> dict[str, Any]:
        """A run's `report.json`."""
        ...

    async def drill_compare(self, base: str, run_id: str) -> dict[str, Any]:
        """Two runs by statistics: what `trinity drill compare` says."""
        ...

    async def drill_file(self, run_id: str, kind: str) -> bytes:
        """A run's report as `json`, `html`, `md` or `junit`."""
        ...

    async def raw(self, replica: str) -> dict[str, object]:
        """Everything known of a replica, as the daemon holds it."""
        ...

    async def describe(self, name: str) -> Description:
        """All that the platform says of a replica, a workload or a node. Raises UsageError for an unknown name."""
        ...

    async def exec(self, order: ExecOrder) -> ExecSession:
        """Run a program in a replica, as the loop that calls this one carries it."""
        ...

    async def aclose(self) -> None: ...
