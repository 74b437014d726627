"""The output of a container of ours, followed from its start to its end into the files that shims write.

Owns one follower: where to go on after a loss of the engine or a daemon's absence (the newest line stored), the note of
a start, and the last lines for an exit's record. Never interprets a line.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from backend.contract.errors import TrinityError
from backend.contract.log_notes import STARTS, read_notes
from backend.fleet.docker_engine.errors import EngineTrouble, NotThere
from backend.fleet.docker_engine.own_engine import OwnEngine
from backend.fleet.docker_engine.reading import parse_ns
from backend.shim.notes import write_note
from backend.shim.output import MAX_LINE_BYTES, LogWriter, OutputTail, stamp_ns

_LAST_WORDS_S: Final = 0.5
"""How long an end waits for what the program wrote last."""
_AGAIN_S: Final = 0.2
_TAIL_BYTES: Final = 64 * 1024
_STREAMS: Final = {1: "stdout", 2: "stderr"}
_MAX_BYTES: Final = 10 * 1024 * 1024
_BACKUPS: Final = 5
"""As shims do."""


class Frames:
    """Cuts the engine's stream into (`stdout` or `stderr`, bytes) as it comes."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[str, bytes]]:
        """The frames that `data` completes."""
        self._rest += data
        while len(self._rest) >= 8:
            end = 8 + int.from_bytes(self._rest[4:8], "big")
            if len(self._rest) < end:
                return
            stream, body = _STREAMS.get(self._rest[0], "stdout"), bytes(self._rest[8:end])
            del self._rest[:end]
            yield stream, body


class OwnLog:
    """One start's output. `begin` once, in a running loop; ended by `end` or `cancel`."""

    def __init__(self, engine: OwnEngine, replica: str) -> None:
        self._engine, self._dir = engine, engine.paths.replica_log_dir(replica)
        self._stamp_ns = time.time_ns()
        self._writer = LogWriter(self._dir, max_bytes=_MAX_BYTES, backups=_BACKUPS, now_ns=lambda: self._stamp_ns)
        self._tail = OutputTail()
        self._follow: asyncio.Task[None] | None = None

    def note_start(self, at_ns: int) -> None:
        """Lines from that instant on are of this start."""
        path = self._dir / STARTS
        try:
            notes = read_notes(path.read_bytes())
        except OSError:
            notes = []
        self._dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_note(path, notes[-1][0] + 1 if notes else 1, at_ns)

    def begin(self, container: str) -> None:
        """Follow it, from the newest line that is stored on."""
        self._follow = asyncio.create_task(self._until_end(container), name=f"log of {self._dir.name}")

    def last_lines(self) -> tuple[str, ...]:
        """The last ones it wrote, for an exit's record."""
        return self._tail.lines()

    async def end(self) -> None:
        """What it wrote last is stored on return, if the engine gives it soon."""
        if self._follow is not None:
            await asyncio.wait([self._follow], timeout=_LAST_WORDS_S)
        await self.cancel()

    async def cancel(self) -> None:
        """Follow no longer."""
        if self._follow is not None:
            self._follow.cancel()
            await asyncio.wait([self._follow])
        self._writer.close()

    async def drain(self) -> None:
        """The container has ended: wait a moment for its last words."""
        if self._follow is not None:
            await asyncio.wait([self._follow], timeout=_LAST_WORDS_S)

    async def _until_end(self, container: str) -> None:
        newest_ns = await asyncio.to_thread(newest_stamp_ns, self._dir / "current.log")
        while True:
            try:
                newest_ns = await self._follow_once(container, newest_ns)
            except NotThere:
                return
            except EngineTrouble as trouble:
                self._engine.failed(trouble)
                await self._engine.usable()
            except TrinityError:
                await asyncio.sleep(_AGAIN_S)
            else:
                return

    async def _follow_once(self, container: str, newest_ns: int | None) -> int | None:
        """To the end of its output; returns the newest line's instant. `newest_ns`: that of the newest one stored."""
        params: dict[str, str | int] = {"follow": 1, "stdout": 1, "stderr": 1, "timestamps": 1}
        if newest_ns is not None:
            since_ns = newest_ns + 1000  # stored to the microsecond
            params["since"] = f"{since_ns // 10**9}.{since_ns % 10**9:09d}"
        frames = Frames()
        async with self._engine.client.stream(f"/containers/{container}/logs", params) as answer:
            async for data in answer.aiter_raw():
                for stream, body in frames.feed(data):
                    newest_ns = self._store(stream, body)
        return newest_ns

    def _store(self, stream: str, body: bytes) -> int:
        stamp, _, line = body.partition(b" ")
        found_ns = parse_ns(stamp.decode("ascii", "replace"))
        if found_ns is None:
            line = body
        self._stamp_ns = found_ns if found_ns is not None else time.time_ns()
        whole = line.endswith(b"\n")
        text = line.rstrip(b"\r\n")
        parts = [text[at : at + MAX_LINE_BYTES] for at in range(0, len(text), MAX_LINE_BYTES)] or [b""]
        self._tail.add(text)
        self._writer.write(stream, [(part, whole and n == len(parts) - 1) for n, part in enumerate(parts)])
        return self._stamp_ns


def newest_stamp_ns(path: Path) -> int | None:
    """The instant of the last stored line, POSIX nanoseconds; null where there is none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            lines = file.read().split(b"\n")
    except OSError:
        return None
    return next((found for line in reversed(lines) if (found := stamp_ns(line)) is not None), None)
