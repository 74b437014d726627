"""A program run in a container: its input, its output (both streams together), its window and its end.

Owns one exec of the engine's. Decides nothing about which program may run where.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from backend.contract.errors import TrinityError
from backend.fleet.docker_engine.client import EngineClient, Hijacked
from backend.fleet.docker_engine.errors import NotThere
from backend.fleet.docker_engine.frames import Demultiplexer
from backend.fleet.docker_engine.reading import flag, text, whole

_LOOK_S: Final = 0.05
_LONGEST_LOOK_S: Final = 1.0
_GONE: Final = 137
"""The exit code where container and exec are gone: the program was killed with them."""


class DockerExec:
    """An ExecStream. Make one by `start_exec`."""

    def __init__(self, client: EngineClient, identifier: str, stream: Hijacked, *, tty: bool) -> None:
        self._client, self._id, self._stream, self._tty = client, identifier, stream, tty
        self._frames = Demultiplexer()

    async def read(self) -> bytes:
        """What it wrote; empty at the end. Raises EngineTrouble where the connection broke."""
        while True:
            data = await self._stream.read()
            if not data or self._tty:
                return data
            if joined := b"".join(payload for _, payload in self._frames.feed(data)):
                return joined

    async def write(self, data: bytes) -> None:
        """To its input."""
        await self._stream.write(data)

    async def end(self) -> None:
        """Its input ends; what it writes goes on."""
        await self._stream.end()

    async def resize(self, columns: int, rows: int) -> None:
        """Its terminal's size. A program that has ended has none: that is no error."""
        with contextlib.suppress(TrinityError):
            await self._client.call(lambda api: api.exec_resize(self._id, height=rows, width=columns))

    async def exit_code(self) -> int:
        """Waits for its end, looking again and again: the engine cannot be made to tell."""
        pause = _LOOK_S
        while True:
            try:
                seen: object = await self._client.call(lambda api: api.exec_inspect(self._id))
            except NotThere:
                return _GONE
            code = whole(seen, "ExitCode")
            if not flag(seen, "Running") and code is not None:
                return code
            await asyncio.sleep(pause)
            pause = min(_LONGEST_LOOK_S, pause * 1.5)

    async def close(self) -> None:
        """Leave it; a program that waits for input or writes gets its end. Idempotent."""
        await self._stream.close()


async def start_exec(
    client: EngineClient, container: str, argv: Sequence[str], *, tty: bool, columns: int, rows: int
) -> DockerExec:
    """Run a program in a container. Raises Conflict where the container does not run, UsageError for a bad program."""
    body = {
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": tty,
        "Cmd": list(argv),
        **({"Env": ["TERM=xterm-256color"]} if tty else {}),
    }
    identifier = text(await client.post(f"/containers/{container}/exec", body), "Id")
    stream = await client.hijack(f"/exec/{identifier}/start", {"Detach": False, "Tty": tty})
    program = DockerExec(client, identifier, stream, tty=tty)
    if tty:
        await program.resize(columns, rows)
    return program
