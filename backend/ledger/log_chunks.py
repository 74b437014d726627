"""Stored log bytes for consoles: the newest lines of each replica, then what is added, told apart by life.

Owns which life a line belongs to (the shim notes each start) and the count of what was lost. Never parses a message.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from backend.contract.log_chunks import LogChunk
from backend.contract.log_lines import stamp_of
from backend.contract.log_notes import STARTS, read_notes
from backend.ledger.log_follow import ByteFollower

_LOST: Final = re.compile(rb"^\S+Z stderr F trinity-shim: (\d+) lines were lost here", re.MULTILINE)
_STAMP_BYTES: Final = 48
BUSY_BYTES: Final = 4 * 1024 * 1024
"""Who gets this much at a look comes again at once."""

Starts = list[tuple[int, int]]
"""(microseconds, start number), oldest first."""


class ChunkFollower:
    """See ByteFollower for what may be called when."""

    def __init__(self, logs_dir: Path, replicas: Sequence[str] | None, *, lines: int) -> None:
        self._logs_dir = logs_dir
        self._bytes = ByteFollower(logs_dir, replicas, tail=lines)
        self._starts: dict[str, tuple[tuple[int, int], Starts]] = {}

    def poll(self) -> list[LogChunk]:
        """What came since the last look."""
        chunks: list[LogChunk] = []
        for piece in self._bytes.poll():
            lost = piece.lost
            if b" trinity-shim: " in piece.data:
                lost += sum(int(found[1]) for found in _LOST.finditer(piece.data))
            # After the bytes were read: a start is noted before its program can write.
            starts = self._starts_of(piece.replica)
            for life, data in lives_of(piece.data, starts):
                chunks.append(LogChunk(replica=piece.replica, incarnation=life, data=data, lost=lost))
                lost = 0
        return chunks

    def poll_encoded(self) -> tuple[bytes, int]:
        """The same as msgpack, and how many bytes of lines (and lines lost) there are."""
        chunks = self.poll()
        return msgspec.msgpack.encode(chunks), sum(len(chunk.data) + chunk.lost for chunk in chunks)

    def close(self) -> None:
        """Let the files go. Idempotent; never blocks."""
        self._bytes.close()

    def _starts_of(self, replica: str) -> Starts:
        path = self._logs_dir / replica / STARTS
        try:
            stat = path.stat()
            known = self._starts.get(replica)
            version = (stat.st_ino, stat.st_size)
            if known is None or known[0] != version:
                noted = sorted((ns // 1000, number) for number, ns in read_notes(path.read_bytes()))
                known = self._starts[replica] = (version, noted)
        except OSError:
            return []
        return known[1]


def lives_of(data: bytes, starts: Starts) -> list[tuple[int, bytes]]:
    """Whole lines cut where a life begins: (start number, its lines), oldest first. Always at least one."""
    first, last = _us_of(data[:_STAMP_BYTES]), _us_of(data[data.rfind(b"\n", 0, -1) + 1 :][:_STAMP_BYTES])
    if not starts or first is None or last is None or _life(starts, first) == _life(starts, last):
        return [(_life(starts, last if last is not None else first), data)]
    cut: list[tuple[int, list[bytes]]] = []
    life = _life(starts, first)
    for line in _lines(data):
        us = _us_of(line[:_STAMP_BYTES])
        # A clock that went back starts no earlier life.
        life = life if us is None else max(life, _life(starts, us))
        if not cut or cut[-1][0] != life:
            cut.append((life, []))
        cut[-1][1].append(line)
    return [(number, b"".join(lines)) for number, lines in cut]


def _lines(data: bytes) -> list[bytes]:
    return [line + b"\n" for line in data.split(b"\n")[:-1]]


def _us_of(line: bytes) -> int | None:
    stamp = stamp_of(line)
    return None if stamp is None else round(stamp * 1_000_000)


def _life(starts: Starts, us: int | None) -> int:
    """The start that was the last one at an instant; before all that are noted, the one before the first."""
    if not starts:
        return 0
    if us is None:
        return starts[-1][1]
    index = bisect_right(starts, us, key=lambda start: start[0])
    return starts[index - 1][1] if index else max(0, starts[0][1] - 1)
