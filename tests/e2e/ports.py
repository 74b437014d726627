"""Ports of a fleet under test, its own for as long as it lives: no other test process, no replica, no outgoing
connection gets one between the choice and the fleet's own bind.

Owns which ports that are: below the kernel's ephemeral range and below what replicas get, eight apart, so that "the
next free one" of a port is nobody's either. Test processes beside each other tell by locked files.
"""

from __future__ import annotations

import fcntl
import os
import random
import tempfile
from pathlib import Path
from typing import IO, Final

from backend.fleet.supervision.ports import is_free

_RANGE: Final = range(2005, 9992, 8)


class HeldPorts:
    """Some ports; `release` lets others have them."""

    def __init__(self, count: int) -> None:
        self._locks: list[IO[str]] = []
        self.numbers: list[int] = []
        folder = Path(tempfile.gettempdir()) / f"trinity-test-ports-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        for port in random.sample(_RANGE, len(_RANGE)):
            if len(self.numbers) == count:
                return
            lock = (folder / str(port)).open("w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                lock.close()
                continue
            if is_free("127.0.0.1", port):
                self._locks.append(lock)
                self.numbers.append(port)
            else:
                lock.close()
        assert len(self.numbers) == count, "no port is free"

    def release(self) -> None:
        """Once nobody of ours listens on them."""
        for lock in self._locks:
            lock.close()
        self._locks.clear()
