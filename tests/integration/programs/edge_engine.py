"""A tiny engine with known delays, for edge tests: prints its port, answers until killed.

A request's JSON body says how: `stream`, `first_s` (delay to the first token), `tokens`, `gap_s` between tokens,
`status`, `reset` (the connection, at once), `go` and `hold` (a file to wait for before and after the first token).
With `stream` the 200 and its headers leave at once, as llama.cpp's server does; the tokens come later.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from typing import Any

NAME = sys.argv[1] if len(sys.argv) > 1 else "engine"


def event(index: int) -> bytes:
    chunk = json.dumps({"replica": NAME, "choices": [{"index": 0, "delta": {"content": f"token {index} "}}]})
    return f"data: {chunk}\n\n".encode()


def chunked(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


async def read_request(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines if line)}
    if headers.get("transfer-encoding", "") == "chunked":
        body = b""
        while size := int((await reader.readline()).strip(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return first, headers, body


async def exists(path: str | None) -> None:
    while path and not os.path.exists(path):  # noqa: PTH110, ASYNC110 - a file has no event
        await asyncio.sleep(0.005)


async def stream(writer: asyncio.StreamWriter, wish: dict[str, Any]) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    await writer.drain()
    await asyncio.sleep(wish.get("first_s", 0.0))
    await exists(wish.get("go"))
    for index in range(int(wish.get("tokens", 3))):
        if index:
            await asyncio.sleep(wish.get("gap_s", 0.0))
            await exists(wish.get("hold"))
        writer.write(chunked(event(index)))
        await writer.drain()
    writer.write(chunked(b"data: [DONE]\n\n") + b"0\r\n\r\n")
    await writer.drain()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            first, headers, body = await read_request(reader)
            wish = json.loads(body or b"{}")
            if wish.get("reset"):
                writer.transport.abort()
                return
            if wish.get("stream"):
                await stream(writer, wish)
                continue
            await asyncio.sleep(wish.get("first_s", 0.0))
            await exists(wish.get("go"))
            status = int(wish.get("status", 200))
            answer = json.dumps(
                {
                    "replica": NAME,
                    "request": first,
                    "request_id": headers.get("x-request-id"),
                    "authorization": headers.get("authorization"),
                    "internal": [name for name in headers if name.startswith("x-trinity")],
                    "body_bytes": len(body),
                }
            ).encode()
            writer.write(
                f"HTTP/1.1 {status} Status\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(answer)}\r\n\r\n".encode()
                + answer
            )
            await writer.drain()
    writer.close()


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[2]) if len(sys.argv) > 2 else 0, limit=1 << 22)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
