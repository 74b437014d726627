"""Small state files that are whole or not there: written beside, fsynced, renamed. Knows nothing of what is in them."""

from __future__ import annotations

import os
from pathlib import Path


def write_atomically(path: Path, raw: bytes, *, mode: int = 0o600) -> None:
    """Return once `raw` is on disk under that name, by default readable by this user only. Raises OSError with the old
    file intact."""
    part = path.with_name(f".{path.name}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        view = memoryview(raw)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    part.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
