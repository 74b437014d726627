"""HTTP over a unix socket: every way to send a body is read, and what is no HTTP is told from what is slow."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.control_client.wire import Broken, TooSlow, ask

PATIENCE_S = 60.0
"""For what comes at once; what never comes is asked for with less."""


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="cw") as short:
        yield Path(short) / "c.sock"


@asynccontextmanager
async def server(
    path: Path, *pieces: bytes, asked: list[bytes] | None = None, hold: bool = False
) -> AsyncIterator[None]:
    """Answers every connection by these bytes, a write each, and closes it unless it is to `hold`."""
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if asked is not None:
            length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length")), 0)
            asked.append(head + await reader.readexactly(length))
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            if hold:
                await gone.wait()
        writer.close()

    listening = await asyncio.start_unix_server(serve, str(path))
    try:
        yield
    finally:
        gone.set()
        listening.close()


async def read(path: Path, body: bytes | None = None, read_s: float = PATIENCE_S) -> tuple[int, bytes]:
    method = "GET" if body is None else "POST"
    async with ask(path, method, "/v1/x?a=b", body, connect_s=PATIENCE_S, read_s=read_s) as answer:
        return answer.status, await answer.body()


async def test_a_question_is_as_http_has_it(path: Path) -> None:
    asked: list[bytes] = []
    async with server(path, b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", asked=asked):
        assert await read(path) == (204, b"")
        assert await read(path, b'{"a":1}') == (204, b"")
    get, post = asked
    assert get == b"GET /v1/x?a=b HTTP/1.1\r\nHost: trinity\r\nConnection: close\r\n\r\n"
    assert post.startswith(b"POST /v1/x?a=b HTTP/1.1\r\n")
    assert post.endswith(b"Content-Type: application/json\r\nContent-Length: 7\r\n\r\n" + b'{"a":1}')


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
        b"HTTP/1.1 200\r\n\r\nhello",
        b"HTTP/1.0 200 Fine, thank you\r\nContent-Length:5\r\n\r\nhello and more",
    ],
)
async def test_a_body_by_length_in_chunks_or_to_the_end_however_it_is_cut(path: Path, answer: bytes) -> None:
    for size in (len(answer), 1, 7):
        async with server(path, *(answer[at : at + size] for at in range(0, len(answer), size))):
            assert await read(path) == (200, b"hello")


async def test_a_large_body_is_whole(path: Path) -> None:
    body = bytes(range(256)) * 8000
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    for head, rest in ((b"Content-Length: %d" % len(body), body), (b"Transfer-Encoding: chunked", chunked)):
        async with server(path, b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n", rest):
            assert await read(path) == (200, body)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 20x OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfive\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"x" * 600_000,
    ],
)
async def test_what_is_no_answer_or_half_of_one_is_broken(path: Path, answer: bytes) -> None:
    async with server(path, answer):
        with pytest.raises(Broken):
            await read(path)


async def test_nobody_there_is_broken_and_silence_is_too_slow(path: Path) -> None:
    with pytest.raises(Broken):
        await read(path)
    for begun in (b"", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"):
        async with server(path, begun, hold=True):
            with pytest.raises(TooSlow):
                await read(path, read_s=0.05)


async def test_pieces_come_as_they_are_sent_and_leaving_closes_the_connection(path: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with server(path, head, b"3\r\none\r\n", hold=True):
        async with ask(path, "GET", "/", connect_s=PATIENCE_S, read_s=PATIENCE_S) as answer:
            assert await anext(answer.pieces()) == b"one"
        with pytest.raises(Broken):
            await answer.body()


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=80), st.booleans())
def test_bytes_of_nobody_raise_nothing_else(data: bytes, framed: bool) -> None:
    async def look() -> None:
        with tempfile.TemporaryDirectory(dir="/tmp", prefix="cw") as short:
            place = Path(short) / "c.sock"
            head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" if framed else b""
            async with server(place, head + data):
                with contextlib.suppress(Broken, TooSlow):
                    await read(place)

    asyncio.run(look())
