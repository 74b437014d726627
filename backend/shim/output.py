"""A program's output as lines in rotated files.

Owns the splitting of a byte stream into lines, the line format, rotation, and what happens when the disk is
full: lines are dropped and counted, the program never waits. Never interprets a line.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from backend.contract.log_notes import ROTATED
from backend.shim.notes import write_note

MAX_LINE_BYTES: Final = 16 * 1024
TAIL_LINES: Final = 20
TAIL_LINE_CHARS: Final = 400


class LineSplitter:
    """Cuts a stream into (line, whole) pairs; pieces of a line over 16 KiB come with whole = False."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[tuple[bytes, bool]]:
        """The pieces that `data` completes."""
        self._rest += data
        pieces: list[tuple[bytes, bool]] = []
        start = 0
        while True:
            end = self._rest.find(b"\n", start)
            limit = start + MAX_LINE_BYTES
            if end == -1 or end > limit:
                if len(self._rest) < limit or (end == -1 and len(self._rest) == limit):
                    break
                pieces.append((bytes(self._rest[start:limit]), False))
                start = limit
            else:
                pieces.append((bytes(self._rest[start:end]).removesuffix(b"\r"), True))
                start = end + 1
        del self._rest[:start]
        return pieces

    def flush(self) -> list[tuple[bytes, bool]]:
        """The unfinished last line, if any."""
        rest = bytes(self._rest)
        self._rest.clear()
        return [(rest, True)] if rest else []


class OutputTail:
    """The last lines a program wrote, for its exit record."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=TAIL_LINES)

    def add(self, line: bytes) -> None:
        self._lines.append(line[:TAIL_LINE_CHARS].decode("utf-8", "replace"))

    def lines(self) -> tuple[str, ...]:
        return tuple(self._lines)


def stamp(ts_ns: int) -> str:
    """`2026-11-21T07:27:22.123456Z` for POSIX nanoseconds."""
    seconds, rest = divmod(ts_ns, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest // 1000:06d}Z"


def stamp_ns(line: bytes) -> int | None:
    """The time a written line starts with, in POSIX nanoseconds, or null."""
    try:
        moment = datetime.strptime(line[:27].decode("ascii"), "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    except ValueError:
        return None
    return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1000


class LogWriter:
    """Appends lines to `<log_dir>/current.log` and rotates it to `<first-line-ts-ns>.log`."""

    def __init__(
        self, log_dir: Path, *, max_bytes: int, backups: int, now_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._dir, self._max_bytes, self._backups, self._now_ns = log_dir, max_bytes, backups, now_ns
        self._fd: int | None = None
        self._size = 0
        self._first_ns: int | None = None
        self._lines = 0
        """Lines in the file being written."""
        self._why = ""
        self.dropped = 0
        """Lines lost since the last successful write."""
        self.lost = 0
        """Lines lost in all."""

    def write(self, stream: str, pieces: list[tuple[bytes, bool]]) -> None:
        """Write the pieces of one read. Never raises for a full or broken disk: it drops and counts."""
        if not pieces:
            return
        ns = self._now_ns()
        head = f"{stamp(ns)} {stream} ".encode()
        block = b"".join(head + (b"F " if whole else b"P ") + line + b"\n" for line, whole in pieces)
        try:
            self._append(self._loss_notice(ns) + block, ns)
        except OSError as error:
            self.dropped += len(pieces)
            self.lost += len(pieces)
            self._why = error.strerror or "write error"
            self.close()
        else:
            self.dropped = 0

    def tell_losses(self) -> None:
        """Write the line about lost lines now, not before the next one. Where that fails too, the next one does it."""
        ns = self._now_ns()
        try:
            if self.dropped:
                self._append(self._loss_notice(ns), ns)
        except OSError:
            self.close()
        else:
            self.dropped = 0

    def close(self) -> None:
        """Close the file; the next write opens it again."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _loss_notice(self, ns: int) -> bytes:
        if not self.dropped:
            return b""
        return f"{stamp(ns)} stderr F trinity-shim: {self.dropped} lines were lost here ({self._why})\n".encode()

    def _append(self, block: bytes, ns: int) -> None:
        if self._fd is None:
            self._open()
        if self._size and self._size + len(block) > self._max_bytes:
            self._rotate()
        if self._first_ns is None:
            self._first_ns = ns
        assert self._fd is not None
        written = 0
        try:
            while written < len(block):
                written += os.write(self._fd, block[written:])
        except OSError:
            if written:
                os.ftruncate(self._fd, self._size)  # no torn line stays behind
            raise
        self._size += written
        self._lines += block.count(b"\n")

    def _open(self) -> None:
        self._dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._dir / "current.log"
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._fd).st_size
        self._first_ns = stamp_ns(os.pread(self._fd, 27, 0)) if self._size else None
        self._lines = _lines_in(self._fd, self._size)

    def _rotate(self) -> None:
        name = self._first_ns if self._first_ns is not None else self._now_ns()
        while (self._dir / f"{name}.log").exists():
            name += 1
        (self._dir / "current.log").rename(self._dir / f"{name}.log")
        write_note(self._dir / ROTATED, name, self._lines)
        self.close()
        old = sorted((path for path in self._dir.glob("*.log") if path.stem.isdigit()), key=lambda path: int(path.stem))
        for path in old[: max(0, len(old) - self._backups)]:
            path.unlink(missing_ok=True)
        self._open()
        self._first_ns = None


def _lines_in(fd: int, size: int) -> int:
    total = at = 0
    while at < size and (block := os.pread(fd, 1024 * 1024, at)):
        total += block.count(b"\n")
        at += len(block)
    return total


class Pump:
    """One output pipe of one program: reads what is there, writes it as lines."""

    def __init__(self, fd: int, stream: str, writer: LogWriter, tail: OutputTail) -> None:
        self.fd, self.stream = fd, stream
        self._writer, self._tail, self._splitter = writer, tail, LineSplitter()
        os.set_blocking(fd, False)

    def read(self) -> bool:
        """Move up to 64 KiB. False at the end of the stream."""
        try:
            data = os.read(self.fd, 65536)
        except BlockingIOError:
            return True
        self._emit(self._splitter.feed(data) if data else self._splitter.flush())
        return bool(data)

    def drain(self, limit_bytes: int = 8 * 1024 * 1024) -> None:
        """Move what is left after the program's end, even if a descendant that left its group holds the pipe."""
        for _ in range(limit_bytes // 65536):
            try:
                data = os.read(self.fd, 65536)
            except BlockingIOError:
                break
            if not data:
                break
            self._emit(self._splitter.feed(data))
        self._emit(self._splitter.flush())

    def _emit(self, pieces: list[tuple[bytes, bool]]) -> None:
        for line, _ in pieces:
            self._tail.add(line)
        self._writer.write(self.stream, pieces)
