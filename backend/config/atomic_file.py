"""Small state files that are whole or not there: written beside, fsynced, renamed. Knows nothing of what is in them."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def write_atomically(path: Path, raw: bytes, *, mode: int = 0o600) -> None:
    """Return once `raw` is on disk under that name, by default readable by this user only. Who writes the same file
    meanwhile waits, and its words are the last. Raises OSError with the old file intact."""
    part = path.with_name(f".{path.name}.part")
    descriptor = _alone_with(part)
    try:
        view = memoryview(raw)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
        part.replace(path)
    finally:
        os.close(descriptor)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _alone_with(part: Path) -> int:
    """A descriptor of the file, empty, that nobody else has: the write of a task that was cancelled goes on in its
    thread, and may meet the next one."""
    while True:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_still(part, descriptor):
                os.ftruncate(descriptor, 0)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_still(part: Path, descriptor: int) -> bool:
    """Whether the file has that name: who had it before has renamed it by now."""
    try:
        return os.path.samestat(os.fstat(descriptor), part.stat())
    except FileNotFoundError:
        return False
