"""The disk under the log directory is full: no file of the shim takes a byte, by the kernel's own word.

Owns the shim's limit of file sizes. The program writes nothing there itself, so it goes on serving; lines are lost,
counted, and told by a line once there is room again. Records of start and exit are written all the same.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from backend.shim.faults.held import HeldFault, Surroundings

_TRIAL: Final = ".trial"


class FileBound:
    """The shim's own limit of file sizes: zero while `set` is on, except inside `lifted`."""

    def __init__(self) -> None:
        self._before: int | None = None

    def set(self, on: bool) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        if on and self._before is None:
            self._before = soft
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
        elif not on and self._before is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self._before, hard))
            self._before = None

    @contextlib.contextmanager
    def lifted(self) -> Iterator[None]:
        """Inside, files may be written as if nothing were bound; what is started inherits nothing of it."""
        bound = self._before is not None
        self.set(False)
        try:
            yield
        finally:
            self.set(bound)


def takes_a_byte(folder: Path) -> bool:
    """Whether a new file there can be written. Raises OSError for any other trouble than a lack of room."""
    path = folder / _TRIAL
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, b"x")
    except OSError as error:
        if error.errno not in (errno.EFBIG, errno.ENOSPC, errno.EDQUOT):
            raise
        return False
    finally:
        os.close(descriptor)
        path.unlink(missing_ok=True)
    return True


class FullDisk(HeldFault):
    """`fill-disk`."""

    def __init__(self, around: Surroundings) -> None:
        super().__init__()
        self._around = around
        self._lost_before = 0
        self._told = False

    def inject(self) -> None:
        self._lost_before = self._around.lost_lines()
        self._around.bound_files(True)

    def active(self) -> bool:
        self.affected = self._around.lost_lines() - self._lost_before
        self.detail = f"{self.affected} lines lost so far"
        try:
            return not takes_a_byte(Path(self._around.log_dir))
        except OSError as error:
            self.detail = f"{self._around.log_dir} cannot be tried: {error.strerror}"
            return False

    def undo(self) -> None:
        self._around.bound_files(False)
        if not self._told:
            self._told = True
            self._around.tell_losses()

    def undone(self) -> bool:
        # Not by trying: the disk may have become full by itself.
        return resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 0
