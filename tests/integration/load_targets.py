"""Tiny HTTP servers that behave well or badly on purpose."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

Behaviour = Callable[["Call"], Awaitable[None]]

CHUNK = b'data: {"choices":[{"index":0,"text":" a"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8}}\n\n'
DONE = b"data: [DONE]\n\n"
ANSWER = b'{"choices":[{"text":"a"}],"usage":{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8}}'


async def until(condition: Callable[[], bool], within_s: float = 60.0) -> None:
    """Return once the condition holds."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - conditions of other processes and threads have no event
            await asyncio.sleep(0.01)


class Call:
    """One request a target has received, and the ways to answer it."""

    def __init__(self, headers: dict[str, str], body: bytes, writer: asyncio.StreamWriter) -> None:
        self.headers, self.body, self.writer = headers, body, writer
        self.stream = bool(body) and bool(json.loads(body).get("stream"))

    async def head(self, status: str = "200 OK", **headers: str) -> None:
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        self.writer.write(f"HTTP/1.1 {status}\r\n{lines}\r\n".encode())
        await self.writer.drain()

    async def whole(self, body: bytes = ANSWER, status: str = "200 OK", **headers: str) -> None:
        await self.head(status, content_length=str(len(body)), **headers)
        self.writer.write(body)
        await self.writer.drain()

    async def start_stream(self) -> None:
        await self.head(content_type="text/event-stream", transfer_encoding="chunked")

    async def chunk(self, data: bytes) -> None:
        self.writer.write(b"%x\r\n%s\r\n" % (len(data), data))
        await self.writer.drain()

    async def end_stream(self) -> None:
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


async def answer_well(call: Call) -> None:
    """A stream of three chunks, or a whole answer."""
    if not call.stream:
        await call.whole()
        return
    await call.start_stream()
    for piece in (CHUNK, CHUNK, CHUNK, USAGE, DONE):
        await call.chunk(piece)
    await call.end_stream()


@contextlib.asynccontextmanager
async def target(behaviour: Behaviour = answer_well) -> AsyncIterator[tuple[str, list[Call]]]:
    """A server on a free port: its URL and the calls it has had."""
    calls: list[Call] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
                call = Call(headers, await reader.readexactly(int(headers.get("content-length", "0"))), writer)
                calls.append(call)
                await behaviour(call)
                if headers.get("connection") == "close":
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=512)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", calls
    finally:
        server.close()
