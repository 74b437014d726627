"""The edge's log files on disk: reading on from where the last daemon stopped, and giving space back.

Owns `edge/access-*.log` and the position file. Bytes that have been read are punched out of the file, so that a log
HAProxy never closes takes no more space than what is unread. Never writes to a log, never parses one.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

_NAME: Final = re.compile(r"^access-(\d+)\.log$")
_CHUNK: Final = 1024 * 1024
_PUNCH_EVERY: Final = 1024 * 1024
_FALLOC_KEEP_SIZE: Final = 1
_FALLOC_PUNCH_HOLE: Final = 2
_LONGEST_LINE: Final = 64 * 1024


class LogTail:
    """All access logs of one edge directory, in order of their start number."""

    def __init__(self, directory: Path, offsets: dict[str, int] | None = None) -> None:
        self.directory = directory
        self.offsets: dict[str, int] = dict(offsets or {})
        self.can_punch = True
        self._punched: dict[str, int] = {}

    def files(self) -> list[Path]:
        """Existing logs, the oldest start first."""
        found = [(int(match[1]), path) for path in self.directory.iterdir() if (match := _NAME.match(path.name))]
        return [path for _, path in sorted(found)]

    def starts(self) -> list[int]:
        """The start numbers of existing logs."""
        return [int(match[1]) for path in self.files() if (match := _NAME.match(path.name))]

    def read(self, path: Path, limit: int = _CHUNK) -> list[bytes]:
        """Whole new lines of one file, up to `limit` bytes; moves its offset past them."""
        offset = self.offsets.get(path.name, 0)
        try:
            with path.open("rb", buffering=0) as file:
                data = os.pread(file.fileno(), limit, offset)
        except FileNotFoundError:
            return []
        end = data.rfind(b"\n") + 1
        if end == 0:
            if len(data) < _LONGEST_LINE:
                return []
            end = len(data)  # no line of ours is this long: skip what cannot be one
        self.offsets[path.name] = offset + end
        return data[:end].split(b"\n")[:-1] or [data[:end]]

    def unread(self, path: Path) -> int:
        """Bytes not read yet."""
        try:
            return path.stat().st_size - self.offsets.get(path.name, 0)
        except FileNotFoundError:
            return 0

    def free(self, path: Path) -> bool:
        """Give the space of what was read back. False where the file system cannot."""
        done, offset = self._punched.get(path.name, 0), self.offsets.get(path.name, 0)
        if not self.can_punch or offset - done < _PUNCH_EVERY:
            return self.can_punch
        self.can_punch = punch_hole(path, done, offset - done)
        if self.can_punch:
            self._punched[path.name] = offset
        return self.can_punch

    def remove_finished(self, keep: Collection[int]) -> Iterator[str]:
        """Delete logs read to their end, except those of start numbers in `keep`; yields their names."""
        for path in self.files():
            match = _NAME.match(path.name)
            if match is None or int(match[1]) in keep or self.unread(path) > 0:
                continue
            path.unlink(missing_ok=True)
            self.offsets.pop(path.name, None)
            self._punched.pop(path.name, None)
            yield path.name

    def forget_missing(self) -> None:
        """Drop offsets of files that are gone."""
        present = {path.name for path in self.files()}
        self.offsets = {name: offset for name, offset in self.offsets.items() if name in present}


def punch_hole(path: Path, offset: int, length: int) -> bool:
    """Deallocate a byte range, keeping the file's size. False where the file system or platform cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "fallocate"):
        return False
    descriptor = os.open(path, os.O_RDWR)
    try:
        mode = ctypes.c_int(_FALLOC_KEEP_SIZE | _FALLOC_PUNCH_HOLE)
        if libc.fallocate(descriptor, mode, ctypes.c_int64(offset), ctypes.c_int64(length)) == 0:
            return True
        number = ctypes.get_errno()
        if number in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
            return False
        raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(descriptor)
