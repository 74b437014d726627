"""Reading on in a replica's stored log from a place that outlives the daemon, through every rotation.

Owns what such a place is: the file by the stamp of its first line, and the bytes read of it. Blocks; never writes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from backend.contract.log_notes import STARTS, read_notes
from backend.ledger.log_files import first_us, opened

STEP_BYTES: Final = 256 * 1024
_LONGEST_LINE: Final = 64 * 1024


class Position(msgspec.Struct, frozen=True):
    """Where reading stands: `offset` bytes after the beginning of the file whose first line has that stamp, in
    microseconds of wall time. The default is before everything."""

    first_us: int = 0
    offset: int = 0


class Step(msgspec.Struct, frozen=True):
    """What one reading gave: whole stored lines, oldest first; where the next one goes on; whether that is the end."""

    lines: list[bytes]
    position: Position
    at_end: bool


def read_on(directory: Path, position: Position, step_bytes: int = STEP_BYTES) -> Step:
    """At most about `step_bytes` from one file. What was rotated away unread is passed over."""
    with opened(directory) as files:
        stamped = [(stamp, file) for file in files if (stamp := first_us(file)) is not None]
        ahead = [(stamp, file) for stamp, file in stamped if stamp >= position.first_us]
        for number, (stamp, file) in enumerate(ahead):
            start = min(position.offset, file.size) if stamp == position.first_us else 0
            data = file.read(start, min(start + step_bytes, file.size))
            newest = number == len(ahead) - 1
            end = data.rfind(b"\n") + 1
            if end == 0 and len(data) >= _LONGEST_LINE:
                end = len(data)  # no line of a log is that long
            if end == 0 and not newest:
                continue  # it was read, but for a line that a full disk cut
            place = Position(stamp, start + end)
            lines = data[:end].split(b"\n")
            if not lines[-1]:
                lines.pop()
            return Step(lines, place, at_end=newest and start + len(data) >= file.size)
    return Step([], position, at_end=True)


def starts_of(directory: Path) -> list[int]:
    """When its program was started, nanoseconds of wall time, the oldest first, as far as it was noted."""
    try:
        return sorted(ns for _, ns in read_notes((directory / STARTS).read_bytes()))
    except OSError:
        return []
