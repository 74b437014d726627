"""The fleet's past for consoles: the recorded snapshot of an instant with the ledger's rows up to it.

Owns that join. Never writes, and never reads a file on the loop.
"""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Final

from backend.contract.control import SeriesPoint, Snapshot
from backend.contract.errors import UsageError
from backend.contract.ledger import RowSource
from backend.contract.recording import Moment, RecordExtent, actions_as_of
from backend.contract.rows import ActionRow, EventRow
from backend.recording.reader import Recording

EVENTS: Final = 500
ACTIONS: Final = 200
_MAX_WINDOW_S: Final = 86400


class Past:
    """Reads what the flight recorder of this state directory wrote, this daemon's and those before it."""

    def __init__(self, directory: Path, ledger: RowSource) -> None:
        self._recording, self._ledger = Recording(directory), ledger

    async def extent(self) -> RecordExtent:
        return await asyncio.to_thread(self._recording.extent)

    async def moment(self, ts: float, window_s: int) -> Moment:
        """The fleet at `ts`, brought within the extent. Raises UsageError where nothing is recorded."""
        found = await asyncio.to_thread(self._read, ts, max(0, min(window_s, _MAX_WINDOW_S)))
        if found is None:
            raise UsageError("Nothing is recorded yet.", "Wait a second: the recorder runs as long as the daemon does.")
        at, snapshot, points = found
        until = math.nextafter(at, math.inf)
        events = self._ledger.recent("events", until_ts=until, limit=EVENTS)
        # Rows of actions that ended later stand at their end: all are looked at.
        actions = actions_as_of(
            (r for r in self._ledger.recent("actions", limit=10_000) if isinstance(r, ActionRow)), at
        )
        return Moment(
            ts=at,
            snapshot=snapshot,
            points=tuple(points),
            events=tuple(row for row in events if isinstance(row, EventRow)),
            actions=actions[-ACTIONS:],
        )

    def _read(self, ts: float, window_s: int) -> tuple[float, Snapshot, list[SeriesPoint]] | None:
        extent = self._recording.extent()
        if extent.first_ts is None or extent.last_ts is None:
            return None
        at = min(max(ts, extent.first_ts), extent.last_ts)
        snapshot = self._recording.at(at)
        return None if snapshot is None else (at, snapshot, self._recording.points(at - window_s, at))
