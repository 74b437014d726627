"""A program that a person runs beside a local replica: in its environment and directory, with or without a terminal.

Owns that one process and its terminal. Knows nothing of the replica's own process.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import shutil
import signal
import struct
import sys
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from backend.contract.errors import Unreachable, UsageError
from backend.contract.platform import ExecStream
from backend.fleet.local import beside

_PIECE: Final = 65536
_HANG_UP_S: Final = 1.0
"""From SIGHUP to SIGKILL for a program whose user has left."""
_END_OF_INPUT: Final = b"\x04"


async def start(
    argv: Sequence[str], env: Mapping[str, str], cwd: str | None, *, tty: bool, columns: int, rows: int
) -> ExecStream:
    """Run it. Raises UsageError for a program that is not there."""
    if not argv or shutil.which(argv[0], path=env.get("PATH")) is None:
        raise UsageError(f"There is no program {argv[0] if argv else ''}.", "Name one that is on the replica's PATH.")
    starter = (sys.executable, "-I", "-S", str(Path(beside.__file__)), str(os.getpid()))
    if not tty:
        process = await asyncio.create_subprocess_exec(
            *starter,
            *argv,
            env=env,
            cwd=cwd,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        return PipedProgram(process)
    controller, terminal = os.openpty()
    try:
        _set_size(controller, columns, rows)
        process = await asyncio.create_subprocess_exec(
            *starter,
            *argv,
            env={"TERM": "xterm-256color", **env},
            cwd=cwd,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
    except BaseException:
        os.close(controller)
        raise
    finally:
        os.close(terminal)
    os.set_blocking(controller, False)
    return TerminalProgram(process, controller)


class _Program:
    """What both have in common: the process and its end."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def exit_code(self) -> int:
        """As a shell tells it: 128 and the signal for one that was killed."""
        code = await self._process.wait()
        return code if code >= 0 else 128 - code

    async def close(self) -> None:
        """End it, with all that is in its session's first group. Idempotent."""
        for number in (signal.SIGHUP, signal.SIGKILL):
            if self._process.returncode is not None:
                return
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_HANG_UP_S):
                    await self._process.wait()


class PipedProgram(_Program):
    """An ExecStream without a terminal."""

    async def read(self) -> bytes:
        assert self._process.stdout is not None
        return await self._process.stdout.read(_PIECE)

    async def write(self, data: bytes) -> None:
        """Raises Unreachable where it reads no more."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
            await self._process.stdin.drain()
        except ConnectionError:
            raise Unreachable("The program reads no more.") from None

    async def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    async def resize(self, columns: int, rows: int) -> None:
        """It has no terminal."""


class TerminalProgram(_Program):
    """An ExecStream on a terminal of its own, of which this is the other side."""

    def __init__(self, process: asyncio.subprocess.Process, controller: int) -> None:
        super().__init__(process)
        self._controller: int | None = controller

    async def read(self) -> bytes:
        while self._controller is not None:
            try:
                return os.read(self._controller, _PIECE)
            except BlockingIOError:
                await self._until(writable=False)
            except OSError as error:
                if error.errno != errno.EIO:  # nobody has the terminal open any more
                    raise Unreachable(f"The terminal broke: {error.strerror}.") from None
                return b""
        return b""

    async def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view and self._controller is not None:
            try:
                view = view[os.write(self._controller, view) :]
            except BlockingIOError:
                await self._until(writable=True)
            except OSError as error:
                raise Unreachable(f"The terminal broke: {error.strerror}.") from None

    async def end(self) -> None:
        await self.write(_END_OF_INPUT)

    async def resize(self, columns: int, rows: int) -> None:
        if self._controller is not None:
            with contextlib.suppress(OSError):
                _set_size(self._controller, columns, rows)

    async def close(self) -> None:
        await super().close()
        if self._controller is not None:
            controller, self._controller = self._controller, None
            loop = asyncio.get_running_loop()
            loop.remove_reader(controller)
            loop.remove_writer(controller)
            os.close(controller)

    async def _until(self, *, writable: bool) -> None:
        """Until the terminal has something, or takes something."""
        assert self._controller is not None
        loop, controller = asyncio.get_running_loop(), self._controller
        able: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            if not able.done():
                able.set_result(None)

        (loop.add_writer if writable else loop.add_reader)(controller, wake)
        try:
            await able
        finally:
            if self._controller is not None:
                (loop.remove_writer if writable else loop.remove_reader)(controller)


def _set_size(controller: int, columns: int, rows: int) -> None:
    fcntl.ioctl(controller, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
