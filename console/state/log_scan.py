"""The search process: reads a task from standard input, scans the blocks it names newest first, reports matches.

Ends when whoever started it is gone, even in the midst of a pattern that never ends. Opens nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import sys
import time
from array import array
from collections import deque
from typing import Final

import msgspec

from console.state.log_line import LogKey
from console.state.log_query import LineFilter
from console.state.log_read import Merge
from console.state.log_search import REPORT, ScanTask, StreamTask
from console.state.log_spill import SpillFile
from console.state.log_stream import LogBlock, LogStream

REPORT_S: Final = 0.03
FOREGROUND_LINES: Final = 200_000
"""What is scanned before the process makes way for others: the part somebody waits for."""
_BATCH: Final = 4096


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


def stream_of(task: StreamTask, memory_fd: int) -> LogStream:
    """The stream whose blocks a task names."""
    stream = LogStream(task.number, "", 0)
    files: dict[int, SpillFile] = {}
    for block in task.blocks:
        fd = memory_fd if block.fd < 0 else block.fd
        stream.blocks.append(
            LogBlock(
                stream=task.number,
                first_number=block.first_number,
                first_stamp=block.first_stamp,
                last_stamp=block.last_stamp,
                lines=block.lines,
                size=block.size,
                odd=block.odd,
                full=True,
                file=files.setdefault(fd, SpillFile(fd)),
                at=block.at,
            )
        )
    return stream


def scan(task: ScanTask, out_fd: int) -> None:
    """Look through all of it. Raises OSError where nobody reads the reports."""
    query = task.query
    key = None if query.until_ts is None else (query.until_ts, -1, -1)
    streams = [stream_of(stream, task.memory_fd) for stream in task.streams]
    merge = Merge(streams, key, LineFilter(query, must=task.pattern), back=True)
    reports = Reports(out_fd, task.keep)
    foreground = True
    while (ts := merge.next_ts()) is not None and (query.since_ts is None or ts >= query.since_ts):
        found = merge.step()
        if found is not None:
            reports.found(found[0])
            if reports.count > 1 and reports.count % _BATCH:
                continue
        reports.send(merge.scanned_lines)
        if foreground and merge.scanned_lines > FOREGROUND_LINES:
            foreground = False
            with contextlib.suppress(OSError):
                os.nice(10)
    reports.send(merge.scanned_lines, done=True)


def end_with_starter(fd: int) -> None:
    """From now on the end of this pipe is a signal that ends this process, whatever it is busy with."""
    fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)


def main() -> None:
    """The process."""
    size = struct.unpack("<Q", _read(0, 8))[0]
    task = msgspec.msgpack.decode(_read(0, size), type=ScanTask)
    end_with_starter(0)
    try:
        scan(task, 1)
    except BrokenPipeError:
        sys.exit(1)


def _read(fd: int, size: int) -> bytes:
    parts: deque[bytes] = deque()
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
