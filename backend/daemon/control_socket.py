"""The unix sockets that a daemon listens on: for this user only, a dead one's file replaced. Serves nothing itself."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path


def listen_on(path: Path) -> socket.socket:
    """A socket that listens there. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.setblocking(False)
    try:
        # Not by the umask, which is that of every thread: a directory made meanwhile could not be entered.
        with contextlib.suppress(OSError):  # macOS: a socket has a mode only once it is bound
            os.fchmod(listener.fileno(), 0o600)
        listener.bind(str(path))
        path.chmod(0o600)
    except OSError:
        listener.close()
        raise
    listener.listen(128)
    return listener
