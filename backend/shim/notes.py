"""Writes notes beside the log files. A note that cannot be written is left out: the program never waits for it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from backend.contract.log_notes import note

_TRIM_BYTES: Final = 64 * 1024


def write_note(path: Path, first: int, second: int) -> None:
    """Append a note; a list that grew long keeps its newer half."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, note(first, second))
            size = os.fstat(fd).st_size
        finally:
            os.close(fd)
        if size > _TRIM_BYTES:
            text = path.read_bytes()
            part = path.with_name(f".{path.name}.{os.getpid()}")
            part.write_bytes(text[text.index(b"\n", len(text) // 2) + 1 :])
            part.replace(path)
