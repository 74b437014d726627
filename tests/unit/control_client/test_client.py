"""The control client against a real unix socket: whatever the other side does, a named error with a next step."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from backend.contract.control import ErrorInfo, Frame, VersionInfo
from backend.contract.errors import InternalError, Refused, TrinityError, Unreachable, UsageError
from backend.contract.log_chunks import LogChunk
from backend.contract.recording import Moment, RecordExtent
from backend.control_client import ControlClient
from tests.unit.console.sample import event, snapshot

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
INTERVAL_S = 10.0
"""A client of such a stream takes a minute's silence for none."""
VERSION = VersionInfo(version="1", protocol=1, pid=2, started_ts=3.0, state_dir="/s")


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="cc") as short:
        yield Path(short) / "c.sock"


@asynccontextmanager
async def daemon(path: Path, handler: Handler, *, patience_s: float = 60.0) -> AsyncIterator[ControlClient]:
    """A server that answers every connection by `handler`, and a client of it that waits so long."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await handler(reader, writer)
        writer.close()

    server = await asyncio.start_unix_server(serve, str(path))
    try:
        async with ControlClient(path, timeout_s=patience_s) as client:
            yield client
    finally:
        server.close()


def answering(status: int, body: bytes, *, asked: list[bytes] | None = None) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if asked is not None:
            asked.append(head)
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(body)) + body)
        await writer.drain()

    return handler


async def test_an_answer_is_typed_data(path: Path) -> None:
    asked: list[bytes] = []
    async with daemon(path, answering(200, msgspec.json.encode(VERSION), asked=asked)) as client:
        assert await client.version() == VERSION
    assert asked[0].startswith(b"GET /v1/version HTTP/1.1\r\n")


async def test_no_socket_and_a_dead_socket_are_unreachable(path: Path) -> None:
    async with ControlClient(path) as client:
        with pytest.raises(Unreachable, match=r"No daemon answers .* `trinity up`"):
            await client.version()
    (await asyncio.start_unix_server(answering(200, b""), str(path))).close()  # type: ignore[arg-type]  # never called
    async with ControlClient(path) as client:
        with pytest.raises(Unreachable):
            await client.snapshot()


async def test_a_daemon_that_hangs_is_unreachable_after_the_timeout(path: Path) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with daemon(path, silent, patience_s=0.2) as client:
        with pytest.raises(Unreachable, match="does not answer in time"):
            await client.version()


async def test_a_daemon_that_dies_while_it_answers_is_unreachable(path: Path) -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        await writer.drain()

    async with daemon(path, half) as client:
        with pytest.raises(Unreachable):
            await client.version()


@pytest.mark.parametrize(
    ("kind", "raised"),
    [("usage", UsageError), ("refused", Refused), ("internal", InternalError), ("new-kind", TrinityError)],
)
async def test_the_daemons_own_error_comes_through(path: Path, kind: str, raised: type[TrinityError]) -> None:
    body = msgspec.json.encode(ErrorInfo(kind=kind, message="It is so.", next_step="Do that."))
    async with daemon(path, answering(422, body)) as client:
        with pytest.raises(raised, match=r"It is so\. Do that\."):
            await client.snapshot()


@pytest.mark.parametrize(("status", "body"), [(500, b"<html>"), (404, b"Not Found"), (400, b"{}"), (502, b"")])
async def test_an_error_that_is_not_ours_is_internal(path: Path, status: int, body: bytes) -> None:
    async with daemon(path, answering(status, body)) as client:
        with pytest.raises(InternalError, match=str(status)):
            await client.snapshot()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"version":"1"}', b"\xff\xfe", b"null"])
async def test_an_answer_of_another_version_is_internal_and_says_where_to_look(path: Path, body: bytes) -> None:
    async with daemon(path, answering(200, body)) as client:
        with pytest.raises(InternalError, match="trinity version"):
            await client.version()


def streaming(*pieces: bytes) -> Handler:
    """The pieces as chunks, then the end without the last chunk when a piece is empty."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
        for piece in pieces:
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
        if b"" not in pieces:
            return
        await writer.drain()

    return handler


