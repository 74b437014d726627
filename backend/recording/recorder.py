"""The flight recorder of a daemon: takes a snapshot a second and writes it in a thread of its own.

Owns the thread and the queue to it. Never blocks who offers: a disk that does not answer costs snapshots, which are
counted and told of.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from backend.contract.control import Snapshot
from backend.recording.limits import RecordingLimits
from backend.recording.writer import SegmentWriter


class Recorder:
    """`trouble` is called from the thread with a sentence when writing begins to fail, and when it works again."""

    def __init__(
        self, directory: Path, limits: RecordingLimits | None = None, *, trouble: Callable[[str, bool], None]
    ) -> None:
        self.limits = limits or RecordingLimits()
        self.missed = 0
        """Snapshots that could not be written."""
        self._writer = SegmentWriter(directory, self.limits)
        self._trouble = trouble
        self._failing = False
        self._waiting: deque[Snapshot] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._write_all, name="flight-recorder", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def offer(self, snapshot: Snapshot) -> None:
        """Take it, to be written soon."""
        with self._changed:
            self._waiting.append(snapshot)
            if len(self._waiting) > self.limits.waiting:
                self._waiting.popleft()
                self.missed += 1
            self._changed.notify()

    def close(self) -> None:
        """Write what waits and end. Blocks; idempotent."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def _write_all(self) -> None:
        while (snapshot := self._next()) is not None:
            try:
                self._writer.add(snapshot)
            except OSError as error:
                self.missed += 1
                self._tell(f"The flight recorder cannot write: {(error.strerror or str(error)).lower()}.", failing=True)
            else:
                self._tell(f"The flight recorder writes again; it missed {self.missed} snapshots.", failing=False)
        self._writer.close()

    def _next(self) -> Snapshot | None:
        """Waits for one; None when closing and nothing is left."""
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            return self._waiting.popleft() if self._waiting else None

    def _tell(self, words: str, *, failing: bool) -> None:
        """Once per change, not once a second."""
        if failing != self._failing:
            self._failing = failing
            self._trouble(words, failing)
