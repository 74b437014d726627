"""The files of one replica's log directory: `current.log` and rotated `<first-line-ts-ns>.log`, read by pread.

Owns opening them without losing a line to a rotation, finding instants in them and reading backwards. Never maps a
file and never writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from backend.contract.log_lines import is_part, stamp_of

CURRENT: Final = "current.log"
BLOCK_BYTES: Final = 64 * 1024


class LogFile(msgspec.Struct):
    """An open log file: `order` is its first line's nanoseconds, infinity for the one being written."""

    fd: int
    inode: int
    size: int
    order: float

    def read(self, start: int, end: int) -> bytes:
        """Bytes start..end, fewer only where the file is shorter."""
        parts: list[bytes] = []
        while start < end:
            part = os.pread(self.fd, end - start, start)
            if not part:
                break
            parts.append(part)
            start += len(part)
        return b"".join(parts)

    def close(self) -> None:
        os.close(self.fd)


def first_us(file: LogFile) -> int | None:
    """The stamp of a file's first line in microseconds; None while it has none."""
    stamp = stamp_of(file.read(0, 40))
    return None if stamp is None else round(stamp * 1_000_000)


def replicas_in(logs_dir: Path) -> list[str]:
    """Names of replicas that have a log directory, sorted."""
    try:
        entries = list(os.scandir(logs_dir))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))


def _open(path: Path, order: float) -> LogFile | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    stat = os.fstat(fd)
    return LogFile(fd, stat.st_ino, stat.st_size, order)


def current_inode(directory: Path) -> int | None:
    """The inode of the file being written; None while there is none."""
    try:
        return (directory / CURRENT).stat().st_ino
    except (FileNotFoundError, NotADirectoryError):
        return None


def open_files(directory: Path, *, after_inode: int | None = None) -> list[LogFile]:
    """All files, oldest first; those after the file `after_inode` only, if that is given and still there.

    The current one is opened before the rotated ones are listed: a rotation in between shows it twice (and it is
    taken once), never not at all.
    """
    current = _open(directory / CURRENT, float("inf"))
    try:
        names = os.listdir(directory)  # noqa: PTH208 - names only, one call
    except (FileNotFoundError, NotADirectoryError):
        names = []
    orders = sorted(int(name[:-4]) for name in names if name.endswith(".log") and name[:-4].isdecimal())
    files: list[LogFile] = []
    for order in orders:
        rotated = _open(directory / f"{order}.log", order)
        if rotated is None:
            continue
        if current is not None and rotated.inode == current.inode:
            rotated.close()
            break  # what was rotated after it is newer than it: for the next look
        if rotated.inode == after_inode:
            rotated.close()
            _close_all(files)
            files = []
            continue
        files.append(rotated)
    if current is not None:
        if current.inode == after_inode:
            current.close()
            _close_all(files)
            return []
        files.append(current)
    return files


def _close_all(files: Sequence[LogFile]) -> None:
    for file in files:
        file.close()


@contextmanager
def opened(directory: Path) -> Iterator[list[LogFile]]:
    """All files, oldest first, closed at the end."""
    files = open_files(directory)
    try:
        yield files
    finally:
        _close_all(files)


def offset_at(file: LogFile, ts: float) -> int:
    """Where the first line with an instant >= ts begins; the size if there is none."""
    low, high = 0, file.size
    while high - low > BLOCK_BYTES:
        middle = (low + high) // 2
        found = _stamped_line_after(file, middle, high)
        if found is None or found[1] >= ts:
            high = middle
        else:
            low = found[0]
    at = low
    for line in _lines_from(file, low):
        stamp = stamp_of(line)
        if stamp is not None and stamp >= ts:
            return at
        at += len(line)
    return file.size


def _stamped_line_after(file: LogFile, start: int, end: int) -> tuple[int, float] | None:
    """The first line that begins in start+1..end and has an instant: (offset, ts)."""
    while start < end:
        block = file.read(start, min(start + BLOCK_BYTES, file.size))
        if not block:
            return None
        newline = block.find(b"\n")
        while newline >= 0:
            at = start + newline + 1
            if at >= end:
                return None
            stamp = stamp_of(file.read(at, at + 40))
            if stamp is not None:
                return at, stamp
            newline = block.find(b"\n", newline + 1)
        start += len(block)
    return None


def _lines_from(file: LogFile, start: int) -> Iterator[bytes]:
    """Lines with their newline from an offset on; a last one without newline too."""
    rest = b""
    while start < file.size:
        block = file.read(start, min(start + BLOCK_BYTES, file.size))
        if not block:
            break
        start += len(block)
        *whole, rest = (rest + block).split(b"\n")
        for line in whole:
            yield line + b"\n"
    if rest:
        yield rest


def start_of_last_lines(file: LogFile, low: int, high: int, count: int) -> tuple[int, int]:
    """Where the last `count` lines of low..high begin, and how many there are: (offset, lines).

    `low` and `high` are line starts. Goes on backwards while the line before is a part (`P`) that these continue.
    """
    if count <= 0 or high <= low:
        return high, 0
    size = BLOCK_BYTES
    while True:
        start = max(low, high - size)
        found = _walk_back(file.read(start, high), count, whole=start == low)
        if found is not None:
            return start + found[0], found[1]
        size *= 4


def _walk_back(text: bytes, count: int, *, whole: bool) -> tuple[int, int] | None:
    """(offset, lines) of the last `count` lines in a text; None when it must begin earlier to tell."""
    begin = len(text)
    for lines in range(1, text.count(b"\n") + 2):
        newline = text.rfind(b"\n", 0, begin - 1)
        begin = newline + 1
        if newline < 0:
            return (0, lines) if whole else None
        if lines >= count:
            previous = text.rfind(b"\n", 0, newline) + 1
            if previous == 0 and not whole:
                return None
            if not is_part(text[previous : previous + 48]):
                return begin, lines
    return 0, 0


def end_of_lines(file: LogFile) -> int:
    """Where the last whole line ends; a line being written is left for later."""
    at = file.size
    while at > 0:
        start = max(0, at - 4096)
        newline = file.read(start, at).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        at = start
    return 0


def split_lines(data: bytes) -> list[bytes]:
    lines = data.split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    return lines


def is_plain_name(replica: str) -> bool:
    """Whether a name stays inside the log directory (names come from a user or the wire)."""
    return bool(replica) and "/" not in replica and "\0" not in replica and replica not in {".", ".."}
