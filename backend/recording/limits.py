"""How often the flight recorder records and how much it keeps. Data only."""

from __future__ import annotations

from typing import Final

import msgspec

SEGMENT_S: Final = 600.0
"""No segment is longer: readers rely on it to find a time by the files' names."""


class RecordingLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one recording. Sizes are bytes, ages and periods are seconds."""

    period_s: float = 1.0
    gap_s: float = 0.15
    """Between two snapshots at least, however much happens."""
    keyframe_s: float = 60.0
    """A whole snapshot at least this often; what comes between are differences. A seek reads at most this much."""
    segment_s: float = SEGMENT_S
    segment_bytes: int = 16 * 1024 * 1024
    """A new file is begun at this age or size."""
    retention_s: float = 7 * 86400.0
    """Segments that ended longer ago are deleted."""
    disk_bytes: int = 1024 * 1024 * 1024
    """Above this the oldest segments are deleted."""
    waiting: int = 8
    """Snapshots that may wait for a disk that does not answer; then the oldest are dropped, and counted."""
