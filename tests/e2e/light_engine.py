"""An engine that costs nothing, for drills on a light fleet: `light_engine.py PORT [HOST]`, OpenAI embeddings, health.

Each text's vector is the same on every replica, 20 ms after it was asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys

DELAY_S = 0.02


def answer(path: str, body: bytes) -> tuple[str, bytes]:
    if not path.startswith("/v1/embeddings"):
        return "200 OK", b"ok"
    texts = json.loads(body)["input"]
    texts = [texts] if isinstance(texts, str) else texts
    data = [{"object": "embedding", "index": i, "embedding": [float(len(t)), 1.0, 0.5]} for i, t in enumerate(texts)]
    usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
    return "200 OK", json.dumps({"object": "list", "data": data, "model": "light", "usage": usage}).encode()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.split("\r\n")
            headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            path = first.split()[1]
            if path.startswith("/v1"):
                await asyncio.sleep(DELAY_S)
            status, text = answer(path, body)
            kind = "application/json" if path.startswith("/v1") else "text/plain"
            line = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(text)}\r\n\r\n"
            writer.write(line.encode() + text)
            await writer.drain()
    writer.close()


async def main(port: int, host: str = "") -> None:
    in_container = os.environ.get("HOST") == "0.0.0.0"
    host = host or ("0.0.0.0" if in_container else "127.0.0.1")
    server = await asyncio.start_server(serve, host, port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), *sys.argv[2:]))
