"""The search process: reads a task from standard input, scans the blocks it names newest first, reports matches.

Ends when whoever started it is gone, even in the midst of a pattern that never ends. Opens nothing, and imports little:
somebody waits for its first report.
"""

from __future__ import annotations

import fcntl
import marshal
import os
import struct
import sys
import time
from array import array
from typing import Final

from console.state.log_block import LogBlock, SpillFile
from console.state.log_head import LogKey
from console.state.log_pattern import LineFilter
from console.state.log_read import Merge

REPORT: Final = struct.Struct("<IQQB")
"""A report: places that follow, lines scanned, matches found, and whether that is all."""
REPORT_S: Final = 0.03
WAIT_S: Final = 0.001
FOREGROUND_LINES: Final = 200_000
"""What is scanned before the process makes way for others: the part somebody waits for."""
_BATCH: Final = 4096

BlockTask = tuple[int, int, int, int, int, bytes, bytes, bool]
"""One block: descriptor and offset, size, first number, lines, first and last stamp, and whether it is odd."""
ScanTask = tuple[
    str, list[str], list[str], list[str] | None, float | None, float | None, int, int, dict[int, list[BlockTask]]
]
"""Pattern, include, exclude, levels, since and until, how many places to keep, the descriptor of the copy of memory,
and the blocks of each stream."""


class CopiedBlock(LogBlock):
    """A block in the copy of memory, which grows while we read: what is newest stands first in it."""

    __slots__ = ()

    def read(self, start: int, end: int) -> bytes:
        assert self.file is not None
        while os.fstat(self.file.fd).st_size < self.at + end:
            time.sleep(WAIT_S)  # whoever copies ends this process if that fails
        return super().read(start, end)


class ScanStream:
    """One stream of a task."""

    def __init__(self, number: int, tasks: list[BlockTask], copy_fd: int) -> None:
        self.number = number
        self.blocks: list[LogBlock] = []
        for fd, at, size, first_number, lines, first_stamp, last_stamp, odd in tasks:
            block = (CopiedBlock if fd == copy_fd else LogBlock)(number, first_number, first_stamp)
            block.file, block.at, block.size, block.lines = SpillFile(fd), at, size, lines
            block.last_stamp, block.odd, block.full = last_stamp, odd, True
            self.blocks.append(block)


class Reports:
    """Writes reports: at once for the first match, then now and then."""

    def __init__(self, fd: int, keep: int) -> None:
        self._fd, self._keep = fd, keep
        self._ts, self._number, self._stream = array("d"), array("Q"), array("I")
        self._last = 0.0
        self._kept = 0
        self.count = 0

    def found(self, key: LogKey) -> None:
        self.count += 1
        if self._kept < self._keep:
            self._kept += 1
            self._ts.append(key[0])
            self._stream.append(key[1])
            self._number.append(key[2])

    def send(self, scanned: int, *, done: bool = False) -> None:
        """Report if it is time, or the first match, or the end."""
        first = self.count > 0 and self._kept == len(self._ts) > 0
        now = time.monotonic()
        if not (done or first or now - self._last >= REPORT_S or len(self._ts) >= _BATCH):
            return
        self._last = now
        head = REPORT.pack(len(self._ts), scanned, self.count, done)
        _write(self._fd, head + self._ts.tobytes() + self._number.tobytes() + self._stream.tobytes())
        del self._ts[:], self._number[:], self._stream[:]


def scan(task: ScanTask, out_fd: int) -> None:
    """Look through all of it. Raises OSError where nobody reads the reports."""
    pattern, include, exclude, levels, since_ts, until_ts, keep, copy_fd, blocks = task
    streams = [ScanStream(number, of_stream, copy_fd) for number, of_stream in blocks.items()]
    wanted = LineFilter(include, exclude, None if levels is None else frozenset(levels), must=pattern)
    merge = Merge(streams, None if until_ts is None else (until_ts, -1, -1), wanted, back=True)
    reports = Reports(out_fd, keep)
    foreground = True
    while (ts := merge.next_ts()) is not None and (since_ts is None or ts >= since_ts):
        found = merge.step()
        if found is not None:
            reports.found(found[0])
            if reports.count > 1 and reports.count % _BATCH:
                continue
        reports.send(merge.scanned_lines)
        if foreground and merge.scanned_lines > FOREGROUND_LINES:
            foreground = False
            os.nice(10)
    reports.send(merge.scanned_lines, done=True)


def end_with_starter(fd: int) -> None:
    """From now on the end of this pipe is a signal that ends this process, whatever it is busy with."""
    fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)


def main(task_fd: int = 0, reports_fd: int = 1) -> None:
    """The process."""
    size = struct.unpack("<Q", _read(task_fd, 8))[0]
    task: ScanTask = marshal.loads(_read(task_fd, size))  # noqa: S302 - from the process that started this one
    end_with_starter(task_fd)
    try:
        scan(task, reports_fd)
    except BrokenPipeError:
        sys.exit(1)


def _read(fd: int, size: int) -> bytes:
    parts: list[bytes] = []
    while size > 0:
        part = os.read(fd, size)
        if not part:
            sys.exit(1)  # whoever started us is gone
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _write(fd: int, data: bytes) -> None:
    done = 0
    while done < len(data):
        done += os.write(fd, data[done:])
