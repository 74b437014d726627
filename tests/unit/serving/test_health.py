"""Health says what state a replica is in, whoever else holds the line."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from backend.serving.health import HealthLoop, ServingState, bind_health, health_answer


@pytest.mark.parametrize(
    ("state", "live", "ready", "startup"),
    [
        (ServingState.LOADING, 200, 503, 503),
        (ServingState.SERVING, 200, 200, 200),
        (ServingState.DRAINING, 200, 503, 200),
    ],
)
def test_each_state_has_its_three_answers(state: ServingState, live: int, ready: int, startup: int) -> None:
    for check, wanted in (("live", live), ("ready", ready), ("startup", startup)):
        status, body = health_answer(f"/health/{check}", state, model="m", uptime_s=1.0)
        said = json.loads(body)
        assert status == wanted
        assert said["status"] == ("ok" if wanted == 200 else "unavailable")
        assert said["state"] == state and said["reason"]


@pytest.mark.parametrize("path", ["/", "/live", "/health/other", "/healthz", "", "/health/live/more"])
def test_other_paths_are_unknown(path: str) -> None:
    assert health_answer(path, ServingState.SERVING, model="m", uptime_s=0.0)[0] == 404


@pytest.fixture
def address() -> Iterator[tuple[str, int]]:
    """A running loop's address."""
    listener = bind_health("127.0.0.1", 0)
    loop = HealthLoop(listener, lambda path: health_answer(path, ServingState.SERVING, model="m", uptime_s=0.0))
    readable, writable = os.pipe()
    loop.watch(readable, loop.stop)
    thread = threading.Thread(target=loop.run)
    thread.start()
    yield listener.getsockname()
    os.write(writable, b".")
    thread.join(60)
    assert not thread.is_alive()
    for descriptor in (readable, writable):
        os.close(descriptor)
    listener.close()


def test_who_comes_at_the_instant_the_socket_is_left_to_others_is_theirs() -> None:
    """The news and the connection are seen together, the news first."""
    listener = bind_health("127.0.0.1", 0)
    readable, writable = os.pipe()
    loop = HealthLoop(listener, lambda _path: (200, b""))
    loop.watch(readable, lambda: (loop.stop_accepting(), loop.stop()))  # type: ignore[func-returns-value]
    os.write(writable, b".")
    with closing(socket.create_connection(listener.getsockname(), 60)), closing(listener):
        loop.run()
        taken, _ = listener.accept()
        taken.close()
    for descriptor in (readable, writable):
        os.close(descriptor)


def _ask(address: tuple[str, int], request: bytes) -> bytes:
    with closing(socket.create_connection(address, 60)) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(4096):
            answer += piece
        return answer


def test_a_silent_client_does_not_hold_up_the_next(address: tuple[str, int]) -> None:
    with closing(socket.create_connection(address, 60)), closing(socket.create_connection(address, 60)) as slow:
        slow.sendall(b"GET /health")
        assert _ask(address, b"GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 200 OK\r\n")


def test_head_has_no_body_and_post_is_refused(address: tuple[str, int]) -> None:
    assert _ask(address, b"HEAD /health/live HTTP/1.1\r\n\r\n").endswith(b"\r\n\r\n")
    assert _ask(address, b"POST /health/live HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 405 ")
    assert _ask(address, b"GET /health/ready?x=1 HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("junk", [b"\r\n\r\n", b"\0" * 9000, b"GET\r\n\r\n", b"GET /health/live HTTP/1.1\r\n"])
def test_junk_ends_the_connection_and_nothing_else(address: tuple[str, int], junk: bytes) -> None:
    with closing(socket.create_connection(address, 60)) as connection:
        connection.sendall(junk)
    assert _ask(address, b"GET /health/live HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200 ")
