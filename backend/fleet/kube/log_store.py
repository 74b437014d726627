"""The stored log of one pod: lines of its containers in the shims' format, under the stamps that the kubelet gave them.

Owns what is known already (a stream that is opened again sends the last second once more), which life of the pod a line
belongs to, and the splitting of over-long lines. Asks the API nothing. Not for two tasks at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

import msgspec

from backend.contract.log_notes import STARTS
from backend.fleet.stored_log import lines_back, noted_starts
from backend.shim.notes import write_note
from backend.shim.output import MAX_LINE_BYTES, LogWriter, stamp_ns
from backend.shim.record import write_atomic

MAX_BYTES: Final = 8 * 1024 * 1024
BACKUPS: Final = 4
_LIVES: Final = "lives.json"
_STAMP: Final = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)(?: |$)")
_STORED: Final = re.compile(rb"\S{20,40} stdout F ?")
_UNSTAMPED_KEPT: Final = 64
_NS: Final = 1_000_000_000


class Mark(msgspec.Struct):
    """How far a container's log is stored: the newest stamp, and how many lines have it."""

    us: int = 0
    count: int = 0


class Lives(msgspec.Struct):
    """Kept beside the log: the newest life's number, and which start of each container was the newest noted."""

    number: int = 0
    ids: dict[str, str] = {}


class Line(msgspec.Struct, frozen=True, gc=False):
    """A line as the kubelet sent it. `ns` is None where it has no stamp (the kubelet's own words)."""

    ns: int | None
    message: bytes


@lru_cache(maxsize=64)
def _second(head: bytes, zone: bytes) -> int | None:
    try:
        text = head.decode() + ("+00:00" if zone == b"Z" else zone.decode())
        return int(datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError):
        return None


def read_line(raw: bytes) -> Line:
    """A line of the API's log with `timestamps=true`. Any bytes will do."""
    match = _STAMP.match(raw)
    second = None if match is None else _second(match[1], match[3])
    if match is None or second is None or second < 0:
        return Line(None, raw)
    return Line(second * _NS + int((match[2] or b"0").ljust(9, b"0")), raw[match.end() :])


class CatchUp:
    """Leaves out what is stored already, at the beginning of a stream that overlaps it."""

    def __init__(self, mark: Mark) -> None:
        self._us, self._left, self._passed = mark.us, mark.count, mark.count == 0

    def new(self, line: Line) -> bool:
        """Whether the line is to be stored."""
        if self._passed or line.ns is None:
            return True
        us = line.ns // 1000
        if us > self._us:
            self._passed = True
            return True
        if us == self._us and self._left == 0:
            return True
        self._left -= us == self._us
        return False


class PodLog:
    """Appends to `<directory>/current.log`. `containers`: all names; with more than one each line begins with its
    container's, as `[name] `."""

    def __init__(self, directory: Path, containers: Sequence[str]) -> None:
        self._directory = directory
        self._prefixes = {name: f"[{name}] ".encode() if len(containers) > 1 else b"" for name in containers}
        self._ns = 0
        self._writer = LogWriter(directory, max_bytes=MAX_BYTES, backups=BACKUPS, now_ns=lambda: self._ns)
        self._unstamped: set[bytes] = set()
        self._marks = {name: Mark() for name in containers}
        self._lives = Lives()
        self.lines = 0
        """Stored by this object."""

    def open(self) -> None:
        """Find out what is stored. Blocks on files."""
        _read_marks(self._directory, self._prefixes, self._marks)
        self._ns = max((mark.us for mark in self._marks.values()), default=0) * 1000
        try:
            self._lives = msgspec.json.decode((self._directory / _LIVES).read_bytes(), type=Lives)
        except (OSError, msgspec.DecodeError):
            self._lives = Lives(number=max((number for number, _ in noted_starts(self._directory)), default=0))

    def mark(self, container: str) -> Mark:
        """How far a container's log is stored; a count of 0: nothing of it is."""
        return self._marks[container]

    def knows(self, container: str, start: str) -> bool:
        """Whether that start of a container is the newest noted. `start` is its container's id."""
        return self._lives.ids.get(container) == start

    def begin_life(self, container: str, start: str, started_ns: int, *, restarts: int) -> None:
        """Note a start: what is stored from now on belongs to it. `restarts` are those of all containers, so that the
        number says what the platform counts. Starts that are known, or of a pod's other containers at its beginning,
        are no new life."""
        if self.knows(container, start):
            return
        beginning = container not in self._lives.ids and bool(self._lives.ids) and restarts < self._lives.number
        if not beginning:
            self._lives.number = max(self._lives.number, restarts) + 1
            # The API tells starts in whole seconds: lines of the former life may be younger than that.
            newest = max((mark.us for mark in self._marks.values()), default=0)
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_note(self._directory / STARTS, self._lives.number, max(started_ns, (newest + 1) * 1000))
        self._lives.ids[container] = start
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomic(self._directory / _LIVES, msgspec.json.encode(self._lives))
        except OSError:
            return  # a full disk: the next daemon may count a life twice

    def write(self, container: str, lines: Iterable[Line]) -> None:
        """Store lines in order. A line without a stamp is stored once, under the newest one."""
        mark, prefix = self._marks[container], self._prefixes[container]
        for line in lines:
            if line.ns is None:
                self._write_unstamped(prefix + line.message)
                continue
            us = line.ns // 1000
            self._ns = line.ns
            self._writer.write("stdout", _pieces(prefix + line.message))
            self.lines += 1
            if us == mark.us:
                mark.count += 1
            elif us > mark.us:
                mark.us, mark.count = us, 1

    def close(self) -> None:
        self._writer.close()

    def _write_unstamped(self, message: bytes) -> None:
        if message.strip() and message not in self._unstamped and len(self._unstamped) < _UNSTAMPED_KEPT:
            self._unstamped.add(message)
            if self._ns:
                self._writer.write("stderr", _pieces(message))
                self.lines += 1


def _pieces(message: bytes) -> list[tuple[bytes, bool]]:
    """Of one line, as LogWriter takes them."""
    message = message.removesuffix(b"\r")
    if len(message) <= MAX_LINE_BYTES:
        return [(message, True)]
    parts = [message[at : at + MAX_LINE_BYTES] for at in range(0, len(message), MAX_LINE_BYTES)]
    return [(part, at == len(parts) - 1) for at, part in enumerate(parts)]


def _read_marks(directory: Path, prefixes: dict[str, bytes], marks: dict[str, Mark]) -> None:
    """The newest stored stamp of each container, found from the newest file backwards."""
    missing = set(prefixes)
    closed: set[str] = set()
    for line in lines_back(directory):
        match = _STORED.match(line)
        if match is None:
            continue
        message = line[match.end() :]
        name = next((name for name, prefix in prefixes.items() if message.startswith(prefix)), None)
        if name is None or name in closed:
            continue
        ns = stamp_ns(line)
        if ns is None:
            continue
        mark, us = marks[name], ns // 1000
        if name in missing:
            missing.discard(name)
            mark.us, mark.count = us, 1
        elif us == mark.us:
            mark.count += 1
        else:
            closed.add(name)
        if len(closed) == len(prefixes):
            return
