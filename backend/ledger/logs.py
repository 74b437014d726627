"""The logs table: windows, counts, searches and a live tail over the files that shims write.

Owns how lines of several replicas become rows in time order. Everything but `follow` reads files and blocks: call it
in a thread (`asyncio.to_thread`). Never writes, never keeps a line.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

from backend.contract.control import LogWindow
from backend.contract.errors import UsageError
from backend.contract.log_lines import Joiner, Piece, join_pieces, stamp_of, to_row
from backend.contract.rows import LogRow
from backend.ledger.log_files import (
    LogFile,
    end_of_lines,
    is_plain_name,
    offset_at,
    opened,
    replicas_in,
    split_lines,
    start_of_last_lines,
)
from backend.ledger.log_follow import ByteFollower


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
        return [replica for replica in replicas if is_plain_name(replica)]

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
                pieces = list(join_pieces(split_lines(taken)))
                if len(pieces) >= limit or left_out == 0:
                    return pieces, left_out
                wanted *= 4  # many parts make few messages

    def _matches(
        self, replica: str, wanted: re.Pattern[bytes], since_ts: float | None, until_ts: float | None
    ) -> Iterator[Piece]:
        with opened(self._logs_dir / replica) as files:
            for file in reversed(files):
                low, high = _span(file, since_ts, until_ts)
                pieces = [
                    piece for piece in join_pieces(split_lines(file.read(low, high))) if wanted.search(piece.message)
                ]
                yield from reversed(pieces)


class Follower:
    """Reads the lines that were added since the last look, as rows. See ByteFollower."""

    def __init__(
        self, logs_dir: Path, replicas: Sequence[str] | None, *, tail: int = 0, since_ts: float | None = None
    ) -> None:
        self._bytes = ByteFollower(logs_dir, replicas, tail=tail, since_ts=since_ts)
        self._joiners: dict[str, Joiner] = {}

    def poll(self) -> list[LogRow]:
        """New lines of all replicas, merged by time; none once closed."""
        found: list[tuple[str, Piece]] = []
        for piece in self._bytes.poll():
            joiner = self._joiners.setdefault(piece.replica, Joiner())
            found += [
                (piece.replica, whole) for line in split_lines(piece.data) if (whole := joiner.feed(line)) is not None
            ]
        found.sort(key=lambda entry: entry[1].ts)
        return [to_row(name, piece) for name, piece in found]

    def close(self) -> None:
        """Let the files go. Idempotent."""
        self._bytes.close()


def _span(file: LogFile, since_ts: float | None, until_ts: float | None) -> tuple[int, int]:
    """Byte range of a file's whole lines in a span of time."""
    low = 0 if since_ts is None else offset_at(file, since_ts)
    high = end_of_lines(file) if until_ts is None else min(offset_at(file, until_ts), end_of_lines(file))
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


def _newlines(file: LogFile, low: int, high: int) -> int:
    total = 0
    while low < high:
        block = file.read(low, min(high, low + 1024 * 1024))
        if not block:
            break
        total += block.count(b"\n")
        low += len(block)
    return total
