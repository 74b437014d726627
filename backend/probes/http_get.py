"""The smallest HTTP client that can ask a health or metrics page: one GET, one connection, a deadline.

Owns reading one HTTP/1.1 answer. Never follows redirects, never reuses connections.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

_MAX_HEAD_BYTES: Final = 64 * 1024


class HttpAnswer(msgspec.Struct, frozen=True):
    """Status and as much of the body as was wanted."""

    status: int
    body: bytes


class NotHttp(Exception):
    """What came back is not an HTTP answer."""


async def http_get(host: str, port: int, path: str, *, timeout_s: float, max_body_bytes: int = 0) -> HttpAnswer:
    """GET a path; at most `max_body_bytes` of the body are read. Raises OSError, TimeoutError or NotHttp."""
    async with asyncio.timeout(timeout_s):
        reader, writer = await asyncio.open_connection(host, port, limit=_MAX_HEAD_BYTES)
        try:
            writer.write(
                f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nAccept: */*\r\n"
                "User-Agent: trinity-probe\r\nConnection: close\r\n\r\n".encode("latin-1")
            )
            return await _read_answer(reader, max_body_bytes)
        finally:
            writer.transport.abort()


async def _read_answer(reader: asyncio.StreamReader, max_body_bytes: int) -> HttpAnswer:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except asyncio.IncompleteReadError as error:
        raise NotHttp("the connection was closed without an answer") from error
    except asyncio.LimitOverrunError as error:
        raise NotHttp("its header is larger than 64 KiB") from error
    words = head[0].split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/") or not _is_number(words[1]):
        raise NotHttp(f"it answered {head[0][:60]!r}")
    if not max_body_bytes:
        return HttpAnswer(int(words[1]), b"")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body = await _read_chunks(reader, max_body_bytes)
    else:
        length = headers.get("content-length", "")
        body = await _read_up_to(reader, min(int(length), max_body_bytes) if _is_number(length) else max_body_bytes)
    return HttpAnswer(int(words[1]), body)


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit()


async def _read_up_to(reader: asyncio.StreamReader, count: int) -> bytes:
    try:
        return await reader.readexactly(count)
    except asyncio.IncompleteReadError as error:
        return error.partial


async def _read_chunks(reader: asyncio.StreamReader, max_body_bytes: int) -> bytes:
    body = b""
    while len(body) < max_body_bytes:
        try:
            size = int((await reader.readline()).split(b";")[0], 16)
        except ValueError as error:  # no number, or a line over the limit
            raise NotHttp("a chunk has no size") from error
        if size < 0:
            raise NotHttp("a chunk has a negative size")
        if size == 0:
            break
        body += await _read_up_to(reader, min(size, max_body_bytes - len(body)))
        await _read_up_to(reader, 2)
    return body