async def read(client: ControlClient, seen: list[int]) -> None:
    """Put the number of every frame into `seen`, until the stream ends by an error."""
    async for frame in client.stream(INTERVAL_S):
        seen.append(frame.seq)  # noqa: PERF401 - the stream ends by an error; what came before counts


async def test_a_line_that_is_no_frame_is_internal(path: Path) -> None:
    async with daemon(path, streaming(b'{"seq":"x"}\n', b"")) as client:
        with pytest.raises(InternalError, match="trinity version"):
            await anext(client.stream(INTERVAL_S))


async def test_frames_survive_any_cut_of_the_bytes(path: Path) -> None:
    raw = b"".join(msgspec.json.encode(Frame(seq=n, events=(event(n),))) + b"\n" for n in range(1, 6))
    cuts = [raw[i : i + 7] for i in range(0, len(raw), 7)]
    seen: list[int] = []
    async with daemon(path, streaming(*cuts, b"")) as client:
        with pytest.raises(Unreachable, match="ended the stream"):
            await read(client, seen)
    assert seen == [1, 2, 3, 4, 5]


async def test_a_stream_that_breaks_is_unreachable_after_what_came(path: Path) -> None:
    seen: list[int] = []
    async with daemon(path, streaming(msgspec.json.encode(Frame(seq=1)) + b'\n{"se')) as client:
        with pytest.raises(Unreachable):
            await read(client, seen)
    assert seen == [1]


async def test_log_chunks_survive_any_cut_of_the_bytes_and_end_with_the_daemon(path: Path) -> None:
    sent = [[LogChunk(replica="a", incarnation=n, data=b"\xff\n" * n, lost=n)] for n in range(4)] + [[]]
    raw = b"".join(len(item).to_bytes(4, "big") + item for item in map(msgspec.msgpack.encode, sent))
    got: list[list[LogChunk]] = []
    async with daemon(path, streaming(*(raw[i : i + 7] for i in range(0, len(raw), 7)), b"")) as client:
        batches = client.log_chunks(["a", "b"], lines=5)
        for _ in sent:
            got.append(await anext(batches))  # noqa: PERF401 - the next one raises
        with pytest.raises(Unreachable, match="ended the stream"):
            await anext(batches)
    assert got == sent


async def test_a_batch_that_is_none_is_internal(path: Path) -> None:
    async with daemon(path, streaming(b"\0\0\0\x02\xc0\xc0", b"")) as client:
        with pytest.raises(InternalError, match="trinity version"):
            await anext(client.log_chunks(None))


async def test_leaving_a_stream_early_leaves_the_client_usable(path: Path) -> None:
    frame = msgspec.json.encode(Frame(seq=1)) + b"\n"

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"/v1/stream" not in head:
            body = msgspec.json.encode(VERSION)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
            return
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"%x\r\n%s\r\n" % (len(frame), frame))
        await writer.drain()
        await reader.read()

    async with daemon(path, handler) as client:
        async with aclosing(client.stream(INTERVAL_S)) as frames:
            assert (await anext(frames)).seq == 1
        assert await client.version() == VERSION


async def test_a_refused_stream_raises_the_daemons_error(path: Path) -> None:
    body = msgspec.json.encode(ErrorInfo(kind="usage", message="No.", next_step=""))
    async with daemon(path, answering(400, body)) as client:
        with pytest.raises(UsageError, match=r"No\."):
            await anext(client.stream(INTERVAL_S))


async def test_names_in_paths_are_quoted(path: Path) -> None:
    asked: list[bytes] = []
    async with daemon(path, answering(200, b"{}", asked=asked)) as client:
        await client.raw("a b/../c")
    assert b" /v1/replicas/a%20b%2F..%2Fc " in asked[0]


async def test_the_past_is_asked_for_to_the_last_digit(path: Path) -> None:
    asked: list[bytes] = []
    moment = Moment(ts=1763700000.1234567, snapshot=snapshot())
    async with daemon(path, answering(200, msgspec.json.encode(moment), asked=asked)) as client:
        assert await client.moment(moment.ts, window_s=60) == moment
    async with daemon(path, answering(200, msgspec.json.encode(RecordExtent()), asked=asked)) as client:
        assert await client.extent() == RecordExtent()
    assert [head.split()[1] for head in asked] == [b"/v1/past/1763700000.1234567?window_s=60", b"/v1/past"]
