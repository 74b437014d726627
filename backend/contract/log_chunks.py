"""Log bytes as they stand in a replica's files, for consoles that index and parse them by themselves."""

from __future__ import annotations

import msgspec


class LogChunk(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Whole stored lines of one replica, oldest first: `2026-11-21T07:27:22.123456Z stderr F message\\n` each.

    See backend.contract.log_lines for what can be read out of a line."""

    replica: str
    incarnation: int = 0
    """Which life of the replica wrote it: rises by one at each restart, as far as it is known."""
    data: bytes
    lost: int = 0
    """Lines before these that were gone before anyone could send them (rotated away); shown, never hidden."""
