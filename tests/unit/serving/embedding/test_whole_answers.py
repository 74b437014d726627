"""An answer's head and body leave by one write: whoever is killed has answered whole, or not begun."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from backend.serving.embedding.whole_answers import WholeAnswers


class Socket(asyncio.Transport):
    """A transport that keeps each write by itself."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def app(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    length = b"0" if scope["path"] == "/empty" else b"4"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    if scope["path"] == "/slow":
        await asyncio.sleep(0.05)
    await send({"type": "http.response.body", "body": b"" if scope["path"] == "/empty" else b"body"})


async def exchange(protocol: type[H11Protocol], path: str, headers: str = "") -> Socket:
    """What `protocol` writes for one request of `path`."""
    connection = protocol(uvicorn.Config(app, log_config=None), ServerState(), {}, asyncio.get_running_loop())
    socket = Socket()
    connection.connection_made(socket)
    connection.data_received(f"GET {path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n".encode())
    for _ in range(100):
        if any(write.endswith(b"body") for write in socket.writes) or (path == "/empty" and socket.writes):
            break
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.02)
    connection.connection_lost(None)
    return socket


async def test_head_and_body_are_one_write() -> None:
    socket = await exchange(WholeAnswers, "/")
    assert len(socket.writes) == 1
    assert socket.writes[0].startswith(b"HTTP/1.1 200 OK\r\n") and socket.writes[0].endswith(b"\r\n\r\nbody")
    assert len([write for write in (await exchange(H11Protocol, "/")).writes if write]) == 2, "why this exists"


@pytest.mark.parametrize("path", ["/", "/empty"])
async def test_a_connection_that_closes_after_its_answer_sends_it_first(path: str) -> None:
    socket = await exchange(WholeAnswers, path, "Connection: close\r\n")
    assert socket.closed and len(socket.writes) == 1


async def test_a_body_that_is_not_there_yet_holds_the_head_back_for_one_turn_only() -> None:
    socket = await exchange(WholeAnswers, "/slow")
    assert [write[-4:] for write in socket.writes] == [b"\r\n\r\n", b"body"]
