"""A replica's own health endpoints: `/health/live`, `/health/ready`, `/health/startup`, and `/health/edge` for load
balancers that take 404 as "no new work, but finish what you have".

Owns their words and a small HTTP loop with one thread and no engine code, so that a busy engine cannot starve it.
Never asks the engine anything while answering.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

MAX_REQUEST_BYTES: Final = 8_192
CONNECTION_S: Final = 5.0
"""A connection that has not finished its request by then is closed."""
MAX_CONNECTIONS: Final = 64
THREAD_NAME: Final = "health"
"""The kernel's name for the thread that answers."""


class ServingState(StrEnum):
    """Where a replica is in its life."""

    LOADING = "loading"
    SERVING = "serving"
    DRAINING = "draining"


class HealthAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every health answer."""

    status: str
    """`ok` or `unavailable`."""
    check: str
    state: ServingState
    reason: str
    model: str
    uptime_s: float


_REASONS: Final[dict[ServingState, str]] = {
    ServingState.LOADING: "the model is still loading",
    ServingState.SERVING: "serving",
    ServingState.DRAINING: "stopping: it finishes what it has and takes no new work",
}
_PASSES: Final[dict[str, frozenset[ServingState]]] = {
    "live": frozenset(ServingState),
    "startup": frozenset({ServingState.SERVING, ServingState.DRAINING}),
    "ready": frozenset({ServingState.SERVING}),
    "edge": frozenset({ServingState.SERVING}),
}


def health_answer(path: str, state: ServingState, *, model: str, uptime_s: float) -> tuple[int, bytes]:
    """HTTP status and JSON body for a path; `/health` alone means ready."""
    check = {"/health": "ready", "/health/": "ready"}.get(path, path.removeprefix("/health/"))
    passing = _PASSES.get(check)
    if passing is None or not path.startswith("/health"):
        return 404, b'{"status":"unknown","reason":"ask /health/live, /health/ready or /health/startup"}\n'
    ok = state in passing
    body = HealthAnswer(
        status="ok" if ok else "unavailable",
        check=check,
        state=state,
        reason=_REASONS[state],
        model=model,
        uptime_s=round(uptime_s, 3),
    )
    refused = 404 if check == "edge" and state is ServingState.DRAINING else 503
    return (200 if ok else refused), msgspec.json.encode(body) + b"\n"


def bind_health(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError where the port is taken."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


class HealthLoop:
    """Answers on a listening socket until `stop` is called; other descriptors may share its selector."""

    def __init__(self, listener: socket.socket | None, answer: Callable[[str], tuple[int, bytes]]) -> None:
        self.selector = selectors.DefaultSelector()
        self._listener = listener
        self._answer = answer
        self._open: dict[socket.socket, tuple[bytearray, float]] = {}
        self._running = True
        self._leave_by: float | None = None
        if listener is not None:
            listener.setblocking(False)
            self.selector.register(listener, selectors.EVENT_READ, self._accept)

    def watch(self, descriptor: int, callback: Callable[[], None]) -> None:
        """Call `callback` whenever `descriptor` is readable."""
        self.selector.register(descriptor, selectors.EVENT_READ, callback)

    def unwatch(self, descriptor: int) -> None:
        """Stop watching; unknown descriptors are no error."""
        with contextlib.suppress(KeyError):
            self.selector.unregister(descriptor)

    def stop_accepting(self) -> None:
        """Leave further connections to whoever else holds the listening socket."""
        if self._listener is not None:
            self.unwatch(self._listener.fileno())
            self._listener = None

    def stop(self) -> None:
        """End `run` after the present round. To be called from a callback of this loop."""
        self._running = False

    def stop_when_answered(self, within_s: float) -> None:
        """End `run` once every open connection has had its answer, or after `within_s` seconds."""
        self._leave_by = time.monotonic() + within_s

    def run(self) -> None:
        """Serve until stopped. Sleeps in the kernel while nobody asks."""
        with contextlib.suppress(OSError):  # so that a drill which freezes the engine can tell it from this one
            Path("/proc/thread-self/comm").write_text(THREAD_NAME)
        while self._running:
            if self._leave_by is not None and (not self._open or time.monotonic() > self._leave_by):
                return
            # A timer-free wait when idle: an idle replica costs no processor time.
            for key, _ in self.selector.select(0.2 if self._open else None):
                known = self.selector.get_map().get(key.fd)
                if known is not None and known.data == key.data:  # else it was let go, or closed, by one before it
                    key.data()
            self._close_late()

    def _accept(self) -> None:
        if self._listener is None:  # left to others by what was ready together with it
            return
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return  # taken by another process on the same socket, or reset before we came
        if len(self._open) >= MAX_CONNECTIONS:
            connection.close()
            return
        connection.setblocking(False)
        self._open[connection] = (bytearray(), time.monotonic() + CONNECTION_S)
        self.selector.register(connection, selectors.EVENT_READ, lambda: self._read(connection))

    def _read(self, connection: socket.socket) -> None:
        if connection not in self._open:
            return
        buffer, _ = self._open[connection]
        try:
            piece = connection.recv(MAX_REQUEST_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._close(connection)
            return
        buffer += piece
        if not piece or len(buffer) > MAX_REQUEST_BYTES:
            self._close(connection)
        elif b"\r\n\r\n" in buffer:
            with contextlib.suppress(OSError):
                connection.send(self._respond(bytes(buffer)))
            self._close(connection)

    def _respond(self, request: bytes) -> bytes:
        words = request.split(b"\r\n", 1)[0].split(b" ")
        if len(words) != 3 or words[0] not in (b"GET", b"HEAD"):
            status, body = 405, b'{"status":"unknown","reason":"only GET and HEAD are answered"}\n'
        else:
            status, body = self._answer(words[1].split(b"?", 1)[0].decode("latin-1"))
        phrase = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}[status]
        head = (
            f"HTTP/1.1 {status} {phrase}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + (b"" if words[0] == b"HEAD" else body)

    def _close(self, connection: socket.socket) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self.selector.unregister(connection)
        self._open.pop(connection, None)
        connection.close()

    def _close_late(self) -> None:
        now = time.monotonic()
        for connection, (_, deadline) in list(self._open.items()):
            if now > deadline:
                self._close(connection)
