"""Reads a recording: any instant, a window of points, a span of snapshots; also while a daemon writes it.

Owns where a time is found. Never writes. Blocks: a daemon calls it in a thread. May be shared between threads.
"""

from __future__ import annotations

import contextlib
import os
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from backend.contract.control import SeriesPoint, Snapshot
from backend.contract.recording import RecordExtent
from backend.recording.limits import SEGMENT_S
from backend.recording.segment import Record, Unpacker, Unreadable, scan, unpack_point
from backend.recording.writer import list_segments

_KEPT_SCANS: Final = 128


class Part(msgspec.Struct, frozen=True):
    """Bytes of a file that hold records: a segment, or an entry of a shared file."""

    path: Path
    start: int = 0
    size: int | None = None
    """Null: to the end of the file, which may grow."""
    first_ts: float = float("-inf")
    last_ts: float = float("inf")
    """Nothing in it is earlier or later, as far as its name tells."""


class _Scan(msgspec.Struct, frozen=True):
    """What a part holds, as of a size."""

    size: int
    records: list[Record]
    times: list[float]


class Recording:
    """A directory of segments, or the given parts (oldest first). Raises OSError where files cannot be read."""

    def __init__(self, source: Path | Sequence[Part], *, origin: str = "daemon") -> None:
        self._source, self._origin = source, origin
        self._scans: dict[Part, _Scan] = {}
        self._one_at_a_time = threading.Lock()

    def extent(self) -> RecordExtent:
        """From the first record to the last, and how much they take."""
        first: float | None = None
        last: float | None = None
        size = 0
        parts = self._parts()
        for part in parts:
            size += self._size(part)
            if first is None:
                first = next(iter(self._scan(part).times), None)
        for part in reversed(parts):
            times = self._scan(part).times
            if times:
                last = times[-1]
                break
        return RecordExtent(first_ts=first, last_ts=last, size_bytes=size, origin=self._origin)

    def at(self, ts: float) -> Snapshot | None:
        """The newest snapshot recorded at or before `ts` that can be read; the oldest one where `ts` is before it.
        None where nothing is recorded."""
        for part in reversed(self._parts(float("-inf"), ts)):
            scan_ = self._scan(part)
            found = bisect_right(scan_.times, ts)
            while found > 0:
                key, snapshot = self._newest_of_group(part, scan_.records, found - 1)
                if snapshot is not None:
                    return snapshot
                found = key  # all of that group is unreadable: the one before it
        return next(self.snapshots(), None)

    def newest(self) -> Snapshot | None:
        """The last one that was recorded."""
        return self.at(float("inf"))

    def points(self, since_ts: float, until_ts: float) -> list[SeriesPoint]:
        """Those recorded in since_ts <= ts <= until_ts, oldest first."""
        found: list[SeriesPoint] = []
        for part in self._parts(since_ts, until_ts):
            scan_ = self._scan(part)
            low, high = _between(scan_.times, since_ts, until_ts)
            if low == high:
                continue
            with _Reading(part) as reading:
                for record in scan_.records[low:high]:
                    try:
                        found.append(unpack_point(reading.read(record.point_at, record.point_bytes)))
                    except Unreadable:
                        continue
        return found

    def snapshots(self, since_ts: float = 0.0, until_ts: float = float("inf")) -> Iterator[Snapshot]:
        """Those recorded in since_ts <= ts <= until_ts, oldest first; what cannot be read is left out."""
        for part in self._parts(since_ts, until_ts):
            scan_ = self._scan(part)
            low, high = _between(scan_.times, since_ts, until_ts)
            if low == high:
                continue
            with _Reading(part) as reading:
                unpacker = Unpacker()
                for at in range(_key_before(scan_.records, low), high):
                    snapshot = _unpacked(unpacker, reading, scan_.records[at])
                    if snapshot is not None and at >= low:
                        yield snapshot

    def count(self, since_ts: float = 0.0, until_ts: float = float("inf")) -> int:
        """Records in since_ts <= ts <= until_ts."""
        parts = self._parts(since_ts, until_ts)
        spans = (_between(self._scan(part).times, since_ts, until_ts) for part in parts)
        return sum(high - low for low, high in spans)

    def _newest_of_group(self, part: Part, records: list[Record], last: int) -> tuple[int, Snapshot | None]:
        """Where the group of a record begins, and its newest readable snapshot up to that record."""
        key, newest = _key_before(records, last), None
        with _Reading(part) as reading:
            unpacker = Unpacker()
            for record in records[key : last + 1]:
                newest = _unpacked(unpacker, reading, record) or newest
        return key, newest

    # -- files

    def _parts(self, since_ts: float = float("-inf"), until_ts: float = float("inf")) -> Sequence[Part]:
        """Those that may hold something of that time: a week's segments are not looked through for a minute."""
        if not isinstance(self._source, Path):
            return self._source
        files = list_segments(self._source)
        parts = (Part(file.path, first_ts=file.first_ts, last_ts=file.first_ts + SEGMENT_S + 1) for file in files)
        return [part for part in parts if part.first_ts <= until_ts and part.last_ts >= since_ts]

    def _size(self, part: Part) -> int:
        try:
            return part.path.stat().st_size if part.size is None else part.size
        except FileNotFoundError:
            return 0  # deleted by retention since it was listed

    def _scan(self, part: Part) -> _Scan:
        with self._one_at_a_time:
            return self._scanned(part)

    def _scanned(self, part: Part) -> _Scan:
        size = self._size(part)
        known = self._scans.get(part)
        if known is not None and known.size == size:
            return known
        records = known.records if known is not None and known.size < size else []
        last = records[-1] if records else None
        with _Reading(part) as reading:
            begin = last.end if last else 0
            records = [*records, *scan(reading.read(begin, size - begin), after=last)]
        found = _Scan(size, records, [record.ts for record in records])
        while len(self._scans) >= _KEPT_SCANS:
            self._scans.pop(next(iter(self._scans)), None)
        self._scans[part] = found
        return found


class _Reading:
    """A part, open. One that retention deleted since it was listed reads as empty."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._fd: int | None = None

    def __enter__(self) -> _Reading:
        with contextlib.suppress(FileNotFoundError):
            self._fd = os.open(self._part.path, os.O_RDONLY | os.O_CLOEXEC)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._fd is not None:
            os.close(self._fd)

    def read(self, at: int, size: int) -> bytes:
        return b"" if self._fd is None else os.pread(self._fd, size, self._part.start + at)


def _unpacked(unpacker: Unpacker, reading: _Reading, record: Record) -> Snapshot | None:
    try:
        return unpacker.unpack(reading.read(record.body_at, record.body_bytes), key=record.key)
    except Unreadable:
        return None


def _between(times: list[float], since_ts: float, until_ts: float) -> tuple[int, int]:
    low = bisect_left(times, since_ts)
    return low, max(low, bisect_right(times, until_ts))


def _key_before(records: list[Record], at: int) -> int:
    """The keyframe of a record's group (the scan begins every run of records with one)."""
    while not records[at].key:
        at -= 1
    return at
