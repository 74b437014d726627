"""What is kept beside the engine of a container of ours: its replica's seed as it is now, and which end was told.

A container's labels cannot change after it was made: restarts and exits since then are here, in the run directory.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from backend.fleet.supervision.seed import ReplicaSeed
from backend.shim.record import write_atomic


class OwnRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`told_ts`: when the end that was told last was, by the engine's clock; null while none was since its start."""

    seed: ReplicaSeed
    told_ts: float | None = None


def read_record(path: Path) -> OwnRecord | None:
    """The record in a file; null where there is none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=OwnRecord)
    except (OSError, msgspec.MsgspecError):
        return None


def write_record(path: Path, record: OwnRecord) -> None:
    """In one step, readable by this user only. Raises OSError."""
    write_atomic(path, msgspec.json.encode(record))
