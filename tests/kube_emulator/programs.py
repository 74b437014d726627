"""Programs that run in emulated containers on `exec` and `attach`: Python callables, and a little shell for those that
nobody registered. Knows nothing of WebSockets.
"""

from __future__ import annotations

import asyncio
import shlex
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

Stream = Literal["stdout", "stderr"]


@dataclass
class Session:
    """One program that runs. `tty`: both streams come as one, and the sizes of the terminal in `sizes`."""

    argv: tuple[str, ...]
    pod: dict[str, Any]
    container: str
    tty: bool
    send: Callable[[Stream, bytes], Awaitable[None]]
    stdin: asyncio.StreamReader
    """At its end at once where the caller gives none."""
    sizes: list[tuple[int, int]] = field(default_factory=list)
    """(columns, rows), the newest last."""
    programs: Programs | None = None
    """Of the cluster that it runs in."""

    async def out(self, text: str | bytes) -> None:
        await self.send("stdout", text.encode() if isinstance(text, str) else text)

    async def err(self, text: str | bytes) -> None:
        await self.send("stdout" if self.tty else "stderr", text.encode() if isinstance(text, str) else text)


Program = Callable[[Session], Awaitable[int]]
"""Returns the exit status."""


class NoSuchProgram(Exception):
    """There is no such file in the container."""


class Programs:
    """What can be run, by the first word of the argv."""

    def __init__(self) -> None:
        self.by_name: dict[str, Program] = {"sh": _shell, "/bin/sh": _shell, "bash": _shell, "/bin/bash": _shell}
        for name in _COMMANDS:
            self.by_name[name] = _command
        self.signal: Callable[[str, str, str, signal.Signals], None] = lambda namespace, pod, container, number: None
        """Sends process 1 of a container (namespace, pod, container) a signal."""

    def register(self, name: str, program: Program) -> None:
        self.by_name[name] = program

    def find(self, argv: tuple[str, ...]) -> Program:
        """Raises NoSuchProgram."""
        try:
            return self.by_name[argv[0]]
        except (KeyError, IndexError) as error:
            raise NoSuchProgram(argv[0] if argv else "") from error


async def _echo(session: Session, words: list[str]) -> int:
    await session.out(" ".join(words) + "\n")
    return 0


async def _cat(session: Session, words: list[str]) -> int:
    while block := await session.stdin.read(65536):
        await session.out(block)
    return 0


async def _hostname(session: Session, words: list[str]) -> int:
    await session.out(session.pod["metadata"]["name"] + "\n")
    return 0


async def _env(session: Session, words: list[str]) -> int:
    spec = next(c for c in session.pod["spec"]["containers"] if c["name"] == session.container)
    for entry in spec.get("env") or ():
        await session.out(f"{entry['name']}={entry.get('value', '')}\n")
    return 0


async def _sleep(session: Session, words: list[str]) -> int:
    await asyncio.sleep(float(words[0]))
    return 0


async def _stty(session: Session, words: list[str]) -> int:
    columns, rows = session.sizes[-1] if session.sizes else (80, 24)
    await session.out(f"{rows} {columns}\n")
    return 0


async def _true(session: Session, words: list[str]) -> int:
    return 0


async def _false(session: Session, words: list[str]) -> int:
    return 1


async def _kill(session: Session, words: list[str]) -> int:
    """`kill -s TERM 1`, `kill -TERM 1`: a container has no process but the first."""
    name = words[1] if words[:1] == ["-s"] else words[0].removeprefix("-") if words else ""
    if words[-1:] != ["1"] or f"SIG{name}" not in signal.Signals.__members__:
        await session.err(f"kill: {' '.join(words)}: No such process\n")
        return 1
    if session.programs is not None:
        metadata = session.pod["metadata"]
        number = signal.Signals[f"SIG{name}"]
        session.programs.signal(metadata["namespace"], metadata["name"], session.container, number)
    return 0


_COMMANDS: dict[str, Callable[[Session, list[str]], Awaitable[int]]] = {
    "echo": _echo,
    "cat": _cat,
    "hostname": _hostname,
    "env": _env,
    "sleep": _sleep,
    "stty": _stty,
    "true": _true,
    "false": _false,
    "kill": _kill,
}


async def _command(session: Session) -> int:
    return await _COMMANDS[session.argv[0]](session, list(session.argv[1:]))


async def _shell(session: Session) -> int:
    """`sh -c 'echo a; exit 3'`, or lines of that from standard input with a prompt on a terminal."""
    if "-c" in session.argv:
        status, _ = await _run_line(session, session.argv[session.argv.index("-c") + 1], 0)
        return status
    status = 0
    while True:
        if session.tty:
            await session.out("$ ")
        line = (await session.stdin.readline()).decode(errors="replace")
        if not line:
            return status
        if session.tty:
            await session.out(line.rstrip("\r\n") + "\r\n")
        status, ended = await _run_line(session, line.strip(), status)
        if ended:
            return status


async def _run_line(session: Session, line: str, status: int) -> tuple[int, bool]:
    """Returns the status and whether the shell ends."""
    for part in line.split(";"):
        words = shlex.split(part)
        to_stderr = words[-1:] == [">&2"]
        if to_stderr:
            words.pop()
        if not words:
            continue
        if words[0] == "exit":
            return (int(words[1]) if len(words) > 1 else status), True
        command = _COMMANDS.get(words[0])
        if command is None:
            await session.err(f"sh: {words[0]}: not found\n")
            status = 127
        elif to_stderr:
            await session.err(" ".join(words[1:]) + "\n")
            status = 0
        else:
            status = await command(session, words[1:])
    return status, False
