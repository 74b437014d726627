"""Reading streams merged by time, backwards and forwards, a window of bytes at a time. Owns cursors; keeps no line.

Each stream has a cursor with the key of what it would give next, or a bound of it while that window is unread; the heap
gives the greatest (backwards) or least (forwards). So only windows that are needed are read, and few lines are parsed.
Imported by the search process too, which must begin fast: little of the standard library, nothing else.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final, Protocol

from console.state.log_block import LogBlock
from console.state.log_head import HEAD, LogKey, message_of, stamp_of_ts, stamp_ts
from console.state.log_pattern import LineFilter

FIRST_WINDOW: Final = 8 * 1024
LAST_WINDOW: Final = 256 * 1024

Found = tuple[LogKey, bytes]
"""A wanted line: its key and its held bytes."""


class Stream(Protocol):
    """Blocks of one life, oldest first."""

    @property
    def number(self) -> int: ...

    @property
    def blocks(self) -> Sequence[LogBlock]: ...


class Cursor:
    """One stream's place: everything before `offset` of block `index` (line `number`) is on the older side."""

    def __init__(self, stream: Stream, blocks: list[LogBlock], index: int, offset: int, number: int) -> None:
        self.stream, self.blocks = stream, blocks
        self.index, self.offset, self.number = index, offset, number
        self.window = FIRST_WINDOW
        self._read_bytes = 0
        self.bound_ts: float | None = None
        self.waiting: list[tuple[int, bytes]] = []
        """Wanted lines of the windows read, the next one last."""

    def _grow(self, size: int) -> None:
        """Half of what was read already: few windows for a long way, little in vain for a short one."""
        self._read_bytes += size
        self.window = min(LAST_WINDOW, max(FIRST_WINDOW, self._read_bytes // 2))

    def back_bound(self) -> LogKey | None:
        """A key not less than that of the next line backwards; None at the beginning."""
        while self.offset == 0:
            if self.index == 0:
                return None
            self.index -= 1
            self.offset = self.blocks[self.index].size
        last = self.blocks[self.index].last_ts
        return (last if self.bound_ts is None else min(last, self.bound_ts), self.stream.number, self.number - 1)

    def read_back(self, wanted: LineFilter) -> tuple[int, int]:
        """Read the window before; the wanted lines wait. Returns the lines and bytes read."""
        block, end = self.blocks[self.index], self.offset
        start = max(0, end - self.window)
        text = block.read(start, end)
        cut = 0 if start == 0 else text.find(b"\n") + 1
        while start and not 0 < cut < len(text):
            start = max(0, start - 4 * (end - start))
            text = block.read(start, end)
            cut = 0 if start == 0 else text.find(b"\n") + 1
        lines = text.split(b"\n") if cut == 0 else text[cut:].split(b"\n")
        lines.pop()
        self.offset, self.number = start + cut, self.number - len(lines)
        self.bound_ts = stamp_ts(lines[0])
        self.waiting = [(self.number + index, lines[index]) for index in _kept(lines, block, wanted)]
        self._grow(len(text))
        return len(lines), len(text)

    def on_bound(self) -> LogKey | None:
        """A key not greater than that of the next line forwards; None at the end."""
        while self.offset >= self.blocks[self.index].size:
            if self.index + 1 >= len(self.blocks):
                return None
            self.index, self.offset = self.index + 1, 0
        first = self.blocks[self.index].first_ts
        return (first if self.bound_ts is None else max(first, self.bound_ts), self.stream.number, self.number)

    def read_on(self, wanted: LineFilter) -> tuple[int, int]:
        """Read the window after; the wanted lines wait. Returns the lines and bytes read."""
        block, start = self.blocks[self.index], self.offset
        end = min(block.size, start + self.window)
        text = block.read(start, end)
        cut = text.rfind(b"\n") + 1
        while cut == 0:
            end = min(block.size, end + 4 * (end - start))
            text = block.read(start, end)
            cut = text.rfind(b"\n") + 1
        lines = text[:cut].split(b"\n")
        lines.pop()
        first, self.number = self.number, self.number + len(lines)
        self.offset = start + cut
        self.bound_ts = stamp_ts(lines[-1])
        self.waiting = [(first + index, lines[index]) for index in reversed(_kept(lines, block, wanted))]
        self._grow(len(text))
        return len(lines), len(text)


def _kept(lines: list[bytes], block: LogBlock, wanted: LineFilter) -> Sequence[int]:
    if wanted.keeps_all:
        return range(len(lines))
    if block.odd:
        return wanted.kept([message_of(line) for line in lines])
    return wanted.kept([line[HEAD:] for line in lines])


class Merge:
    """Wanted lines in the merged order, from a key on. `scanned_lines` and `scanned_bytes` say what it took."""

    def __init__(self, streams: Sequence[Stream], key: LogKey | None, wanted: LineFilter, *, back: bool) -> None:
        self.scanned_lines = self.scanned_bytes = 0
        self._wanted, self._back, self._sign = wanted, back, -1 if back else 1
        self._heap: list[tuple[float, int, int, Cursor]] = []
        for stream in streams:
            if stream.blocks:
                self._push(_cursor_at(stream, key, back=back))
        self._heap.sort(key=lambda entry: entry[:3])

    @property
    def key(self) -> LogKey | None:
        """All that is left lies behind this key: before it backwards, after it forwards. None at the end."""
        if not self._heap:
            return None
        ts, stream, number, _ = self._heap[0]
        sign = self._sign
        return (sign * ts, sign * stream, sign * number - sign)

    def next_ts(self) -> float | None:
        """A bound of the next line's instant."""
        return self._sign * self._heap[0][0] if self._heap else None

    @property
    def reads_next(self) -> bool:
        """Whether the next step reads a window."""
        return bool(self._heap) and not self._heap[0][3].waiting

    def step(self) -> Found | None:
        """The next line, or None after a window was read (or at the end: then `key` is None)."""
        if not self._heap:
            return None
        ts, stream, _, cursor = self._heap[0]
        if cursor.waiting:
            at, line = cursor.waiting.pop()
            self._replace(cursor)
            sign = self._sign
            return (sign * ts, sign * stream, at), line
        lines, size = cursor.read_back(self._wanted) if self._back else cursor.read_on(self._wanted)
        self.scanned_lines += lines
        self.scanned_bytes += size
        self._replace(cursor)
        return None

    def _entry(self, cursor: Cursor) -> tuple[float, int, int, Cursor] | None:
        sign = self._sign
        if cursor.waiting:
            number, line = cursor.waiting[-1]
            return sign * stamp_ts(line), sign * cursor.stream.number, sign * number, cursor
        bound = cursor.back_bound() if self._back else cursor.on_bound()
        return None if bound is None else (sign * bound[0], sign * bound[1], sign * bound[2], cursor)

    def _push(self, cursor: Cursor) -> None:
        entry = self._entry(cursor)
        if entry is not None:
            self._heap.append(entry)

    def _replace(self, cursor: Cursor) -> None:
        entry = self._entry(cursor)
        if entry is None:
            heapq.heappop(self._heap)
        else:
            heapq.heapreplace(self._heap, entry)


def _cursor_at(stream: Stream, key: LogKey | None, *, back: bool) -> Cursor:
    """Stands between the lines before a key and the others; the key's own line counts as the next one either way."""
    blocks = list(stream.blocks)
    if key is None:
        if back:
            return Cursor(stream, blocks, len(blocks) - 1, blocks[-1].size, blocks[-1].end_number)
        return Cursor(stream, blocks, 0, 0, blocks[0].first_number)
    ts, of_stream, number = key
    if of_stream == stream.number:
        return _at_number(stream, blocks, number if back else number + 1, back=back)
    stamp = stamp_of_ts(ts)
    # Lines of the key's own instant come before it if their stream does.
    inclusive = stream.number < of_stream
    index = (bisect_right if inclusive else bisect_left)(blocks, stamp, key=_last_stamp)
    if index == len(blocks):
        return Cursor(stream, blocks, index - 1, blocks[-1].size, blocks[-1].end_number)
    text = blocks[index].read(0, blocks[index].size)
    offset = _offset_of(text, stamp, inclusive=inclusive)
    cursor = Cursor(stream, blocks, index, offset, blocks[index].first_number + text.count(b"\n", 0, offset))
    return _bounded(cursor, text, back=back)


def _bounded(cursor: Cursor, text: bytes, *, back: bool) -> Cursor:
    """With the exact instant of its next line: so a look that ends early goes on before where it began."""
    if 0 < cursor.offset < len(text):
        start = text.rfind(b"\n", 0, cursor.offset - 1) + 1 if back else cursor.offset
        cursor.bound_ts = stamp_ts(text[start : start + HEAD])
    return cursor


def _last_stamp(block: LogBlock) -> bytes:
    return block.last_stamp


def _at_number(stream: Stream, blocks: list[LogBlock], number: int, *, back: bool) -> Cursor:
    number = max(number, blocks[0].first_number)
    index = bisect_right(blocks, number, key=lambda block: block.end_number)
    if index == len(blocks):
        return Cursor(stream, blocks, index - 1, blocks[-1].size, blocks[-1].end_number)
    block = blocks[index]
    text = block.read(0, block.size)
    low, high, missing = 0, block.size, number - block.first_number
    while missing and high - low > 4096:
        middle = (low + high) // 2
        newlines = text.count(b"\n", low, middle)
        if newlines >= missing:
            high = middle
        else:
            low, missing = middle, missing - newlines
    for _ in range(missing):
        low = text.find(b"\n", low) + 1
    return _bounded(Cursor(stream, blocks, index, low, number), text, back=back)


def _offset_of(text: bytes, stamp: bytes, *, inclusive: bool) -> int:
    """Where the first line begins whose stamp is not less than (`inclusive`: greater than) a stamp."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high) // 2
        start = text.rfind(b"\n", low, middle) + 1 or low
        own = text[start : start + len(stamp)]
        if own < stamp or (inclusive and own == stamp):
            low = text.find(b"\n", middle) + 1
        else:
            high = start
    return low
