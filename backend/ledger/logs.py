"""The logs table: windows, counts, searches and a live tail over the files that shims write.

Owns how lines of several replicas become rows in time order. Everything but `follow` reads files and blocks: call it
in a thread (`asyncio.to_thread`). Never writes, never keeps a line.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from backend.contract.control import LogWindow
from backend.contract.errors import UsageError
from backend.contract.log_lines import Joiner, Piece, join_pieces, stamp_of, to_row
from backend.contract.rows import LogRow
from backend.ledger.log_files import (
    LogFile,
    current_inode,
    offset_at,
    open_files,
    opened,
    replicas_in,
    start_of_last_lines,
)

_POLL_BYTES: Final = 2 * 1024 * 1024
"""Read at most this much of a replica at a look, so that a flood in one delays the others little."""


class LogReader:
    """Reads `<logs_dir>/<replica>/*.log`. `replicas` None means all there are."""

    def __init__(self, logs_dir: Path) -> None:
        self._logs_dir = logs_dir

    def replicas(self) -> list[str]:
        """Names of replicas with logs, sorted."""
        return replicas_in(self._logs_dir)

    def tail(
        self,
        replicas: Sequence[str] | None = None,
        *,
        limit: int = 1000,
        since_ts: float | None = None,
        until_ts: float | None = None,
        whole_instants: bool = False,
    ) -> LogWindow:
        """The newest `limit` lines with since_ts <= ts < until_ts, merged by time, oldest first.

        Many lines share an instant (a shim stamps what it reads at once): `whole_instants` adds those that share
        the oldest one shown, so that `before` its instant goes on without a gap. `truncated` counts the stored
        lines of the span that were left out. Raises OSError.
        """
        found: list[tuple[str, Piece]] = []
        left_out = 0
        for replica in self._chosen(replicas):
            pieces, lines = self._last_pieces(replica, limit, since_ts, until_ts, whole_instants)
            left_out += lines
            found.extend((replica, piece) for piece in pieces)
        found.sort(key=lambda entry: entry[1].ts)
        cut = max(0, len(found) - limit)
        while whole_instants and 0 < cut < len(found) and found[cut - 1][1].ts == found[cut][1].ts:
            cut -= 1
        rows = tuple(to_row(replica, piece) for replica, piece in found[cut:])
        return LogWindow(rows=rows, truncated=left_out + cut)

    def before(self, ts: float, replicas: Sequence[str] | None = None, *, limit: int = 1000) -> LogWindow:
        """The `limit` lines (and those of the oldest one's instant) before an instant: paging backwards."""
        return self.tail(replicas, limit=limit, until_ts=ts, whole_instants=True)

    def count(
        self, replicas: Sequence[str] | None = None, *, since_ts: float | None = None, until_ts: float | None = None
    ) -> int:
        """Stored lines in the span (a long line is stored as several parts). Raises OSError."""
        total = 0
        for replica in self._chosen(replicas):
            with opened(self._logs_dir / replica) as files:
                total += sum(_newlines(file, *_span(file, since_ts, until_ts)) for file in files)
        return total

    def search(
        self,
        pattern: str,
        replicas: Sequence[str] | None = None,
        *,
        limit: int = 1000,
        since_ts: float | None = None,
        until_ts: float | None = None,
        ignore_case: bool = True,
    ) -> list[LogRow]:
        """Lines whose message matches a regular expression, newest first. Raises UsageError for a bad pattern.

        A pattern can be slow, and matching holds the interpreter: a daemon runs this in a process, not a thread.
        """
        try:
            wanted = re.compile(pattern.encode(), re.IGNORECASE if ignore_case else 0)
        except re.error as error:
            raise UsageError(f"`{pattern}` is no regular expression: {error}.", "Escape special characters.") from error
        found: list[tuple[str, Piece]] = []
        for replica in self._chosen(replicas):
            matches = self._matches(replica, wanted, since_ts, until_ts)
            found.extend((replica, piece) for piece, _ in zip(matches, range(limit), strict=False))
        found.sort(key=lambda entry: entry[1].ts, reverse=True)
        return [to_row(replica, piece) for replica, piece in found[:limit]]

    async def follow(
        self,
        replicas: Sequence[str] | None = None,
        *,
        tail: int = 0,
        since_ts: float | None = None,
        poll_s: float = 0.2,
    ) -> AsyncIterator[LogRow]:
        """Each line as it is written, for ever; first the last `tail` of each replica, or those since `since_ts`.

        Follows from the first step of the iterator on. Lines of one look are merged by time. Replicas that appear
        later are followed from their first line.
        """
        follower = Follower(self._logs_dir, replicas, tail=tail, since_ts=since_ts)
        try:
            while True:
                for row in await asyncio.to_thread(follower.poll):
                    yield row
                await asyncio.sleep(poll_s)
        finally:
            follower.close()

    def _chosen(self, replicas: Sequence[str] | None) -> Sequence[str]:
        if replicas is None:
            return self.replicas()
        return [replica for replica in replicas if _is_plain_name(replica)]

    def _last_pieces(
        self, replica: str, limit: int, since_ts: float | None, until_ts: float | None, whole_instants: bool
    ) -> tuple[list[Piece], int]:
        """The last messages of a replica's span, and how many stored lines of it were not read."""
        with opened(self._logs_dir / replica) as files:
            spans = [(file, *_span(file, since_ts, until_ts)) for file in files]
            wanted = limit
            while True:
                starts = _starts_of_last(spans, wanted, whole_instants)
                taken = b"".join(file.read(start, high) for (file, _, high), start in zip(spans, starts, strict=True))
                left_out = sum(_newlines(file, low, start) for (file, low, _), start in zip(spans, starts, strict=True))
                pieces = list(join_pieces(_split(taken)))
                if len(pieces) >= limit or left_out == 0:
                    return pieces, left_out
                wanted *= 4  # many parts make few messages

    def _matches(
        self, replica: str, wanted: re.Pattern[bytes], since_ts: float | None, until_ts: float | None
    ) -> Iterator[Piece]:
        with opened(self._logs_dir / replica) as files:
            for file in reversed(files):
                low, high = _span(file, since_ts, until_ts)
                pieces = [piece for piece in join_pieces(_split(file.read(low, high))) if wanted.search(piece.message)]
                yield from reversed(pieces)


class _Source(msgspec.Struct):
    """One replica being followed: its open files oldest first, and where reading stands in the first."""

    files: deque[LogFile]
    joiner: Joiner
    offset: int = 0
    rest: bytes = b""
    last_inode: int | None = None


class Follower:
    """Reads what was added since the last look. A rotated file is read to its end before the next one.

    `poll` blocks (short reads): call it in a thread. `close` never blocks and may come while a poll is running
    (its reader was cancelled): then that poll closes the files at its end.
    """

    def __init__(
        self, logs_dir: Path, replicas: Sequence[str] | None, *, tail: int = 0, since_ts: float | None = None
    ) -> None:
        self._logs_dir, self._replicas = logs_dir, replicas
        self._tail, self._since_ts = tail, since_ts
        self._sources: dict[str, _Source] = {}
        self._first_look = True
        self._busy = threading.Lock()
        self._closed = False

    def poll(self) -> list[LogRow]:
        """New lines of all replicas, merged by time; none once closed."""
        with self._busy:
            rows = [] if self._closed else self._look()
        if self._closed:
            self.close()
        return rows

    def _look(self) -> list[LogRow]:
        names = replicas_in(self._logs_dir) if self._replicas is None else self._replicas
        found: list[tuple[str, Piece]] = []
        for name in names:
            if not _is_plain_name(name):
                continue
            source = self._sources.get(name)
            if source is None:
                source = self._sources[name] = _Source(deque(), Joiner())
                if self._first_look:
                    self._begin(name, source)
            self._discover(name, source)
            found.extend((name, piece) for piece in _read_source(source))
        self._first_look = False
        found.sort(key=lambda entry: entry[1].ts)
        return [to_row(name, piece) for name, piece in found]

    def close(self) -> None:
        """Let the files go. Idempotent."""
        self._closed = True
        if not self._busy.acquire(blocking=False):
            return
        try:
            for source in self._sources.values():
                for file in source.files:
                    file.close()
                source.files.clear()
        finally:
            self._busy.release()

    def _begin(self, name: str, source: _Source) -> None:
        """Stand at the first line wanted: since an instant, the last few, or the end."""
        files = open_files(self._logs_dir / name)
        if not files:
            return
        source.last_inode = files[-1].inode
        starts: list[tuple[LogFile, int]] = []
        missing = self._tail
        for file in reversed(files):
            high = _end_of_lines(file)
            if self._since_ts is not None:
                starts.append((file, offset_at(file, self._since_ts)))
                continue
            if missing <= 0 and starts:
                starts.append((file, file.size))
                continue
            start, lines = start_of_last_lines(file, 0, high, missing)
            missing -= min(lines, missing)
            starts.append((file, start))
        starts.reverse()
        source.files.extend(file for file, _ in starts)
        while len(source.files) > 1 and starts[0][1] >= starts[0][0].size:
            source.files.popleft().close()
            starts.pop(0)
        source.offset = starts[0][1]

    def _discover(self, name: str, source: _Source) -> None:
        """Open what was begun since the last look."""
        directory = self._logs_dir / name
        inode = current_inode(directory)
        if inode is None or inode == source.last_inode:
            return
        newer = open_files(directory, after_inode=source.last_inode)
        if newer:
            source.last_inode = newer[-1].inode
            source.files.extend(newer)


def _read_source(source: _Source) -> list[Piece]:
    pieces: list[Piece] = []
    budget = _POLL_BYTES
    while source.files and budget > 0:
        file = source.files[0]
        data = file.read(source.offset, source.offset + budget)
        source.offset += len(data)
        budget -= len(data)
        *lines, source.rest = (source.rest + data).split(b"\n")
        pieces.extend(piece for line in lines if (piece := source.joiner.feed(line)) is not None)
        if budget <= 0 or len(source.files) == 1:
            break
        # Its successor exists, so nothing is added to it any more: what was read is all of it.
        if source.rest:
            piece = source.joiner.feed(source.rest)
            if piece is not None:
                pieces.append(piece)
        source.files.popleft().close()
        source.offset, source.rest = 0, b""
    return pieces


def _span(file: LogFile, since_ts: float | None, until_ts: float | None) -> tuple[int, int]:
    """Byte range of a file's whole lines in a span of time."""
    low = 0 if since_ts is None else offset_at(file, since_ts)
    high = _end_of_lines(file) if until_ts is None else min(offset_at(file, until_ts), _end_of_lines(file))
    return low, max(low, high)


def _starts_of_last(spans: Sequence[tuple[LogFile, int, int]], count: int, whole_instants: bool) -> list[int]:
    """Where in each file (oldest first) the last `count` lines of all begin."""
    starts: list[int] = []
    oldest: float | None = None
    missing = count
    for file, low, high in reversed(spans):
        start, lines = start_of_last_lines(file, low, high, missing)
        missing -= min(lines, missing)
        starts.append(start)
        if start < high:
            oldest = stamp_of(file.read(start, start + 48))
    starts.reverse()
    if not whole_instants or oldest is None:
        return starts
    return [max(low, min(start, offset_at(file, oldest))) for (file, low, _), start in zip(spans, starts, strict=True)]


def _end_of_lines(file: LogFile) -> int:
    """Where the last whole line ends; a line being written is left for later."""
    at = file.size
    while at > 0:
        start = max(0, at - 4096)
        newline = file.read(start, at).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        at = start
    return 0


def _newlines(file: LogFile, low: int, high: int) -> int:
    total = 0
    while low < high:
        block = file.read(low, min(high, low + 1024 * 1024))
        if not block:
            break
        total += block.count(b"\n")
        low += len(block)
    return total


def _split(data: bytes) -> list[bytes]:
    lines = data.split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    return lines


def _is_plain_name(replica: str) -> bool:
    """Whether a name stays inside the log directory (names come from a user or the wire)."""
    return bool(replica) and "/" not in replica and "\0" not in replica and replica not in {".", ".."}
