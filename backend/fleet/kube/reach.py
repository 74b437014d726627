"""How our edge and scrapers get to the ports of pods: by the pods' own addresses, or through the API server.

Owns which of the two it is for each pod (`auto` tries the address once, when the pod is Ready), and for the second a
listener on this machine per pod: what connects there is pumped through a port forward, begun with the first byte, so
that a check that only connects costs the API server nothing. Where a forward finds nobody, the listener is gone until
somebody is there again: that is how those checks learn of it. Which pods are worth it, its caller says.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final, Literal

from backend.config.own_logs import get_logger
from backend.contract.errors import TrinityError
from backend.contract.platform import ByteStream

_log = get_logger(__name__)
Mode = Literal["auto", "direct", "forward"]
_TRY_S: Final = 1.0
_AGAIN_S: Final = (0.1, 0.2, 0.4, 0.8)
"""Waits before a pod that did not answer is tried again; the last one from then on."""
_LISTENS_S: Final = 0.2
"""How long word that nobody listens is waited for: nothing else tells it from somebody who waits to be asked."""
_LOOPBACK: Final = "127.0.0.1"
_CHUNK: Final = 64 * 1024


class Way:
    """One pod's port: not known yet, at its own address, or at a listener of ours."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.known = False
        self.ours = 0
        """The port of our listener, kept while there is none because the pod does not answer."""
        self.wanted = asyncio.Event()
        """Whether the pod is worth a look now."""
        self.server: asyncio.Server | None = None
        self.task: asyncio.Task[None] | None = None
        self.connections: set[asyncio.Task[None]] = set()

    @property
    def here(self) -> tuple[str, int | None]:
        """Where to connect to; no port before that is known."""
        if not self.known:
            return self.host, None
        return (_LOOPBACK, self.ours) if self.ours else (self.host, self.port)

    async def close(self) -> None:
        tasks = [*([self.task] if self.task is not None else []), *self.connections]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.server is not None:
            self.server.close()


class Reach:
    """`dial` opens a stream to a replica's port; `changed` is called with a replica whose way is known now."""

    def __init__(
        self, mode: Mode, dial: Callable[[str, int], Awaitable[ByteStream]], changed: Callable[[str], None]
    ) -> None:
        self._mode, self._dial, self._changed = mode, dial, changed
        self._ways: dict[str, Way] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def place(self, replica: str, host: str, port: int, *, look: bool) -> tuple[str, int | None]:
        """Where that port of a replica is reached from here; no port before that was found out, which `look` begins.
        Free."""
        if self._mode == "direct":
            return host, port
        way = self._ways.get(replica)
        if way is None or (way.host, way.port) != (host, port):
            if not look:
                return host, None
            self.forget(replica)
            way = self._ways[replica] = Way(host, port)
            way.task = asyncio.get_running_loop().create_task(self._find(replica, way))
        if look:
            way.wanted.set()
        else:
            way.wanted.clear()
        return way.here

    def forget(self, replica: str) -> None:
        """The replica is gone: what goes to it now is cut."""
        way = self._ways.pop(replica, None)
        if way is not None:
            task = asyncio.get_running_loop().create_task(way.close())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """No listener stays."""
        for replica in list(self._ways):
            self.forget(replica)
        await asyncio.gather(*self._ending, return_exceptions=True)

    async def _find(self, replica: str, way: Way) -> None:
        if self._mode == "forward" or not await _answers(way.host, way.port):
            await self._listen(replica, way)
        way.known = True
        way.task = None
        self._changed(replica)

    async def _listen(self, replica: str, way: Way) -> None:
        """At the same port as before where nobody has taken it."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._serve(replica, way, reader, writer)

        try:
            way.server = await asyncio.start_server(serve, _LOOPBACK, way.ours)
        except OSError:
            way.server = await asyncio.start_server(serve, _LOOPBACK, 0)
        way.ours = int(way.server.sockets[0].getsockname()[1])

    async def _serve(self, replica: str, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        way.connections.add(task)
        answered = False
        try:
            first = await reader.read(_CHUNK)
            if first:
                stream = await self._dial(replica, way.port)
                try:
                    await stream.write(first)
                    async with contextlib.aclosing(_answer(stream, reader)) as answer:
                        async for data in answer:
                            answered = True
                            writer.write(data)
                            await writer.drain()
                    writer.close()
                finally:
                    await stream.close()
        except TrinityError as error:
            _log.info("connection to a pod broke", replica=replica, error=str(error))
            if not answered:
                self._miss(replica, way)
        except OSError as error:
            _log.info("connection to our edge broke", replica=replica, error=str(error))
        finally:
            way.connections.discard(task)
            if not writer.is_closing():
                _reset(writer)

    def _miss(self, replica: str, way: Way) -> None:
        """Nobody answered there."""
        if way.server is not None and way.task is None:
            way.server.close()
            way.server = None
            way.task = asyncio.get_running_loop().create_task(self._return(replica, way))

    async def _return(self, replica: str, way: Way) -> None:
        """Wait until somebody listens there again, then listen here."""
        tries, before = 0, way.here
        while True:
            if not way.wanted.is_set():
                await way.wanted.wait()
                tries = 0
            if await self._listens(replica, way.port):
                break
            await asyncio.sleep(_AGAIN_S[min(tries, len(_AGAIN_S) - 1)])
            tries += 1
        await self._listen(replica, way)
        way.task = None
        if way.here != before:
            self._changed(replica)

    async def _listens(self, replica: str, port: int) -> bool:
        try:
            stream = await self._dial(replica, port)
        except (TrinityError, OSError):
            return False
        try:
            async with asyncio.timeout(_LISTENS_S):
                return bool(await stream.read())
        except TimeoutError:
            return True
        except TrinityError:
            return False
        finally:
            await stream.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Break the connection: whoever waits for the rest of an answer must not take this for its end."""
    held = writer.get_extra_info("socket")
    if held is not None:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _answers(host: str, port: int) -> bool:
    """Whether somebody listens there, as seen from this machine."""
    try:
        async with asyncio.timeout(_TRY_S):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def _answer(stream: ByteStream, reader: asyncio.StreamReader) -> AsyncGenerator[bytes]:
    """What the pod says to what is read, until either side has ended: who asked and hung up (edge and scrapers close
    once they have their answer) must not keep a stream of the API server's open. Raises what breaks it."""

    async def ask() -> None:
        while data := await reader.read(_CHUNK):
            await stream.write(data)

    asking = asyncio.ensure_future(ask())
    try:
        while True:
            saying = asyncio.ensure_future(stream.read())
            try:
                await asyncio.wait({asking, saying}, return_when=asyncio.FIRST_COMPLETED)
                if not saying.done():
                    asking.result()
                    return
                data = saying.result()
            finally:
                saying.cancel()
            if not data:
                return
            yield data
    finally:
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError, TrinityError, OSError):
            await asking
