"""Following log files as bytes: what was added since the last look, whole lines, through every rotation.

Owns open files and places in them; what was deleted unread is counted from the shim's notes. Never parses a message.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from backend.contract.log_notes import ROTATED, read_notes
from backend.ledger.log_files import (
    LogFile,
    current_inode,
    end_of_lines,
    first_us,
    is_plain_name,
    offset_at,
    open_files,
    replicas_in,
    start_of_last_lines,
)

REPLICA_BYTES: Final = 2 * 1024 * 1024
"""Read at most this much of a replica at a look, so that a flood in one delays the others little."""
LOOK_BYTES: Final = 16 * 1024 * 1024
"""And this much of all; the next look begins with the next replica."""
LEAST_BYTES: Final = 64 * 1024
"""Less than this is not read: a line of a shim's always fits."""


class Piece(msgspec.Struct, frozen=True):
    """Whole lines of one replica, with their newlines; `lost` lines before them were deleted unread."""

    replica: str
    data: bytes
    lost: int = 0


class _Source(msgspec.Struct):
    """One replica being followed: its open files oldest first, and where reading stands in the first."""

    files: deque[LogFile]
    offset: int = 0
    last_inode: int | None = None
    lost: int = 0


class ByteFollower:
    """Reads what was added since the last look. A rotated file is read to its end before the next one.

    `poll` blocks (short reads): call it in a thread. `close` never blocks and may come while a poll is running
    (its reader was cancelled): then that poll closes the files at its end.
    """

    def __init__(
        self, logs_dir: Path, replicas: Sequence[str] | None, *, tail: int = 0, since_ts: float | None = None
    ) -> None:
        self._logs_dir, self._replicas = logs_dir, replicas
        self._tail, self._since_ts = tail, since_ts
        self._sources: dict[str, _Source] = {}
        self._first_look = True
        self._turn = 0
        self._busy = threading.Lock()
        self._closed = False

    def poll(self) -> list[Piece]:
        """What came, at most one piece a replica; none once closed."""
        with self._busy:
            pieces = [] if self._closed else self._look()
        if self._closed:
            self.close()
        return pieces

    def close(self) -> None:
        """Let the files go. Idempotent."""
        self._closed = True
        if not self._busy.acquire(blocking=False):
            return
        try:
            for source in self._sources.values():
                for file in source.files:
                    file.close()
                source.files.clear()
        finally:
            self._busy.release()

    def _look(self) -> list[Piece]:
        names = replicas_in(self._logs_dir) if self._replicas is None else self._replicas
        names = [name for name in names if is_plain_name(name)]
        if names:
            self._turn = (self._turn + 1) % len(names)
        pieces: list[Piece] = []
        budget = LOOK_BYTES
        for name in [*names[self._turn :], *names[: self._turn]]:
            source = self._sources.get(name)
            if source is None:
                source = self._sources[name] = _Source(deque())
                if self._first_look:
                    self._begin(name, source)
            self._discover(name, source)
            data = _read_source(source, min(REPLICA_BYTES, budget))
            budget = max(0, budget - len(data))
            if data or source.lost:
                pieces.append(Piece(name, data, source.lost))
                source.lost = 0
        self._first_look = False
        return pieces

    def _begin(self, name: str, source: _Source) -> None:
        """Stand at the first line wanted: since an instant, the last few, or the end."""
        files = open_files(self._logs_dir / name)
        if not files:
            return
        source.last_inode = files[-1].inode
        starts: list[tuple[LogFile, int]] = []
        missing = self._tail
        for file in reversed(files):
            high = end_of_lines(file)
            if self._since_ts is not None:
                starts.append((file, offset_at(file, self._since_ts)))
                continue
            if missing <= 0 and starts:
                starts.append((file, file.size))
                continue
            start, lines = start_of_last_lines(file, 0, high, missing)
            missing -= min(lines, missing)
            starts.append((file, start))
        starts.reverse()
        source.files.extend(file for file, _ in starts)
        while len(source.files) > 1 and starts[0][1] >= starts[0][0].size:
            source.files.popleft().close()
            starts.pop(0)
        source.offset = starts[0][1]

    def _discover(self, name: str, source: _Source) -> None:
        """Open what was begun since the last look."""
        directory = self._logs_dir / name
        inode = current_inode(directory)
        if inode is None or inode == source.last_inode:
            return
        newer = open_files(directory, after_inode=source.last_inode)
        if newer:
            if source.files:
                source.lost += _deleted_between(directory, source.files[-1], newer[0])
            source.last_inode = newer[-1].inode
            source.files.extend(newer)


def _deleted_between(directory: Path, last: LogFile, first: LogFile) -> int:
    """Lines of the files that were begun after the newest we had and before the oldest that we could open now."""
    last_us, end_us = first_us(last), first_us(first)
    if last_us is None:
        return 0
    try:
        notes = read_notes((directory / ROTATED).read_bytes())
    except OSError:
        return 0
    return sum(lines for name, lines in notes if last_us < name // 1000 and (end_us is None or name // 1000 < end_us))


def _read_source(source: _Source, budget: int) -> bytes:
    """Whole lines from where reading stands, at most some `budget` bytes."""
    pieces: list[bytes] = []
    while source.files and budget >= LEAST_BYTES:
        file = source.files[0]
        wanted = budget
        data = file.read(source.offset, source.offset + wanted)
        budget -= len(data)
        if len(source.files) > 1 and len(data) < wanted:
            # Its successor exists, so nothing is added to it any more: what was read is all of it.
            pieces.append(data if not data or data.endswith(b"\n") else data + b"\n")
            source.files.popleft().close()
            source.offset = 0
            continue
        whole = data.rfind(b"\n") + 1
        if whole == 0 and len(data) == wanted:
            whole = len(data)  # longer than a look reads: no line of a shim's
        pieces.append(data[:whole])
        source.offset += whole
        break
    return b"".join(pieces)
