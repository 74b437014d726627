"""Log lines held by the console: bytes in memory up to a bound, then in nameless files up to another, then let go.

Owns the streams, the counts that add up (`received == held + dropped`), and pages of the merged log. Safe to call from
several threads; each call is short. Never opens a connection, never draws.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from backend.contract.log_chunks import LogChunk
from console.state.log_block import LogBlock
from console.state.log_line import LogKey, LogLine, read_line
from console.state.log_query import EVERYTHING, LogQuery, Page, StreamInfo
from console.state.log_read import Merge
from console.state.log_spill import Spill
from console.state.log_stream import BLOCK_BYTES, LogStream

if TYPE_CHECKING:
    from console.state.log_search import LogSearch

MEMORY_BYTES: Final = 64 * 1024 * 1024
DISK_BYTES: Final = 1024 * 1024 * 1024
LOOK_BYTES: Final = 4 * 1024 * 1024
"""How much a page may read before it says `complete=False`: some 20 ms, more with slow patterns."""
_LEAST_BLOCK: Final = 8 * 1024
_COPIED: Final = 32 * 1024


class LogStore:
    """See the module. `spill_dir` None: nothing goes to disk, the oldest is let go when memory is full."""

    def __init__(
        self, spill_dir: Path | None, *, memory_bytes: int = MEMORY_BYTES, disk_bytes: int = DISK_BYTES
    ) -> None:
        self.received = 0
        self.dropped = 0
        self.spilled = 0
        """Lines that stand on disk now; they are held too."""
        self.lost = 0
        self.memory_bytes_used = 0
        self.spill_error = ""
        """Why lines are let go although disk is allowed; empty while it works."""
        self._memory_bytes = memory_bytes
        self._spill = Spill(spill_dir, disk_bytes) if spill_dir is not None and disk_bytes > 0 else None
        self._streams: dict[tuple[str, int], LogStream] = {}
        self._newest_life: dict[str, int] = {}
        self._next_stream = 0
        self._full: deque[LogBlock] = deque()
        self._on_disk: deque[LogBlock] = deque()
        self._by_number: dict[int, LogStream] = {}
        self._lock = threading.RLock()
        self._searches: list[LogSearch] = []

    @property
    def held(self) -> int:
        """Lines that can be read, from memory or disk."""
        return self.received - self.dropped

    # -- taking in -------------------------------------------------------------------------------------------

    def append(self, chunk: LogChunk) -> int:
        """Take stored lines of one life of a replica. Returns how many messages they completed."""
        with self._lock:
            stream = self._stream(chunk.replica, chunk.incarnation)
            stream.lost += chunk.lost
            self.lost += chunk.lost
            return self._took(stream.add(chunk.data, full_at=self._block_bytes))

    def _stream(self, replica: str, incarnation: int) -> LogStream:
        stream = self._streams.get((replica, incarnation))
        if stream is None:
            before = self._streams.get((replica, self._newest_life.get(replica, incarnation)))
            if before is not None and incarnation > before.incarnation:
                self._took(before.finish(full_at=self._block_bytes))
            stream = LogStream(self._next_stream, replica, incarnation)
            self._next_stream += 1
            self._streams[replica, incarnation] = self._by_number[stream.number] = stream
            self._newest_life[replica] = max(incarnation, self._newest_life.get(replica, incarnation))
        return stream

    @property
    def _block_bytes(self) -> int:
        """Small where many streams share little memory, so that unfinished blocks do not fill it."""
        return min(BLOCK_BYTES, max(_LEAST_BLOCK, self._memory_bytes // (2 * max(1, len(self._streams)))))

    def _took(self, what: tuple[int, int, LogBlock | None]) -> int:
        lines, size, full = what
        self.received += lines
        self.memory_bytes_used += size
        if full is not None:
            self._full.append(full)
        while self.memory_bytes_used > self._memory_bytes:
            self._make_room()
        return lines

    def _make_room(self) -> None:
        """Move the oldest full block to disk, or let it go. With none full, the largest unfinished one."""
        if not self._full:
            rest = [
                stream.blocks[-1] for stream in self._streams.values() if stream.blocks and not stream.blocks[-1].full
            ]
            largest = max(rest, key=lambda block: block.size)
            largest.full = True
            self._full.append(largest)
        block = self._full.popleft()
        assert block.data is not None
        self.memory_bytes_used -= block.size
        if self._spill is None or not self._to_disk(self._spill, block):
            self._let_go(block)
            return
        while self._spill.over_limit() and len(self._spill.files) > 1:
            self._let_go_of_oldest_file(self._spill)

    def _to_disk(self, spill: Spill, block: LogBlock) -> bool:
        assert block.data is not None
        try:
            block.file, block.at = spill.write(block.data)
        except OSError as error:
            self.spill_error = error.strerror or str(error)
            # What went to disk of this stream is older than this block: it may not stay when this one goes.
            self._drop_disk_blocks_of(block.stream)
            return False
        self.spill_error = ""
        block.data = None
        self._on_disk.append(block)
        self._by_number[block.stream].spilled += block.lines
        self.spilled += block.lines
        return True

    def _let_go_of_oldest_file(self, spill: Spill) -> None:
        file = spill.let_go()
        while self._on_disk and self._on_disk[0].file is file:
            self._let_go(self._on_disk.popleft())

    def _drop_disk_blocks_of(self, number: int) -> None:
        gone = [block for block in self._on_disk if block.stream == number]
        if gone:
            self._on_disk = deque(block for block in self._on_disk if block.stream != number)
            for block in gone:
                self._let_go(block)

    def _let_go(self, block: LogBlock) -> None:
        stream = self._by_number[block.stream]
        assert stream.blocks[0] is block
        stream.blocks.popleft()
        stream.dropped += block.lines
        self.dropped += block.lines
        if block.file is not None:
            stream.spilled -= block.lines
            self.spilled -= block.lines

    # -- what is held ----------------------------------------------------------------------------------------

    def streams(self) -> list[StreamInfo]:
        """Every life that is known, in order of number."""
        with self._lock:
            return [
                StreamInfo(
                    number=stream.number,
                    replica=stream.replica,
                    incarnation=stream.incarnation,
                    lines=stream.held,
                    first_ts=stream.first_ts,
                    last_ts=stream.last_ts,
                    lost=stream.lost,
                    dropped=stream.dropped,
                )
                for stream in self._by_number.values()
            ]

    def count_hint(self, query: LogQuery = EVERYTHING) -> int:
        """Lines held of the query's replicas and lives, its other wishes left aside."""
        with self._lock:
            return sum(stream.held for stream in self._chosen(query))

    def _chosen(self, query: LogQuery) -> list[LogStream]:
        streams: Iterable[LogStream] = self._by_number.values()
        if query.replicas is not None:
            streams = [stream for stream in streams if stream.replica in query.replicas]
        if query.incarnation == "all":
            return list(streams)
        lives: dict[str, list[LogStream]] = {}
        for stream in streams:
            lives.setdefault(stream.replica, []).append(stream)
        chosen: list[LogStream] = []
        for of_replica in lives.values():
            of_replica.sort(key=lambda stream: stream.incarnation, reverse=True)
            if query.incarnation == "current":
                chosen.append(of_replica[0])
            else:
                chosen += [stream for stream in of_replica[1:] if stream.received][:1]
        return chosen

    # -- reading ---------------------------------------------------------------------------------------------

    def before(
        self, key: LogKey | None, limit: int, query: LogQuery = EVERYTHING, *, budget_bytes: int = LOOK_BYTES
    ) -> Page:
        """The newest `limit` wanted lines before a key (None: of all). Raises UsageError for a bad pattern."""
        wanted = query.line_filter()
        if query.until_ts is not None and (key is None or key[0] >= query.until_ts):
            key = (query.until_ts, -1, -1)
        with self._lock:
            merge = Merge(self._chosen(query), key, wanted, back=True)
            lines, complete = self._take(merge, limit, budget_bytes, least=query.since_ts)
            lines.reverse()
            next_key = merge.key
            next_ts = merge.next_ts()
            if query.since_ts is not None and next_ts is not None and next_ts < query.since_ts:
                next_key = None
            return Page(lines, next_key, merge.scanned_lines, complete)

    def after(
        self, key: LogKey | None, limit: int, query: LogQuery = EVERYTHING, *, budget_bytes: int = LOOK_BYTES
    ) -> Page:
        """The oldest `limit` wanted lines after a key (None: of all). Raises UsageError for a bad pattern.

        A line that comes later with an older instant than what was seen is not found by going on from there."""
        wanted = query.line_filter()
        if query.since_ts is not None and (key is None or key[0] < query.since_ts):
            key = (query.since_ts, -1, -1)
        with self._lock:
            chosen = self._chosen(query)
            merge = Merge(chosen, key, wanted, back=False)
            lines, complete = self._take(merge, limit, budget_bytes, most=query.until_ts)
            ends = [
                (stream.blocks[-1].last_ts, stream.number, stream.blocks[-1].end_number - 1)
                for stream in chosen
                if stream.blocks
            ]
            next_key = merge.key
            if next_key is None:
                next_key = max([*ends, *([key] if key is not None else [])], default=None)
            return Page(lines, next_key, merge.scanned_lines, complete)

    def at(self, ts: float, query: LogQuery = EVERYTHING) -> LogKey | None:
        """The first wanted line at or after an instant, else the last one before it. None where there is none (or
        none within the budget of a look)."""
        page = self.after((ts, -1, -1), 1, query)
        if not page.lines:
            page = self.before((ts, -1, -1), 1, query)
        return page.lines[-1].key if page.lines else None

    def _take(
        self, merge: Merge, limit: int, budget_bytes: int, *, least: float | None = None, most: float | None = None
    ) -> tuple[list[LogLine], bool]:
        lines: list[LogLine] = []
        while len(lines) < limit:
            ts = merge.next_ts()
            if ts is None or (least is not None and ts < least) or (most is not None and ts >= most):
                return lines, True
            if merge.reads_next and merge.scanned_bytes and merge.scanned_bytes >= budget_bytes:
                return lines, False
            found = merge.step()
            if found is not None:
                key, line = found
                stream = self._by_number[key[1]]
                lines.append(read_line(line, key, stream.replica, stream.incarnation))
        return lines, True

    # -- searching and letting go ----------------------------------------------------------------------------

    def search(self, pattern: str, query: LogQuery = EVERYTHING) -> LogSearch:
        """Look for a pattern in all held lines that the query wants, newest first, in a process of its own.

        Raises UsageError for a bad pattern."""
        from console.state.log_search import LogSearch

        query.line_filter(must=pattern)
        with self._lock:
            chosen = self._chosen(query)
            for stream in chosen:
                # What is full need not be copied now, while the screen waits. Small ones are: many searches would
                # leave many of them.
                block = stream.blocks[-1] if stream.blocks else None
                if block is not None and not block.full and block.size >= _COPIED:
                    block.full = True
                    self._full.append(block)
            search = LogSearch(pattern, query, chosen)
            self._searches = [other for other in self._searches if not other.done]
            self._searches.append(search)
        return search

    def clear(self, replicas: Iterable[str] | None = None) -> None:
        """Forget all about these replicas (None: all), their counts too."""
        with self._lock:
            gone = [stream for stream in self._streams.values() if replicas is None or stream.replica in set(replicas)]
            numbers = {stream.number for stream in gone}
            for stream in gone:
                self.received -= stream.received
                self.dropped -= stream.dropped
                self.spilled -= stream.spilled
                self.lost -= stream.lost
                self.memory_bytes_used -= sum(block.size for block in stream.blocks if block.data is not None)
                del self._streams[stream.replica, stream.incarnation], self._by_number[stream.number]
                self._newest_life.pop(stream.replica, None)
            self._full = deque(block for block in self._full if block.stream not in numbers)
            self._on_disk = deque(block for block in self._on_disk if block.stream not in numbers)
            if self._spill is not None:
                used = {id(block.file) for block in self._on_disk}
                for file in [file for file in self._spill.files if id(file) not in used]:
                    self._spill.let_go_of(file)

    def close(self) -> None:
        """End searches and give the disk back. Idempotent."""
        for search in self._searches:
            search.cancel()
        self.clear()
        if self._spill is not None:
            self._spill.close()
