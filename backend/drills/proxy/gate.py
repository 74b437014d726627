"""A listening port that can be shut without losing it: while shut, connections are refused as by a dead replica.

Owns the port. It is reserved by a socket that is bound but never listens, so no other program can take it meanwhile.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable


class Gate:
    """One port. `factory` makes the protocol of each connection taken."""

    def __init__(self, host: str, factory: Callable[[], asyncio.BaseProtocol]) -> None:
        self._host, self._factory = host, factory
        self._reserved = _bound(host, 0)
        self.port = int(self._reserved.getsockname()[1])
        self._server: asyncio.Server | None = None
        self._wanted = False
        self._lock = asyncio.Lock()

    @property
    def is_open(self) -> bool:
        return self._server is not None

    async def open(self) -> None:
        """Take connections. Raises OSError."""
        self._wanted = True
        async with self._lock:
            if self._server is not None:
                return
            listener = _bound(self._host, self.port)
            server = await asyncio.get_running_loop().create_server(self._factory, sock=listener, backlog=1024)
            if self._wanted:
                self._server = server
            else:  # shut meanwhile
                server.close()

    def shut(self) -> None:
        """Refuse connections from now on; those taken go on."""
        self._wanted = False
        if self._server is not None:
            self._server.close()
            self._server = None

    def close(self) -> None:
        """Shut, and give the port up."""
        self.shut()
        self._reserved.close()


def _bound(host: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        made.bind((host, port))
    except OSError:
        made.close()
        raise
    return made
