"""A container's log messages in the shims' stored format, each with the engine's own stamp, none twice.

Owns the log directory of one replica: what is written, where writing stands, which container it came from. Blocks:
call it in a thread. Never talks to an engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from backend.contract.log_notes import STARTS
from backend.contract.shim import ShimSpec
from backend.fleet.docker_engine.frames import Message
from backend.fleet.stored_log import lines_back, noted_starts
from backend.shim.notes import write_note
from backend.shim.output import TAIL_LINE_CHARS, TAIL_LINES, LogWriter, stamp_ns
from backend.shim.record import write_atomic

_SOURCE: Final = "container.json"
_BACK_NS: Final = 1_000_000
"""Messages of two streams may be stored out of order by this much."""
_LOST: Final = b" stderr F trinity-shim: "
_LIMITS: Final = {field.name: field.default for field in msgspec.structs.fields(ShimSpec)}


class Source(msgspec.Struct, frozen=True):
    """The container that is written now; lines from `from_ns` on are its own."""

    id: str
    from_ns: int


class Place(msgspec.Struct, frozen=True):
    """Where to go on: ask for what is at or after `since_ns` and leave out the first `skip` messages of it."""

    since_ns: int
    skip: int


class LogStore:
    """The log directory of one replica. Raises OSError only from `place` and `begin`."""

    def __init__(self, log_dir: Path) -> None:
        self._dir = log_dir
        self._ns = 0
        self._writer = LogWriter(
            log_dir,
            max_bytes=int(_LIMITS["log_max_bytes"]),
            backups=int(_LIMITS["log_backups"]),
            now_ns=lambda: self._ns,
        )

    def begin(self, container: str, created_ns: int) -> None:
        """What follows is of this container."""
        self._dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        known = self._source()
        if known is None or known.id != container:
            newest = next((ns for ns, _ in self._lines_back()), 0)
            source = Source(container, max(created_ns, newest + 1))
            write_atomic(self._dir / _SOURCE, msgspec.json.encode(source))

    def note_start(self, started_ns: int) -> None:
        """Lines from this instant on are of the next life. Told again of the same start, it notes nothing."""
        number, last_ns = max(noted_starts(self._dir), key=lambda held: held[1], default=(0, 0))
        if started_ns > last_ns + 1_000_000:
            self._dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_note(self._dir / STARTS, number + 1, started_ns)

    def place(self) -> Place | None:
        """Where reading of the present container stands; null where nothing of it is stored."""
        source = self._source()
        if source is None:
            return None
        floor = newest = None
        count = 0
        for ns, _ in self._lines_back():
            if newest is None:
                newest = ns
                floor = max(ns - _BACK_NS, source.from_ns - source.from_ns % 1000)
            assert floor is not None
            if ns < floor - _BACK_NS:
                break
            count += ns >= floor
        if newest is None or floor is None or newest < source.from_ns - 1000:
            return None
        return Place(floor, count)

    def append(self, messages: Sequence[Message]) -> None:
        """Write them. A full disk loses lines, which the writer counts and says."""
        run: list[tuple[bytes, bool]] = []
        head: tuple[int, str] | None = None
        for message in messages:
            now = (message.ns or self._ns, message.stream)
            if head is not None and now != head:
                self._flush(head, run)
                run = []
            head = now
            run.append((message.data, message.whole))
        if head is not None:
            self._flush(head, run)

    def last_lines(self) -> tuple[str, ...]:
        """The newest lines of the present container, oldest first, for an exit's record."""
        source = self._source()
        found: list[str] = []
        for ns, line in self._lines_back():
            if len(found) >= TAIL_LINES or (source is not None and ns < source.from_ns - 1000):
                break
            parts = line.split(b" ", 3)
            if len(parts) == 4:
                found.append(parts[3][:TAIL_LINE_CHARS].decode("utf-8", "replace"))
        return tuple(reversed(found))

    def close(self) -> None:
        self._writer.close()

    def _flush(self, head: tuple[int, str], run: list[tuple[bytes, bool]]) -> None:
        self._ns, stream = head
        self._writer.write(stream, run)

    def _source(self) -> Source | None:
        try:
            return msgspec.json.decode((self._dir / _SOURCE).read_bytes(), type=Source)
        except (OSError, msgspec.DecodeError):
            return None

    def _lines_back(self) -> Iterator[tuple[int, bytes]]:
        """Stored lines with their stamps, newest first."""
        for line in lines_back(self._dir):
            ns = stamp_ns(line)
            if ns is not None and not line[27:].startswith(_LOST):
                yield ns, line
