"""One daemon per state directory, by a file lock that ends with the process."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from backend.contract.errors import TrinityError


class AlreadyRunning(TrinityError):
    """Another trinityd holds this state directory."""

    kind = "already-running"

    def __init__(self, pid: int) -> None:
        super().__init__(f"trinityd already runs for this state directory (pid {pid}).", "Use it, or `trinity down`.")
        self.pid = pid


class DaemonLock:
    """Held while the object lives. The file says our pid."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pid = int(os.read(self._fd, 32).strip() or b"0")
            os.close(self._fd)
            raise AlreadyRunning(pid) from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        # Unlocked, not only closed: a child that is being started has a copy of the descriptor until it is its program.
        fcntl.flock(self._fd, fcntl.LOCK_UN)
        os.close(self._fd)
