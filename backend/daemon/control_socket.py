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
    old = os.umask(0o177)
    try:
        listener.bind(str(path))
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(old)
    listener.listen(128)
    return listener
