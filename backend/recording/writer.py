"""Writes a recording: segments of snapshots, named by their first instant, old ones deleted.

Owns the files' names, when a new one is begun, and what is kept. Used by one thread, blocks. Each record is handed to
the kernel before `add` returns: a killed daemon loses nothing that was added.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Final

import msgspec

from backend.contract.control import Snapshot
from backend.recording.limits import RecordingLimits
from backend.recording.segment import Packer

_NAME: Final = re.compile(r"(?P<milliseconds>\d{15})\.rec")


class SegmentFile(msgspec.Struct, frozen=True, order=True):
    """A segment by name: `first_ts` is that of its first record."""

    first_ts: float
    path: Path


def segment_name(ts: float) -> str:
    return f"{max(0, int(ts * 1000)):015d}.rec"


def list_segments(directory: Path) -> list[SegmentFile]:
    """Oldest first; none where there is no such directory."""
    try:
        names = os.listdir(directory)  # noqa: PTH208 - names only, one call
    except FileNotFoundError:
        return []
    found = ((_NAME.fullmatch(name), name) for name in names)
    return sorted(SegmentFile(int(m["milliseconds"]) / 1000, directory / name) for m, name in found if m)


class SegmentWriter:
    """Appends snapshots to the newest segment of a directory. `add` and `close` raise OSError."""

    def __init__(self, directory: Path, limits: RecordingLimits) -> None:
        self._directory, self._limits = directory, limits
        self._packer = Packer()
        self._fd: int | None = None
        self._path: Path | None = None
        self._size = 0
        self._first_ts = self._key_ts = self._last_ts = 0.0

    def add(self, snapshot: Snapshot) -> None:
        """Write it. After a failure nothing of it stays in the file, and the next one is a keyframe."""
        if self._fd is None or self._is_over(snapshot.ts):
            self.close()
            self._begin(snapshot.ts)
        assert self._fd is not None
        due = snapshot.ts - self._key_ts >= self._limits.keyframe_s
        record, is_key = self._packer.pack(snapshot, key=due)
        try:
            _write(self._fd, record)
        except OSError:
            self._packer.forget()
            os.ftruncate(self._fd, self._size)
            raise
        self._size += len(record)
        self._last_ts = snapshot.ts
        if is_key:
            self._key_ts = snapshot.ts

    def _is_over(self, ts: float) -> bool:
        """Too old, too large, or the clock was set back: within a segment time only rises."""
        too_old = ts - self._first_ts >= self._limits.segment_s
        return too_old or self._size >= self._limits.segment_bytes or ts < self._last_ts

    def _begin(self, ts: float) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._packer = Packer()
        self._first_ts = self._key_ts = self._last_ts = ts
        self._size = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        named_ts = ts
        while self._fd is None:
            self._path = self._directory / segment_name(named_ts)
            with contextlib.suppress(FileExistsError):
                self._fd = os.open(self._path, flags, 0o600)
            named_ts += 0.001
        self._prune(ts)

    def _prune(self, now: float) -> None:
        """Delete what is too old or too much; never the segment that is being written."""
        sized: list[tuple[SegmentFile, int, float]] = []
        for file in list_segments(self._directory):
            with contextlib.suppress(FileNotFoundError):
                stat = file.path.stat()
                sized.append((file, stat.st_size, stat.st_mtime))
        held = sum(size for _, size, _ in sized)
        for file, size, written_ts in sized:
            too_old = written_ts < now - self._limits.retention_s
            if file.path != self._path and (too_old or held > self._limits.disk_bytes):
                file.path.unlink(missing_ok=True)
                held -= size

    def close(self) -> None:
        """Let the file go. Idempotent."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = self._path = None


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
