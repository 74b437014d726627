"""What the shim and fleet tests share: specs around the tiny server, waiting on conditions, proof of no leftovers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import socket
import sys
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from backend.contract.shim import ShimSpec
from backend.fleet.supervision.ports import PortAllocator

_PORTS = PortAllocator(random.Random())
PROGRAM = str(Path(__file__).parent / "programs" / "tiny_server.py")


def server(*options: str) -> tuple[str, ...]:
    """argv of the tiny server."""
    return (sys.executable, "-S", PROGRAM, *options)


def short_dir() -> Iterator[Path]:
    """A directory with a short path, as unix sockets need; ends what was started below it."""
    path = Path(tempfile.mkdtemp(prefix="ts-", dir="/tmp"))
    try:
        yield path
    finally:
        left = processes_about(path)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=30)
        shutil.rmtree(path, ignore_errors=True)


def processes_about(path: Path) -> list[psutil.Process]:
    """Living processes with the directory in their command line or environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                words = [*process.cmdline(), *process.environ().values()]
                if any(str(path) in word for word in words):
                    found.append(process)
        except psutil.Error:
            continue
    return found


def spec(base: Path, *argv: str, name: str = "r-1", **changes: Any) -> ShimSpec:
    """A shim spec with all its files below `base`."""
    return ShimSpec(
        **{
            "name": name,
            "workload": "tiny",
            "argv": argv,
            "env": {"SHIM_TEST": str(base)},
            "socket_path": str(base / f"{name}.sock"),
            "record_path": str(base / f"{name}.json"),
            "exit_path": str(base / f"{name}.exit.json"),
            "log_dir": str(base / "logs" / name),
            **changes,
        }
    )


async def until(condition: Callable[[], object], what: str, timeout_s: float = 30.0) -> None:
    """Wait until `condition()` is true."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        await asyncio.sleep(0.005)


async def until_answer(
    ask: Callable[[], Awaitable[object]], wanted: object, what: str, timeout_s: float = 30.0
) -> None:
    """Ask again and again until that is the answer."""
    deadline = time.monotonic() + timeout_s
    while (answer := await ask()) != wanted:
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what} (it is {answer!r})"
        await asyncio.sleep(0.01)


async def get(port: int, path: str, host: str = "127.0.0.1") -> str:
    """The body of a GET, off the loop. Raises OSError."""

    def ask() -> str:
        with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=30) as answer:
            body: bytes = answer.read()
            return body.decode()

    return await asyncio.to_thread(ask)


def log_text(base: Path, name: str = "r-1") -> str:
    """All output of a program, oldest first. A file that rotation takes away meanwhile is left out."""
    folder = base / "logs" / name
    rotated = sorted(folder.glob("[0-9]*.log"), key=lambda path: int(path.stem))
    text = ""
    for path in [*rotated, folder / "current.log"]:
        with contextlib.suppress(FileNotFoundError):
            text += path.read_text()
    return text


def listens(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) == 0


def alive(pid: int | None) -> bool:
    """Whether the process lives (a zombie does not)."""
    try:
        return pid is not None and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def free_port() -> int:
    """A port below the ephemeral range that is free now, never the same one twice."""
    return _PORTS.allocate("127.0.0.1")
