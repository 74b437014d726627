"""A TCP connection to a replica's port as a ByteStream. Owns one connection; knows no driver."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from backend.contract.errors import Unreachable

_CONNECT_S: Final = 5.0
_PIECE: Final = 65536


class TcpStream:
    """A ByteStream. Make one by `connect`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, where: str) -> None:
        self._reader, self._writer, self._where = reader, writer, where

    async def read(self) -> bytes:
        """What came; empty at the end. Raises Unreachable where it broke."""
        try:
            return await self._reader.read(_PIECE)
        except OSError as error:
            raise self._broke(error) from None

    async def write(self, data: bytes) -> None:
        """Waits while the other side takes no more. Raises Unreachable where it broke."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise self._broke(error) from None

    async def end(self) -> None:
        """No more is written; reading goes on."""
        with contextlib.suppress(OSError, RuntimeError):
            self._writer.write_eof()

    async def close(self) -> None:
        """At once. Idempotent."""
        self._writer.transport.abort()

    def _broke(self, error: OSError) -> Unreachable:
        why = (error.strerror or str(error) or "it was closed").lower()
        return Unreachable(f"The connection to {self._where} broke: {why}.", "See whether the replica still runs.")


async def connect(replica: str, host: str, port: int) -> TcpStream:
    """To a port that is reached directly; `replica` is named to people. Raises Unreachable."""
    where = f"{replica} ({host}:{port})"
    try:
        async with asyncio.timeout(_CONNECT_S):
            reader, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        raise Unreachable(f"{where} takes no connection within {_CONNECT_S:g} s.", "See whether it runs.") from None
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise Unreachable(f"{where} cannot be reached: {why}.", "See whether it listens there.") from None
    return TcpStream(reader, writer, where)
