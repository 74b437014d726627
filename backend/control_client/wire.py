"""Just enough of HTTP/1.1 over a unix socket: a connection a request, bodies by length, in chunks, or to the end.

Of our own because a general client takes longer to load than a console may take to show the fleet, and each command
waits for it. Owns the bytes; what they mean, and what a failure is called, is the client's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

_LIMIT: Final = 256 * 1024
_PIECE: Final = 256 * 1024


class Broken(Exception):
    """There is no connection, it ended too soon, or what came is no HTTP."""


class TooSlow(Exception):
    """Nothing came in time."""


class Answer:
    """Status and headers are known; the body is still to be read, once."""

    def __init__(
        self, status: int, headers: dict[bytes, bytes], reader: asyncio.StreamReader, timeout_s: float
    ) -> None:
        self.status = status
        self._headers, self._reader, self._timeout_s = headers, reader, timeout_s

    async def body(self) -> bytes:
        """All of it. Raises Broken and TooSlow."""
        return b"".join([piece async for piece in self.pieces()])

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """It, as it comes. Raises Broken where the other side leaves before its end, and TooSlow."""
        if self._headers.get(b"transfer-encoding", b"").lower() == b"chunked":
            while size := _chunk_size(await self._read(self._reader.readuntil(b"\r\n"))):
                yield (await self._read(self._reader.readexactly(size + 2)))[:-2]
            return
        length = self._headers.get(b"content-length")
        left = _length(length) if length is not None else None
        while left is None or left > 0:
            piece = await self._read(self._reader.read(_PIECE if left is None else min(left, _PIECE)))
            if not piece:
                if left is None:
                    return
                raise Broken("the answer ended too soon")
            left = None if left is None else left - len(piece)
            yield piece

    async def _read(self, what: Awaitable[bytes]) -> bytes:
        return await _in_time(what, self._timeout_s)


@asynccontextmanager
async def ask(
    socket: Path, method: str, url: str, body: bytes | None = None, *, connect_s: float, read_s: float
) -> AsyncIterator[Answer]:
    """Send a request; the connection ends with the block. Each wait for bytes may take `read_s`.

    Raises Broken and TooSlow."""
    try:
        async with asyncio.timeout(connect_s):
            reader, writer = await asyncio.open_unix_connection(socket, limit=_LIMIT)
    except TimeoutError:
        raise TooSlow from None
    except OSError as error:
        raise Broken(str(error)) from None
    try:
        head = f"{method} {url} HTTP/1.1\r\nHost: trinity\r\nConnection: close\r\n"
        if body is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        with contextlib.suppress(ConnectionError):  # an answer may come before all of the question was read
            writer.write(head.encode("ascii") + b"\r\n" + (body or b""))
        status, headers = _head(await _in_time(reader.readuntil(b"\r\n\r\n"), read_s))
        yield Answer(status, headers, reader, read_s)
    finally:
        writer.close()


async def _in_time(what: Awaitable[bytes], timeout_s: float) -> bytes:
    try:
        async with asyncio.timeout(timeout_s):
            return await what
    except TimeoutError:
        raise TooSlow from None
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError) as error:
        raise Broken(str(error)) from None


def _head(raw: bytes) -> tuple[int, dict[bytes, bytes]]:
    first, *lines = raw.split(b"\r\n")
    words = first.split(maxsplit=2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or len(words[1]) != 3 or not words[1].isdigit():
        raise Broken("what answers does not speak HTTP")
    headers = (line.partition(b":") for line in lines if line)
    return int(words[1]), {name.strip().lower(): value.strip() for name, _, value in headers}


def _chunk_size(line: bytes) -> int:
    return _number(line.split(b";")[0].strip(), 16)


def _length(value: bytes) -> int:
    return _number(value, 10)


def _number(text: bytes, base: int) -> int:
    try:
        number = int(text, base)
    except ValueError:
        number = -1
    if number < 0:
        raise Broken("what answers does not speak HTTP")
    return number
