"""TTFT of every replica over the last quarter of an hour, in compact arrays: what the heat map is drawn from.

One reading of the fleet every ten seconds; each is a quantile over the minute before it, so nothing is missed, and
where readings are missing the next one within that minute stands for them. Two bytes for a p95 and two for its count:
3.6 MB for 10,000 replicas. Never draws, never asks a source.
"""

from __future__ import annotations

import heapq
import math
from array import array
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from backend.contract.control import ReplicaView

READING_S: Final = 10
READINGS: Final = 90
MOST_REPLICAS: Final = 10_000
MOST_SHOWN: Final = 128
"""More rows than this are never asked for."""
COVERS: Final = 6
"""Readings for which one stands: its quantiles are those of the last minute."""
UNREAD: Final = -1
"""The count where there was no reading, or none of this replica."""
_SMALLEST_S: Final = 1e-4
_STEP: Final = 5e-4
"""A code more is a twentieth of a percent more; 0 is nothing."""


def encoded(seconds: float | None) -> int:
    """A latency in two bytes."""
    if seconds is None:
        return 0
    return min(65535, 1 + max(0, round(math.log(max(seconds, _SMALLEST_S) / _SMALLEST_S) / _STEP)))


def decoded(code: int) -> float | None:
    """Seconds, within a twentieth of a percent."""
    return None if code == 0 else _SMALLEST_S * math.exp((code - 1) * _STEP)


class _Reading(msgspec.Struct):
    """The fleet at one instant, by row."""

    index: int
    p95: array[int]
    count: array[int]
    worst: tuple[int, ...] = ()
    """The `MOST_SHOWN` slowest rows, the slowest first: who is worst over many readings is among them."""
    total: int = 0
    """Answers of the whole fleet."""


class Heat(msgspec.Struct, frozen=True):
    """One row of the map over a number of readings: codes (0 where nothing was answered) and counts (`UNREAD` where
    nobody looked)."""

    name: str
    codes: tuple[int, ...]
    counts: tuple[int, ...]

    def at(self, column: int) -> tuple[float | None, int]:
        """p95 in seconds and the number of answers behind it."""
        return decoded(self.codes[column]), self.counts[column]


