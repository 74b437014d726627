"""HTTP/1.1 over a unix socket: h11 speaks it, asyncio carries it. A connection a request.

The client that both belong to (httpx) takes longer to load than a console may take to show the fleet, and each
command waits for it. Owns the bytes; what they mean, and what a failure is called, is the client's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import h11

_PIECE: Final = 256 * 1024
_Event = h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]


class Broken(Exception):
    """There is no connection, it ended too soon, or what came is no HTTP."""


class TooSlow(Exception):
    """Nothing came in time."""


class Answer:
    """Status and headers are known; the body is still to be read, once."""

    def __init__(self, status: int, connection: _Connection) -> None:
        self.status = status
        self._connection = connection

    async def body(self) -> bytes:
        """All of it. Raises Broken and TooSlow."""
        return b"".join([piece async for piece in self.pieces()])

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """It, as it comes. Raises Broken where the other side leaves before its end, and TooSlow."""
        while not isinstance(event := await self._connection.event(), h11.EndOfMessage):
            if isinstance(event, h11.Data):
                yield bytes(event.data)


class _Connection:
    """Events of one answer."""

    def __init__(self, reader: asyncio.StreamReader, timeout_s: float) -> None:
        self.http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_PIECE)
        self._reader, self._timeout_s = reader, timeout_s

    async def event(self) -> _Event:
        """The next one, once its bytes are there. Raises Broken and TooSlow."""
        try:
            while (event := self.http.next_event()) is h11.NEED_DATA:
                async with asyncio.timeout(self._timeout_s):
                    self.http.receive_data(await self._reader.read(_PIECE))
        except TimeoutError:
            raise TooSlow from None
        except (h11.RemoteProtocolError, OSError) as error:
            raise Broken(str(error)) from None
        return event


@asynccontextmanager
async def ask(
    socket: Path, method: str, url: str, body: bytes | None = None, *, connect_s: float, read_s: float
) -> AsyncIterator[Answer]:
    """Send a request; the connection ends with the block. Each wait for bytes may take `read_s`.

    Raises Broken and TooSlow."""
    try:
        async with asyncio.timeout(connect_s):
            reader, writer = await asyncio.open_unix_connection(socket)
    except TimeoutError:
        raise TooSlow from None
    except OSError as error:
        raise Broken(str(error)) from None
    connection = _Connection(reader, read_s)
    headers = [("Host", "trinity"), ("Connection", "close")]
    if body is not None:
        headers += [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    try:
        with contextlib.suppress(ConnectionError):  # an answer may come before all of the question was read
            http = connection.http
            request: list[h11.Event] = [h11.Request(method=method, target=url, headers=headers)]
            request += [h11.Data(data=body or b""), h11.EndOfMessage()]
            writer.write(b"".join(http.send(event) or b"" for event in request))
        while not isinstance(event := await connection.event(), h11.Response):
            if not isinstance(event, h11.InformationalResponse):
                raise Broken("what answers does not speak HTTP")
        yield Answer(event.status_code, connection)
    finally:
        writer.close()
