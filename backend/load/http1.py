"""A small HTTP/1.1 client for measuring: one request, its bytes stamped on CLOCK_MONOTONIC as they pass.

Owns framing (content length, chunks, until close) and time stamps. Follows no redirects, retries nothing, and reads
no more than it must: a general client's conveniences would be part of what is measured.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from typing import Final

import msgspec

from backend.load.outcome import Seen, usage_of
from backend.openai_wire import SseError, SseParser, Usage

MAX_HEAD_BYTES: Final = 65_536
MAX_BODY_BYTES: Final = 32 * 1024 * 1024
BODYLESS: Final = (204, 304)


class MalformedAnswer(ValueError):
    """Bytes that are not HTTP/1.x."""


class ResponseParser:
    """Bytes of one answer in, its body's bytes out through `on_body`. `complete` once its end was seen."""

    def __init__(self, on_body: Callable[[bytes], None]) -> None:
        self.status = -1
        self.headers: dict[bytes, bytes] = {}
        self.complete = False
        self._on_body = on_body
        self._buffer = bytearray()
        self._step: Callable[[], bool] = self._head
        self._left = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes. Raises MalformedAnswer."""
        self._buffer += data
        while self._buffer and not self.complete and self._step():
            pass

    def eof(self) -> None:
        """The peer closed: the end of a body that is framed by closing."""
        if self._step == self._until_close:
            self.complete = True

    @property
    def keep_alive(self) -> bool:
        """Whether the connection may carry another request."""
        return (
            self.complete and self._step != self._until_close and b"close" not in self.headers.get(b"connection", b"")
        )

    def _head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise MalformedAnswer("the header is too long")
            return False
        first, *lines = bytes(self._buffer[:end]).split(b"\r\n")
        del self._buffer[: end + 4]
        words = first.split(b" ", 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or len(words[1]) != 3 or not words[1].isdigit():
            raise MalformedAnswer("the status line is not HTTP/1.x")
        status = int(words[1])
        if 100 <= status < 200:
            return True
        self.status = status
        for line in lines:
            name, colon, value = line.partition(b":")
            if not colon:
                raise MalformedAnswer("a header line has no colon")
            self.headers[name.strip().lower()] = value.strip().lower()
        self._choose_framing()
        return True

    def _choose_framing(self) -> None:
        length = self.headers.get(b"content-length")
        if self.status in BODYLESS:
            self.complete = True
        elif b"chunked" in self.headers.get(b"transfer-encoding", b""):
            self._step = self._chunk_size
        elif length is not None:
            if not length.isdigit() or len(length) > 15:
                raise MalformedAnswer("the content length is not a number")
            self._left = int(length)
            self._step = self._fixed
            self.complete = self._left == 0
        else:
            self._step = self._until_close

    def _take(self, most: int) -> bytes:
        piece = bytes(self._buffer[:most])
        del self._buffer[:most]
        return piece

    def _fixed(self) -> bool:
        piece = self._take(self._left)
        self._left -= len(piece)
        self.complete = self._left == 0
        self._on_body(piece)
        return True

    def _until_close(self) -> bool:
        self._on_body(self._take(len(self._buffer)))
        return True

    def _chunk_size(self) -> bool:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            if len(self._buffer) > 1024:
                raise MalformedAnswer("a chunk size is too long")
            return False
        digits = bytes(self._buffer[:end]).split(b";", 1)[0].strip()
        del self._buffer[: end + 2]
        if not digits or len(digits) > 15 or digits.strip(b"0123456789abcdefABCDEF"):
            raise MalformedAnswer("a chunk size is not a hexadecimal number")
        self._left = int(digits, 16)
        self._step = self._chunk_data if self._left else self._trailer
        return True

    def _chunk_data(self) -> bool:
        piece = self._take(self._left)
        self._left -= len(piece)
        if self._left == 0:
            self._step = self._chunk_end
        self._on_body(piece)
        return True

    def _chunk_end(self) -> bool:
        if len(self._buffer) < 2:
            return False
        if self._take(2) != b"\r\n":
            raise MalformedAnswer("a chunk is longer than it said")
        self._step = self._chunk_size
        return True

    def _trailer(self) -> bool:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise MalformedAnswer("a trailer is too long")
            return False
        line = self._take(end + 2)
        self.complete = line == b"\r\n"
        return True


class Exchange(msgspec.Struct, kw_only=True):
    """What one exchange looked like; instants are CLOCK_MONOTONIC seconds."""

    seen: Seen
    sent_mono: float | None = None
    """The last request byte was handed to the kernel."""
    first_byte_mono: float | None = None
    """The first body byte arrived."""
    end_mono: float = 0.0
    body_bytes: int = 0
    usage: Usage | None = None


class Connection(asyncio.Protocol):
    """One TCP (or TLS) connection that carries one request at a time."""

    def __init__(self, on_idle_lost: Callable[[Connection], None] | None = None) -> None:
        self._transport: asyncio.Transport | None = None
        self._current: _Running | None = None
        self._on_idle_lost = on_idle_lost
        self.idle_since = 0.0

    async def exchange(self, request: bytes, *, stream: bool, keep_body: bool, timeout_s: float) -> Exchange:
        """Send a request and wait for its end, good or bad. Never raises for what a peer does."""
        loop = asyncio.get_running_loop()
        running = _Running(loop, stream=stream, keep_body=keep_body)
        transport = self._transport
        if transport is None or not self.usable:
            running.fail("closed")
        else:
            self._current = running
            transport.set_write_buffer_limits(high=0)
            transport.write(request)
            if transport.get_write_buffer_size() == 0:
                running.sent_mono = time.monotonic()
        timer = loop.call_later(max(0.0, timeout_s), self.give_up, "timeout")
        try:
            return await running.ended
        finally:
            timer.cancel()
            self._current = None
            self.idle_since = time.monotonic()
            if not running.parser.keep_alive:
                self.abort()

    def give_up(self, error: str) -> None:
        """End the exchange in progress with this error; what was received so far stays in its result."""
        if self._current is not None:
            self._current.fail(error)

    @property
    def usable(self) -> bool:
        """Whether another request may be sent on it."""
        return self._transport is not None and not self._transport.is_closing()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream's transport is an asyncio.Transport

    def resume_writing(self) -> None:
        if self._current is not None and self._current.sent_mono is None:
            self._current.sent_mono = time.monotonic()

    def data_received(self, data: bytes) -> None:
        if self._current is not None:
            self._current.data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._current is not None:
            self._current.lost(exc)
        elif self._on_idle_lost is not None:
            self._on_idle_lost(self)


class _Running:
    """The exchange in progress on a connection."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, stream: bool, keep_body: bool) -> None:
        self.ended: asyncio.Future[Exchange] = loop.create_future()
        self.parser = ResponseParser(self._body)
        self.sent_mono: float | None = None
        self._stream, self._keep_body = stream, keep_body
        self._first_byte: float | None = None
        self._body_bytes = 0
        self._kept = bytearray()
        self._any = False
        self._sse: SseParser | None = None
        self._events = 0
        self._stream_error = ""
        self._usage: Usage | None = None

    def data(self, data: bytes) -> None:
        self._any = True
        try:
            self.parser.feed(data)
        except (MalformedAnswer, SseError):
            self.fail("malformed")
            return
        if self.parser.complete:
            self._finish("")

    def lost(self, exc: Exception | None) -> None:
        self.parser.eof()
        if self.parser.complete and exc is None:
            self._finish("")
        elif isinstance(exc, OSError):
            self._finish("reset")
        else:
            self._finish("truncated" if self._any else "closed")

    def fail(self, error: str) -> None:
        self._finish(error)

    def _body(self, piece: bytes) -> None:
        if self._first_byte is None:
            self._first_byte = time.monotonic()
            if self._stream and b"text/event-stream" in self.parser.headers.get(b"content-type", b""):
                self._sse = SseParser()
        self._body_bytes += len(piece)
        if self._sse is not None:
            self._events_of(self._sse, piece)
        elif self._keep_body or self.parser.status >= 400:
            if len(self._kept) + len(piece) > MAX_BODY_BYTES:
                raise MalformedAnswer("the body is too long")
            self._kept += piece

    def _events_of(self, sse: SseParser, piece: bytes) -> None:
        for event in sse.feed(piece):
            if event.is_done:
                continue
            if event.event == "error" or event.data.startswith(b'{"error"'):
                self._stream_error = event.data[:500].decode("utf-8", "replace")
                continue
            self._events += 1
            # Decoding every chunk would cost more than all the rest; only the last one carries token counts.
            if b'"usage":{' in event.data or b'"usage": {' in event.data:
                self._usage = usage_of(event.data) or self._usage

    def _finish(self, error: str) -> None:
        if self.ended.done():
            return
        body = bytes(self._kept)
        seen = Seen(
            status=self.parser.status,
            error=error,
            retry_after=b"retry-after" in self.parser.headers,
            replica=self.parser.headers.get(b"x-trinity-replica", b"").decode("ascii", "replace"),
            body=body,
            stream=self._stream,
            stream_is_sse=self._sse is not None,
            stream_done=self._sse is not None and self._sse.done,
            stream_error=self._stream_error,
            stream_events=self._events,
        )
        self.ended.set_result(
            Exchange(
                seen=seen,
                sent_mono=self.sent_mono,
                first_byte_mono=self._first_byte,
                end_mono=time.monotonic(),
                body_bytes=self._body_bytes,
                usage=self._usage if self._stream else (usage_of(body) if body and not error else None),
            )
        )


