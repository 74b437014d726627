"""Reads the access log while the edge runs and appends its rows to the ledger.

Owns the position file `edge/reader.json`, so that requests which ended while no daemon ran are read later, once.
Never asks HAProxy anything. Rows are at most one poll (50 ms) behind the log.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Final

import msgspec

from backend.contract.clock import Clock
from backend.contract.errors import TrinityError
from backend.contract.ledger import RowSink
from backend.contract.rows import EventRow
from backend.contract.words import Severity
from backend.edge.config import END_KILLS
from backend.edge.events import poison_event
from backend.edge.join import Joiner, OpenRequest
from backend.edge.records import EndRecord, FirstRecord, Words, parse_line
from backend.edge.tail import LogTail
from backend.shim.record import write_atomic

POLL_S: Final = 0.05
_SAVE_EVERY_S: Final = 0.2
_STEP_BYTES: Final = 128 * 1024
_REMEMBERED: Final = 8192
_LARGE_BYTES: Final = 256 * 1024 * 1024


class ReaderMemory(msgspec.Struct, frozen=True, kw_only=True):
    """What a later reader needs: how far each file was read, and which requests had no end yet."""

    offsets: dict[str, int] = {}
    open: dict[str, OpenRequest] = {}


class LogReader:
    """The access log of one edge as rows. `unreadable` counts lines nobody could parse."""

    def __init__(
        self,
        directory: Path,
        *,
        sink: RowSink,
        clock: Clock,
        fleet: str,
        replica_of: Callable[[str, int], str | None],
        flush: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`flush` returns once every row given to `sink` is in the ledger's files; it raises TrinityError if not."""
        self._path = directory / "reader.json"
        memory = _load(self._path)
        self._tail = LogTail(directory, memory.offsets)
        self._joiner = Joiner(fleet, replica_of, memory.open)
        self._sink, self._clock, self._flush = sink, clock, flush
        self._recent: deque[str] = deque(maxlen=_REMEMBERED)
        self._ended: set[str] = set()
        self._changed = False
        self._saved_at = 0.0
        self._writing = threading.Lock()
        self.unreadable = 0
        self.rows = 0

    @property
    def open_pids(self) -> set[int]:
        """Processes that hold requests whose end was not read."""
        return {request.pid for request in self._joiner.open.values()}

    @property
    def open_count(self) -> int:
        """Requests whose first byte was read and whose end was not."""
        return len(self._joiner.open)

    async def read_all(self) -> int:
        """Read every log to its present end; returns how many bytes."""
        total = 0
        # The newest first: after a reload, an old process's request may be logged in the new one's file.
        for path in reversed(self._tail.files()):
            while lines := self._tail.read(path, _STEP_BYTES):
                total += sum(map(len, lines)) + len(lines)
                for line in lines:
                    self._take(line)
                self._changed = True
                await asyncio.sleep(0)
            self._tail.free(path)
        if self._changed and self._clock.mono() - self._saved_at >= _SAVE_EVERY_S:
            await self.save()
        return total

    async def settle(self, living: Callable[[], Awaitable[Collection[int]]], current_start: int) -> int:
        """Record as lost what processes that no longer live left open, drop finished files; returns how many.

        `living` names the HAProxy processes that run; files of starts before `current_start` are finished.
        """
        await self.read_all()
        # Only processes seen before the question are judged by its answer: one that starts meanwhile is not gone.
        seen = self.open_pids
        alive = await living()
        await self.read_all()
        lost = self._joiner.lose(seen - set(alive))
        for row in lost:
            self._sink.append(row)
        self.rows += len(lost)
        if len(alive) <= 1:
            keep = [n for n in self._tail.starts() if n >= current_start]
            if list(self._tail.remove_finished(keep)):
                self._changed = True
        if lost or self._changed:
            await self.save()
        return len(lost)

    def has_old_files(self, current_start: int) -> bool:
        """Whether logs of earlier starts are still there."""
        return any(number < current_start for number in self._tail.starts())

    def needs_new_file(self) -> bool:
        """Whether the log grew large where read bytes cannot be given back: a reload opens a new one."""
        if self._tail.can_punch:
            return False
        files = self._tail.files()
        return bool(files) and self._tail.offsets.get(files[-1].name, 0) > _LARGE_BYTES

    async def save(self) -> None:
        """Write the position file, once the rows up to it are in the ledger's files: a crash loses none of them, and
        may repeat some (see backend/daemon/once_sink)."""
        self._tail.forget_missing()
        data = msgspec.json.encode(ReaderMemory(offsets=self._tail.offsets, open=self._joiner.open))
        self._changed = False
        self._saved_at = self._clock.mono()
        if self._flush is not None:
            try:
                await self._flush()
            except TrinityError:
                self._changed = True  # the disk refused the rows: they are read again by the next daemon
                return
        await asyncio.to_thread(self._write, data)  # a rename may wait for the disk

    def _write(self, data: bytes) -> None:
        # The thread of a cancelled save still writes: one at a time, and the later one last.
        with self._writing:
            write_atomic(self._path, data)

    def _take(self, line: bytes) -> None:
        record = parse_line(line)
        if isinstance(record, FirstRecord):
            self._sink.append(self._joiner.first(record, ended=record.u in self._ended))
            self.rows += 1
        elif isinstance(record, EndRecord):
            self._remember(record.u)
            tried = self._joiner.open.get(record.u)
            row = self._joiner.end(record)
            self._sink.append(row)
            if record.why == END_KILLS:
                self._sink.append(poison_event(row, tried.attempts if tried else ()))
            self.rows += 1
        elif isinstance(record, Words):
            self._sink.append(
                EventRow(
                    ts=self._clock.now(),
                    mono_s=self._clock.mono(),
                    kind="edge.haproxy",
                    severity=Severity.DEBUG,
                    subject="edge",
                    message=record.text,
                )
            )
        elif record is not None:
            self.unreadable += 1

    def _remember(self, u: str) -> None:
        if len(self._recent) == _REMEMBERED:
            self._ended.discard(self._recent[0])
        self._recent.append(u)
        self._ended.add(u)


def _load(path: Path) -> ReaderMemory:
    """The position file; an unreadable one means reading from the start."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=ReaderMemory)
    except (FileNotFoundError, msgspec.DecodeError):
        return ReaderMemory()
