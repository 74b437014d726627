"""The two ends of a relayed connection as asyncio protocols. Owns sockets' manners: half-close, RST, back-pressure."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Any, Final, cast

_AT_ONCE: Final = struct.pack("ii", 1, 0)


class End(asyncio.Protocol):
    """One socket. Callbacks: connected, bytes, end of file, lost (with why)."""

    def __init__(
        self,
        *,
        made: Callable[[], None],
        data: Callable[[bytes], None],
        eof: Callable[[], None],
        lost: Callable[[Exception | None], None],
    ) -> None:
        self._made, self._data, self._eof, self._lost = made, data, eof, lost
        self.blocked: Callable[[bool], None] = lambda _blocked: None
        """Told when it takes no more bytes, and when it does again."""
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self.gone = False

    @property
    def open(self) -> bool:
        return self._transport is not None and not self.gone and not self._transport.is_closing()

    def write(self, data: bytes) -> None:
        if self.open and self._transport is not None:
            self._transport.write(data)

    def write_eof(self) -> None:
        if self.open and self._transport is not None:
            with contextlib.suppress(OSError, RuntimeError):  # it was lost in this very moment
                self._transport.write_eof()

    def pause(self, paused: bool) -> None:
        """Stop reading, or go on."""
        if not self.open or self._transport is None or paused == self._paused:
            return
        self._paused = paused
        (self._transport.pause_reading if paused else self._transport.resume_reading)()

    def close(self) -> None:
        """In good order, once all that was written has left."""
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        """RST, whatever was still to be sent."""
        if self._transport is None or self.gone:
            return
        with contextlib.suppress(OSError):
            duplicate = socket.socket(fileno=socket.dup(self._transport.get_extra_info("socket").fileno()))
            with duplicate:
                duplicate.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self._transport.abort()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        connection: Any = transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._made()

    def data_received(self, data: bytes) -> None:
        self._data(data)

    def eof_received(self) -> bool:
        self._eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        self._lost(exc)

    def pause_writing(self) -> None:
        self.blocked(True)

    def resume_writing(self) -> None:
        self.blocked(False)