class Client:
    """Connections to one address. With keepalive, idle ones younger than `idle_s` are used again."""

    def __init__(self, host: str, port: int, *, tls: ssl.SSLContext | None, server_name: str, keepalive: bool) -> None:
        self._host, self._port, self._tls, self._name = host, port, tls, server_name
        self._keepalive = keepalive
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self._idle_s = 3.0

    async def request(self, request: bytes, *, stream: bool, keep_body: bool, timeout_s: float) -> Exchange:
        """One exchange; connecting is part of it and of its deadline."""
        started = time.monotonic()
        connection = self._reusable(started)
        if connection is None:
            loop = asyncio.get_running_loop()
            name = self._name if self._tls else None
            try:
                async with asyncio.timeout(timeout_s):
                    _, connection = await loop.create_connection(
                        lambda: Connection(self._forget), self._host, self._port, ssl=self._tls, server_hostname=name
                    )
            except TimeoutError:
                return _not_connected("timeout")
            except ConnectionRefusedError:
                return _not_connected("refused")
            except ConnectionResetError:
                return _not_connected("reset")
            except (OSError, ssl.SSLError):
                return _not_connected("unreachable")
        left = timeout_s - (time.monotonic() - started)
        self._busy.add(connection)
        try:
            exchange = await connection.exchange(request, stream=stream, keep_body=keep_body, timeout_s=left)
        finally:
            self._busy.discard(connection)
        if self._keepalive and not exchange.seen.error:
            self._idle.append(connection)
        else:
            connection.abort()
        return exchange

    def give_up(self, error: str) -> None:
        """End every exchange in progress with this error. Requests that are still connecting go on."""
        for connection in self._busy:
            connection.give_up(error)

    def close(self) -> None:
        """Close idle connections."""
        while self._idle:
            self._idle.pop().abort()

    def _reusable(self, now: float) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and now - connection.idle_since < self._idle_s:
                return connection
            connection.abort()
        return None

    def _forget(self, connection: Connection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)


def _not_connected(error: str) -> Exchange:
    return Exchange(seen=Seen(error=error), end_mono=time.monotonic())
