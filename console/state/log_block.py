"""A block of neighbouring held lines of one stream, in memory or in a file, and how its bytes are read.

Imported by the search process too, which must begin fast: little of the standard library, nothing else.
"""

from __future__ import annotations

import errno
import os

from console.state.log_head import stamp_ts


class SpillFile:
    """One nameless file and how much of it is written."""

    __slots__ = ("fd", "size")

    def __init__(self, fd: int) -> None:
        self.fd, self.size = fd, 0


class LogBlock:
    """Lines with their newlines. Once `full` its bytes change no more. `data` is None when they are in `file` at `at`.

    `odd`: some lines have flag `B`, so their text begins with their own stamp."""

    __slots__ = (
        "at", "data", "file", "first_number", "first_stamp", "full", "last_stamp", "lines", "odd", "size", "stream"
    )  # fmt: skip

    def __init__(self, stream: int, first_number: int, first_stamp: bytes) -> None:
        self.stream, self.first_number = stream, first_number
        self.first_stamp = self.last_stamp = first_stamp
        self.lines = self.size = self.at = 0
        self.odd = self.full = False
        self.data: bytearray | None = None
        self.file: SpillFile | None = None

    @property
    def first_ts(self) -> float:
        return stamp_ts(self.first_stamp)

    @property
    def last_ts(self) -> float:
        return stamp_ts(self.last_stamp)

    @property
    def end_number(self) -> int:
        return self.first_number + self.lines

    def read(self, start: int, end: int) -> bytes:
        """Some of its bytes. Raises OSError."""
        if self.data is not None:
            with memoryview(self.data) as view:
                return bytes(view[start:end])
        assert self.file is not None
        return read_at(self.file.fd, end - start, self.at + start)


def read_at(fd: int, size: int, at: int) -> bytes:
    """`size` bytes from `at` on. Raises OSError where they are not there."""
    parts: list[bytes] = []
    while size > 0:
        part = os.pread(fd, size, at)
        if not part:
            raise OSError(errno.EIO, "a spill file is shorter than what was written to it")
        parts.append(part)
        size -= len(part)
        at += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