class ReplicaTtft:
    """Readings of the last fifteen minutes. A replica that has been gone for as long gives its row back."""

    def __init__(self) -> None:
        self.left_out = 0
        """Replicas beyond what is kept."""
        self._readings: deque[_Reading] = deque(maxlen=READINGS)
        self._rows: dict[str, int] = {}
        self._names: list[str] = []
        """By row; empty where the row is free."""
        self._seen: list[int] = []
        self._free: list[int] = []

    @property
    def newest(self) -> int | None:
        """The newest reading's number: wall seconds divided by `READING_S`."""
        return self._readings[-1].index if self._readings else None

    @property
    def oldest(self) -> int | None:
        return self._readings[0].index if self._readings else None

    @property
    def readings(self) -> int:
        """How many are kept."""
        return len(self._readings)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def size_bytes(self) -> int:
        """What the arrays take."""
        return sum(2 * (len(one.p95) + len(one.count)) for one in self._readings)

    def take(self, ts: float, replicas: Iterable[ReplicaView]) -> bool:
        """A reading, where the last one is old enough."""
        index = math.floor(ts / READING_S)
        if self._readings and index <= self._readings[-1].index:
            return False
        self._let_go(index)
        self._readings.append(self._read(index, replicas))
        return True

    def add_past(self, ts: float, replicas: Iterable[ReplicaView]) -> bool:
        """A reading from before the others, as a record has it. False where there is one already."""
        index = math.floor(ts / READING_S)
        if any(one.index == index for one in self._readings):
            return False
        self._readings = deque(
            sorted([*self._readings, self._read(index, replicas)], key=lambda one: one.index), maxlen=READINGS
        )
        return True

    def is_covered(self, ts: float) -> bool:
        """Whether some reading says how an instant was."""
        index = math.floor(ts / READING_S)
        return any(index <= one.index < index + COVERS for one in self._readings)

    def _read(self, index: int, replicas: Iterable[ReplicaView]) -> _Reading:
        p95, count = (array("H", bytes(2 * len(self._seen))) for _ in range(2))
        self.left_out = 0
        for view in replicas:
            row = self._row(view.status.name, p95, count)
            if row is None:
                self.left_out += 1
                continue
            self._seen[row] = max(self._seen[row], index)
            if view.ttft.count:
                p95[row] = encoded(view.ttft.p95_s)
                count[row] = min(65535, view.ttft.count)
        worst = heapq.nlargest(MOST_SHOWN, range(len(p95)), key=p95.__getitem__)
        return _Reading(index, p95, count, tuple(worst), sum(count))

    def _covering(self, first: int, until: int) -> list[tuple[int, _Reading]]:
        """For each column the reading that says how it was: its own, else the next one within its minute."""
        own = {one.index: one for one in self._readings}
        found = (
            (index, next((own[at] for at in range(index, index + COVERS) if at in own), None))
            for index in range(
                max(first, self._readings[0].index - COVERS + 1), min(until, self._readings[-1].index + 1)
            )
        )
        return [(index, one) for index, one in found if one is not None]

    def rows(self, first: int, until: int, most: int) -> list[Heat]:
        """The worst replicas of the readings `first` to `until` (exclusive), the worst first; where there are more
        than `most`, the last row is the worst of all others in each reading, which no average would show."""
        read = self._covering(first, until) if self._readings else []
        if not read or not self._rows:
            return []
        most = min(most, MOST_SHOWN - 1)
        peaks = dict.fromkeys(self._rows.values(), 0) if len(self._rows) <= most else {}
        for _, one in read:
            for row in one.worst:
                peaks[row] = max(peaks.get(row, 0), one.p95[row])
        order = sorted((-peak, self._names[row], row) for row, peak in peaks.items() if self._names[row])
        shown = [row for _, _, row in (order if len(self._rows) <= most else order[: most - 1])]
        out = [self._heat(row, read, first, until) for row in shown]
        if len(self._rows) > len(shown):
            out.append(self._others(set(shown), read, first, until))
        return out

    def _heat(self, row: int, read: Sequence[tuple[int, _Reading]], first: int, until: int) -> Heat:
        codes, counts = [0] * (until - first), [UNREAD] * (until - first)
        for index, one in read:
            if row < len(one.p95):
                codes[index - first], counts[index - first] = one.p95[row], one.count[row]
        return Heat(self._names[row], tuple(codes), tuple(counts))

    def _others(self, shown: set[int], read: Sequence[tuple[int, _Reading]], first: int, until: int) -> Heat:
        codes, counts = [0] * (until - first), [UNREAD] * (until - first)
        for index, one in read:
            slowest = next((row for row in one.worst if row not in shown), None)
            codes[index - first] = 0 if slowest is None else one.p95[slowest]
            counts[index - first] = one.total - sum(one.count[row] for row in shown if row < len(one.count))
        return Heat(f"{len(self._rows) - len(shown)} others", tuple(codes), tuple(counts))

    def _row(self, name: str, p95: array[int], count: array[int]) -> int | None:
        row = self._rows.get(name)
        if row is not None:
            return row
        if self._free:
            row = self._free.pop()
        elif len(self._seen) < MOST_REPLICAS:
            row = len(self._seen)
            self._seen.append(0)
            self._names.append("")
            p95.append(0)
            count.append(0)
        else:
            return None
        self._rows[name], self._names[row] = row, name
        return row

    def _let_go(self, index: int) -> None:
        """Readings that are too old, and rows of replicas that no other has seen."""
        while self._readings and self._readings[0].index <= index - READINGS:
            self._readings.popleft()
        for name, row in list(self._rows.items()):
            if self._seen[row] <= index - READINGS:
                del self._rows[name]
                self._names[row] = ""
                self._free.append(row)
