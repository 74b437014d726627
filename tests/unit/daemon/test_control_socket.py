"""Where a daemon listens: for this user only from the first moment, and nothing else is made otherwise meanwhile."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.daemon.control_socket import listen_on


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="cs") as short:
        yield Path(short) / "c.sock"


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_is_this_users_and_replaces_what_a_dead_daemon_left(path: Path) -> None:
    for _ in range(2):
        with listen_on(path):
            assert mode_of(path) == 0o600
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
                caller.connect(str(path))


def test_what_threads_make_at_that_moment_has_the_mode_it_always_has(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[int, int]] = []

    class Watched(socket.socket):
        """As a thread that makes a directory at the worst moment."""

        def bind(self, address: object) -> None:
            super().bind(address)  # type: ignore[arg-type]
            (path.parent / "logs").mkdir(mode=0o700)
            made.append((mode_of(path.parent / "logs"), mode_of(path)))

    monkeypatch.setattr(socket, "socket", Watched)
    before = os.umask(0)
    try:
        listen_on(path).close()
    finally:
        os.umask(before)
    assert made == [(0o700, 0o600)]


def test_a_place_that_is_not_there_is_an_error(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        listen_on(path.parent / "nowhere" / "c.sock")
