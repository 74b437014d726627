"""How much the ledger may hold, in memory and on disk. Data only."""

from __future__ import annotations

from typing import Final

import msgspec

HOT_ROWS: Final[dict[str, int]] = {"requests": 100_000, "samples": 100_000, "events": 50_000, "actions": 10_000}


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one ledger. Counts are rows per table, sizes are bytes, ages and periods are seconds."""

    hot_rows: dict[str, int] = msgspec.field(default_factory=HOT_ROWS.copy)
    """Rows of a table kept in memory, newest first to stay. A request takes about 0.9 kB."""
    flush_period_s: float = 0.1
    """How often pending rows are written; the promise to readers is 250 ms."""
    pending_rows: int = 100_000
    """Rows of a table that may wait in memory while its journal cannot be written; the oldest are dropped."""
    segment_bytes: int = 32 * 1024 * 1024
    segment_age_s: float = 6 * 3600.0
    """A journal is closed at this size or when its first row is this old."""
    retention_s: float = 14 * 86400.0
    """Closed segments older than this are deleted."""
    disk_bytes: int = 4 * 1024 * 1024 * 1024
    """Above this the oldest closed segments are deleted."""
    upkeep_period_s: float = 600.0
    """How often retention is checked when no journal is closed."""
