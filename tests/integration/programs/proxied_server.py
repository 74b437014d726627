"""The replica that proxy tests stand in front of: `proxied_server.py PORT HEALTH_PORT`, prints both ports.

GET /size?n=N answers N bytes, /stream?n=N&gap=S that many chunks, /close an answer framed by the end, /slow?s=S waits
first; POST echoes the length of its body. Each answer names the pid. The health port answers 200 to everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from urllib.parse import parse_qs, urlsplit


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while head := await reader.readuntil(b"\r\n\r\n"):
            await answer(head.decode("latin-1"), reader, writer)
    writer.close()


async def answer(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    first, *lines = head.split("\r\n")
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines if line)}
    url = urlsplit(first.split(" ")[1])
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    body = b""
    if headers.get("transfer-encoding") == "chunked":
        while size := int((await reader.readline()).strip(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    await asyncio.sleep(float(query.get("s", "0")))
    count = int(query.get("n", "3"))
    if url.path == "/stream":
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(count):
            data = f"data: {number}\n\n".encode()
            writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            await asyncio.sleep(float(query.get("gap", "0")))
        writer.write(b"0\r\n\r\n")
    elif url.path == "/close":
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + b"x" * count)
        await writer.drain()
        writer.close()
        return
    else:
        text = b"x" * count if url.path == "/size" else f"{os.getpid()} {len(body)}".encode()
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(text)}\r\n\r\n".encode())
        writer.write(text)
    await writer.drain()


async def main() -> None:
    wanted = [int(word) for word in sys.argv[1:3]] or [0, 0]
    servers = [await asyncio.start_server(serve, "127.0.0.1", port) for port in wanted]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(main())
