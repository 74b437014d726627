"""The shim's control socket: JSON lines in, JSON lines out, pushed events to everyone connected.

Owns the listening unix socket and the buffers of its connections. Decides nothing: it hands requests on.
"""

from __future__ import annotations

import os
import selectors
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from backend.shim.protocol import MAX_LINE_BYTES, Message, Request, encode_line

_MAX_PENDING_BYTES: Final = 4 * 1024 * 1024

Handler = Callable[["Connection", Request], None]


class Connection:
    """One client. Writes never block: what does not fit waits, and a client that never reads is dropped."""

    def __init__(self, peer: socket.socket, server: ControlSocket) -> None:
        peer.setblocking(False)
        self.peer, self._server = peer, server
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self.open = True

    def send(self, message: Message) -> None:
        """Queue a message and send what goes out now."""
        if not self.open:
            return
        self._outgoing += encode_line(message)
        if len(self._outgoing) > _MAX_PENDING_BYTES:
            self.close()
        else:
            self._write()

    def ready(self, mask: int) -> None:
        """The selector's callback."""
        if mask & selectors.EVENT_WRITE:
            self._write()
        if mask & selectors.EVENT_READ and self.open:
            self._read()

    def finish(self) -> None:
        """Give the last messages half a second, then close."""
        if self.open and self._outgoing:
            self.peer.settimeout(0.5)
            try:
                self.peer.sendall(self._outgoing)
            except OSError:
                self._outgoing.clear()
        self.close()

    def close(self) -> None:
        if self.open:
            self.open = False
            self._server.forget(self)
            self.peer.close()

    def _write(self) -> None:
        try:
            sent = self.peer.send(self._outgoing) if self._outgoing else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        del self._outgoing[:sent]
        self._server.watch(self, writing=bool(self._outgoing))

    def _read(self) -> None:
        try:
            data = self.peer.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._incoming += data
        if not data or len(self._incoming) > MAX_LINE_BYTES:
            self.close()
            return
        *lines, rest = bytes(self._incoming).split(b"\n")
        self._incoming = bytearray(rest)
        for line in lines:
            self._server.dispatch(self, line)


class ControlSocket:
    """Listens on a unix socket that only this user may open."""

    def __init__(self, path: str, selector: selectors.BaseSelector, handler: Handler) -> None:
        self._path, self._selector, self._handler = path, selector, handler
        Path(path).unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)
        try:
            self._listener.bind(path)
        finally:
            os.umask(mask)
        self._listener.listen(64)
        self._listener.setblocking(False)
        selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._connections: list[Connection] = []

    def push(self, message: Message) -> None:
        """Send an event to every client."""
        for connection in list(self._connections):
            connection.send(message)

    def dispatch(self, connection: Connection, line: bytes) -> None:
        """Decode one request line and hand it on; a line that is no request ends the connection."""
        try:
            request = msgspec.json.decode(line, type=Request)
        except msgspec.DecodeError as error:
            connection.send(Message(error=f"Not a request: {error}"))
            connection.close()
            return
        self._handler(connection, request)

    def watch(self, connection: Connection, *, writing: bool) -> None:
        mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if writing else 0)
        if self._selector.get_key(connection.peer).events != mask:
            self._selector.modify(connection.peer, mask, connection.ready)

    def forget(self, connection: Connection) -> None:
        self._selector.unregister(connection.peer)
        self._connections.remove(connection)

    def finish(self) -> None:
        """Send what is queued, close everything, remove the socket file."""
        Path(self._path).unlink(missing_ok=True)
        self._selector.unregister(self._listener)
        self._listener.close()
        for connection in list(self._connections):
            connection.finish()

    def _accept(self, _mask: int) -> None:
        try:
            peer, _ = self._listener.accept()
        except OSError:
            return
        connection = Connection(peer, self)
        self._connections.append(connection)
        self._selector.register(peer, selectors.EVENT_READ, connection.ready)
