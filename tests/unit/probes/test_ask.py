from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from backend.contract.fleet import ProbeSpec
from backend.probes.ask import ProbeAnswer, ProbeTarget, ask
from backend.probes.http_get import NotHttp, http_get


@asynccontextmanager
async def answering(reply: bytes | None) -> AsyncIterator[int]:
    """A server that answers every connection with `reply` and closes; null leaves it waiting."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        if reply is None:
            await reader.read()
        else:
            writer.write(reply)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def target(port: int, health_port: int = 1) -> ProbeTarget:
    return ProbeTarget(host="127.0.0.1", port=port, health_port=health_port)


@pytest.mark.parametrize(
    ("status", "ok"), [(200, True), (204, True), (302, True), (399, True), (404, False), (503, False)]
)
async def test_http_passes_from_200_to_399(status: int, ok: bool) -> None:
    async with answering(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode()) as port:
        answer = await ask(ProbeSpec(path="/health", timeout_s=60.0), target(port))
    assert (answer.ok, answer.detail) == (ok, f"HTTP {status}")


async def test_a_silent_server_is_a_timeout() -> None:
    async with answering(None) as port:
        answer = await ask(ProbeSpec(timeout_s=0.05), target(port))
    assert (answer.ok, answer.detail) == (False, "no answer in 0.05 s")


@pytest.mark.parametrize(("late_s", "asked"), [(0.01, 1), (0.4, 1), (0.6, 2), (30.0, 2)])
async def test_a_time_that_ran_out_while_we_stood_still_says_nothing(
    monkeypatch: pytest.MonkeyPatch, late_s: float, asked: int
) -> None:
    late = ProbeAnswer(ok=False, detail="no answer in 1 s", latency_s=1.0 + late_s, timed_out=True)
    answers = [late, ProbeAnswer(ok=True, detail="HTTP 200", latency_s=0.001)]
    given: list[ProbeAnswer] = []

    async def once(_spec: ProbeSpec, _target: ProbeTarget) -> ProbeAnswer:
        given.append(answers[len(given)])
        return given[-1]

    monkeypatch.setattr("backend.probes.ask._ask_once", once)
    assert await ask(ProbeSpec(timeout_s=1.0), target(1)) == given[-1]
    assert len(given) == asked


async def test_a_server_that_is_no_http_is_told_so() -> None:
    async with answering(b"SSH-2.0-x\r\n\r\n") as port:
        answer = await ask(ProbeSpec(timeout_s=60.0), target(port))
    assert not answer.ok
    assert "SSH-2.0-x" in answer.detail


async def test_the_health_port_is_asked_when_named() -> None:
    async with answering(b"HTTP/1.1 200 OK\r\n\r\n") as port:
        answer = await ask(ProbeSpec(port="health", timeout_s=60.0), target(1, health_port=port))
    assert answer.ok


async def test_nobody_listens() -> None:
    async with answering(b"") as port:
        pass
    for kind in ("http", "tcp"):
        answer = await ask(ProbeSpec(kind=kind, timeout_s=60.0), target(port))  # type: ignore[arg-type]  # a literal from a loop
        assert not answer.ok
        assert "refused" in answer.detail or "connect" in answer.detail


@pytest.mark.parametrize("published", [False, True])
async def test_tcp_passes_with_a_connection(published: bool) -> None:
    async with answering(None) as port:
        asked = ProbeTarget(host="127.0.0.1", port=port, health_port=1, published=published)
        assert (await ask(ProbeSpec(kind="tcp", timeout_s=60.0), asked)).ok


async def test_a_published_port_that_closes_at_once_has_nothing_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.probes.ask._CLOSED_S", 30.0)

    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    asked = ProbeTarget(host="127.0.0.1", port=server.sockets[0].getsockname()[1], health_port=1, published=True)
    answer = await ask(ProbeSpec(kind="tcp", timeout_s=60.0), asked)
    server.close()
    assert not answer.ok
    assert "nothing listens behind" in answer.detail


@pytest.mark.parametrize(
    ("command", "ok", "detail"),
    [
        (("true",), True, "exit code 0"),
        (("sh", "-c", "echo why; exit 3"), False, "exit code 3: why"),
        (("sh", "-c", "test {port} = 4711"), True, "exit code 0"),
        (("no-such-program",), False, "no such file or directory"),
    ],
)
async def test_commands_pass_with_exit_code_0(command: tuple[str, ...], ok: bool, detail: str) -> None:
    answer = await ask(ProbeSpec(kind="command", command=command, timeout_s=60.0), target(4711))
    assert (answer.ok, answer.detail) == (ok, detail)


async def test_a_command_that_hangs_is_ended_with_its_children() -> None:
    spec = ProbeSpec(kind="command", command=("sh", "-c", "sleep 1000 & wait"), timeout_s=0.1)
    answer = await asyncio.wait_for(ask(spec, target(1)), 60.0)
    assert (answer.ok, answer.detail) == (False, "no answer in 0.1 s")


BodyReader = Callable[[int], Awaitable[bytes]]


@pytest.mark.parametrize(
    ("reply", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, more", b"hello"),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\n", b"abcdefg"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n" + b"x" * 50, b"x" * 20),
    ],
)
async def test_bodies_are_read_as_they_are_framed(reply: bytes, body: bytes) -> None:
    async with answering(reply) as port:
        answer = await http_get("127.0.0.1", port, "/", timeout_s=60.0, max_body_bytes=20)
    assert answer.body == body


@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1\r\n\r\n", b"HTTP/1.1 2x0 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nX"])
async def test_broken_answers_are_not_http(reply: bytes) -> None:
    async with answering(reply) as port:
        with pytest.raises(NotHttp):
            await http_get("127.0.0.1", port, "/", timeout_s=60.0, max_body_bytes=20)
