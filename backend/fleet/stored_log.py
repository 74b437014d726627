"""What is stored already of a log that a driver writes itself, in the shims' format: lines backwards, starts noted.

Reads one replica's log directory and writes nothing. Blocks: call it in a thread.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from backend.contract.log_notes import STARTS, read_notes

_BLOCK: Final = 64 * 1024


def lines_back(log_dir: Path) -> Iterator[bytes]:
    """Stored lines of all files, newest first. Files that go meanwhile are left out."""
    try:
        rotated = sorted((p for p in log_dir.glob("*.log") if p.stem.isdigit()), key=lambda p: -int(p.stem))
    except OSError:
        return
    for path in (log_dir / "current.log", *rotated):
        yield from _lines_of(path)


def noted_starts(log_dir: Path) -> list[tuple[int, int]]:
    """(start number, POSIX nanoseconds) in the order they were noted; none where nothing can be read."""
    try:
        return read_notes((log_dir / STARTS).read_bytes())
    except OSError:
        return []


def _lines_of(path: Path) -> Iterator[bytes]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        end, rest = os.fstat(fd).st_size, b""
        while end > 0:
            start = max(0, end - _BLOCK)
            lines = (os.pread(fd, end - start, start) + rest).split(b"\n")
            rest = lines[0] if start > 0 else b""
            yield from (line for line in reversed(lines[1:] if start > 0 else lines) if line)
            end = start
    finally:
        os.close(fd)
