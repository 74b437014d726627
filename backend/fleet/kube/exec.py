"""Running a program in a container, over the API server's WebSocket (v5.channel.k8s.io, else v4).

Owns the streams of one program: what it writes, what it is given, its window and how it ended.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from backend.contract.errors import TrinityError, Unreachable
from backend.fleet.kube.access import Access
from backend.fleet.kube.channels import V4, V5, Channels, open_channels
from backend.fleet.kube.objects import Ref, objects, path_of, text

_IN, _OUT, _ERR, _STATUS, _RESIZE = 0, 1, 2, 3, 4
_EXIT: Final = re.compile(r"exit code (\d+)")
_LAST_WORDS_S: Final = 1.0
NOT_FOUND: Final = 127
_MISSING: Final = ("no such file", "not found", "executable file")


class KubeExec:
    """An ExecStream. What a program still writes when nobody reads is kept until then, within bounds of the socket."""

    def __init__(self, channels: Channels, what: str, *, tty: bool = False) -> None:
        self._channels, self._what, self._tty = channels, what, tty
        self._status: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._kept: list[bytes] = []
        self._over = False
        self._turn = asyncio.Lock()

    async def read(self) -> bytes:
        """What it writes, both streams together; empty at its end. Raises Unreachable where the stream broke."""
        if self._kept:
            return self._kept.pop(0)
        while not self._over:
            async with self._turn:
                if self._kept:
                    return self._kept.pop(0)
                if self._over:
                    break
                # Its status may overtake the last of what it wrote; then the server ends the stream.
                data = await self._receive(_LAST_WORDS_S if self._status.done() else None)
            if data:
                return data
        return self._kept.pop(0) if self._kept else b""

    async def write(self, data: bytes) -> None:
        await self._channels.send(_IN, data)

    async def end(self) -> None:
        """End its standard input. A server that only speaks v4 cannot be told: then an end-of-file character is sent,
        which a terminal takes for one."""
        if not await self._channels.end(_IN):
            await self._channels.send(_IN, b"\x04")

    async def resize(self, columns: int, rows: int) -> None:
        await self._channels.send(_RESIZE, msgspec.json.encode({"Width": columns, "Height": rows}))

    async def exit_code(self) -> int:
        """Waits for its end; keeps what it writes meanwhile for `read`. Raises Unreachable where the stream broke
        before, TrinityError where it could not be started."""
        while not self._status.done():
            async with self._turn:
                if self._status.done():
                    break
                data = await self._receive()
                if data:
                    self._kept.append(data)
        return self._status.result()

    async def close(self) -> None:
        self._over = True
        self._fail(Unreachable(f"The stream to {self._what} was closed.", ""))
        await self._channels.close()

    async def _receive(self, within_s: float | None = None) -> bytes:
        """What one message brought to read; empty for any other message, and at the end."""
        try:
            async with asyncio.timeout(within_s):
                message = await self._channels.next()
        except TimeoutError:
            self._over = True
            return b""
        except TrinityError as error:
            self._over = True
            if self._status.done():  # all was told: how the connection ends then is no matter
                return b""
            self._fail(error)
            raise
        if message is None:
            self._over = True
            self._fail(
                Unreachable(f"The stream to {self._what} ended before its exit code came.", "Run it again if you may.")
            )
            return b""
        channel, data = message
        if channel in (_OUT, _ERR):
            return data
        if channel == _STATUS and data and not self._status.done():
            return self._ended(data)
        return b""

    def _ended(self, status: bytes) -> bytes:
        """Take its exit code; what is still to be read, where nothing ran that could have said it."""
        try:
            code = exit_code_of(status, self._what)
        except TrinityError as error:
            self._fail(error)
            return b""
        self._status.set_result(code)
        if code == NOT_FOUND and not ran(status):
            return f"There is no program {self._what}.".encode() + (b"\r\n" if self._tty else b"\n")
        return b""

    def _fail(self, error: TrinityError) -> None:
        if not self._status.done():
            self._status.set_exception(error)
            self._status.exception()  # whoever asks for the code gets it; nobody need ask


def exit_code_of(status: bytes, what: str) -> int:
    """The exit code in the Status object of an ended program; 127 where there is no such program in the container.
    Raises TrinityError for what is no end of a program."""
    said = _decoded(status)
    if text(said, "status") == "Success":
        return 0
    if (code := _own_code(said)) is not None:
        return code
    message = " ".join(text(said, "message").split())
    if "container not found" in message:
        raise TrinityError(f"{what}: its container does not run now.", "Wait until it runs, or name another one.")
    if any(words in message.lower() for words in _MISSING):
        return NOT_FOUND
    if (found := _EXIT.search(message)) is not None:
        return int(found[1])
    raise TrinityError(f"{what} could not be run: {message[:300] or 'the server says not why'}.", "See what it names.")


def ran(status: bytes) -> bool:
    """Whether the Status object is of a program that ran and ended by itself."""
    said = _decoded(status)
    return text(said, "status") == "Success" or _own_code(said) is not None


def _decoded(status: bytes) -> Any:
    try:
        return msgspec.json.decode(status)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {"message": status.decode("utf-8", "replace")}


def _own_code(said: Any) -> int | None:
    """The exit code that a program gave itself."""
    for cause in objects(said, "details", "causes"):
        if cause.get("reason") == "ExitCode" and text(cause, "message").isdecimal():
            return int(text(cause, "message"))
    return None


async def run(
    access: Access,
    ref: Ref,
    argv: Sequence[str],
    *,
    tty: bool,
    columns: int,
    rows: int,
    container: str,
) -> KubeExec:
    """Start a program in a pod's container (the first one where none is named). Raises Refused, TrinityError."""
    what = f"run {argv[0]} in {ref.name}"
    query: list[tuple[str, object]] = [("command", word) for word in argv]
    query += [("stdin", True), ("stdout", True), ("stderr", not tty), ("tty", tty)]
    if container:
        query.append(("container", container))
    channels = await open_channels(
        access,
        path_of(ref, "exec"),
        query,
        protocols=(V5, V4),
        right="pods/exec",
        what=what,
        label="exec pods",
    )
    stream = KubeExec(channels, f"{argv[0]} in {ref.name}", tty=tty)
    if tty:
        await stream.resize(columns, rows)
    return stream
