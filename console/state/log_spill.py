"""Where full log blocks go when memory is full: a bounded ring of nameless files. Owns their descriptors.

The files have no name, so the system takes their room back when the process ends, however it ends.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections import deque
from pathlib import Path
from typing import Final

from console.state.log_block import SpillFile

_PIECES: Final = 16
_LEAST_BYTES: Final = 64 * 1024


class Spill:
    """Appends bytes to the newest file; the oldest one is let go when all together would pass `limit_bytes`."""

    def __init__(self, directory: Path, limit_bytes: int) -> None:
        self._directory, self._limit = directory, limit_bytes
        self._file_bytes = max(_LEAST_BYTES, limit_bytes // _PIECES)
        self.files: deque[SpillFile] = deque()
        self.bytes = 0

    def write(self, data: bytes | bytearray) -> tuple[SpillFile, int]:
        """Put bytes at the end of the newest file: where they stand. Raises OSError; nothing is kept then."""
        if not self.files or (self.files[-1].size and self.files[-1].size + len(data) > self._file_bytes):
            self.files.append(SpillFile(_nameless(self._directory)))
        file = self.files[-1]
        at, done = file.size, 0
        view = memoryview(data)
        try:
            while done < len(view):
                written = os.pwrite(file.fd, view[done:], at + done)
                if written == 0:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                done += written
        finally:
            view.release()
        file.size += done
        self.bytes += done
        return file, at

    def over_limit(self) -> bool:
        """Whether the oldest file is to be let go."""
        return self.bytes > self._limit

    def let_go(self) -> SpillFile:
        """Close the oldest file; its bytes are gone."""
        file = self.files.popleft()
        self._close(file)
        return file

    def let_go_of(self, file: SpillFile) -> None:
        """Close a file that nothing points into any more."""
        if file in self.files:
            self.files.remove(file)
            self._close(file)

    def close(self) -> None:
        """Close all. Idempotent."""
        while self.files:
            self.let_go()

    def _close(self, file: SpillFile) -> None:
        self.bytes -= file.size
        os.close(file.fd)
        file.fd = -1


def _nameless(directory: Path) -> int:
    """A file without a name, for this user only."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    flag = getattr(os, "O_TMPFILE", None)
    if flag is not None:
        with contextlib.suppress(OSError):  # not every file system can
            return os.open(directory, flag | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fd, name = tempfile.mkstemp(prefix=".log-spill-", dir=directory)
    os.unlink(name)  # noqa: PTH108 - a name that mkstemp gave
    return fd
