"""Every quantile and histogram computation of Trinity, once: pure functions and two small accumulators.

Owns the definitions. A quantile of values is **nearest rank**: the smallest value such that at least `q` of all
values are less than or equal to it (no interpolation, so it is always a value that was really measured).
A quantile of histogram buckets is linearly interpolated inside its bucket, from merged buckets; quantiles are
never averaged. Does no I/O and knows no clock: instants are passed in.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final

from backend.contract.control import Quantiles

TTFT_BUCKETS_S: Final[tuple[float, ...]] = (
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.0, 2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
"""Upper bounds for time to first token, seconds; the overflow bucket is implied."""


def _check_q(q: float) -> None:
    if not 0.0 <= q <= 1.0:
        raise ValueError(f"a quantile lies in 0..1, not {q}")


def nearest_rank(ordered: Sequence[float], q: float) -> float | None:
    """The `q` quantile (0..1) of values already sorted ascending; None when there are none."""
    _check_q(q)
    count = len(ordered)
    if count == 0:
        return None
    # Rounding first: 0.95 * 20 is 19.000000000000004 or 18.99…, and the rank must be 19 either way.
    rank = math.ceil(round(q * count, 9))
    return ordered[min(max(rank, 1), count) - 1]


def quantile(values: Iterable[float], q: float) -> float | None:
    """The nearest-rank `q` quantile of values in any order; None when there are none."""
    return nearest_rank(sorted(values), q)


def summarize(values: Iterable[float], *, window_s: float = 60.0) -> Quantiles:
    """Count, p50, p95 and p99 (seconds) of values in any order."""
    return _of_sorted(sorted(values), window_s)


def _of_sorted(ordered: Sequence[float], window_s: float) -> Quantiles:
    return Quantiles(
        count=len(ordered),
        p50_s=nearest_rank(ordered, 0.5),
        p95_s=nearest_rank(ordered, 0.95),
        p99_s=nearest_rank(ordered, 0.99),
        window_s=window_s,
    )


class RollingWindow:
    """Exact quantiles over the last `window_s` seconds of timestamped values.

    A value counts while `now - window_s < ts <= now`, so one that carries a later instant than `now` waits.
    Values may arrive out of order. `add` is a binary insertion; expiry costs one deletion per expired value.
    """

    __slots__ = ("_entries", "_ordered", "window_s")

    def __init__(self, window_s: float = 60.0) -> None:
        if not window_s > 0:
            raise ValueError(f"a window is longer than 0 s, not {window_s}")
        self.window_s = window_s
        self._entries: list[tuple[float, float]] = []  # (ts, value), by ts
        self._ordered: list[float] = []  # the same values, by value

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, ts: float, value: float) -> None:
        """Take one value measured at `ts`. Raises ValueError for NaN or an infinity."""
        if not (math.isfinite(ts) and math.isfinite(value)):
            raise ValueError(f"cannot take {value} at {ts}: not a finite number")
        entry = (ts, value)
        if self._entries and entry < self._entries[-1]:
            insort(self._entries, entry)
        else:
            self._entries.append(entry)
        insort(self._ordered, value)

    def expire(self, now: float) -> None:
        """Forget what is older than the window at `now`."""
        gone = bisect_right(self._entries, (now - self.window_s, math.inf))
        if gone == 0:
            return
        if gone * 4 > len(self._entries):
            del self._entries[:gone]
            self._ordered = sorted(value for _, value in self._entries)
            return
        for _, value in self._entries[:gone]:
            del self._ordered[bisect_left(self._ordered, value)]
        del self._entries[:gone]

    def _current(self, now: float) -> Sequence[float]:
        self.expire(now)
        if self._entries and self._entries[-1][0] > now:
            known = bisect_right(self._entries, (now, math.inf))
            return sorted(value for _, value in self._entries[:known])
        return self._ordered

    def quantiles(self, now: float) -> Quantiles:
        """Count, p50, p95 and p99 of the values of the window that ends at `now`."""
        return _of_sorted(self._current(now), self.window_s)

    def quantile(self, now: float, q: float) -> float | None:
        """One nearest-rank quantile of the window that ends at `now`; None when it is empty."""
        return nearest_rank(self._current(now), q)

    def per_second(self, now: float) -> float:
        """Values per second over the window that ends at `now`."""
        return len(self._current(now)) / self.window_s


class Histogram:
    """A fixed-bucket histogram: one per exported Prometheus histogram family and label set.

    `bounds` are finite, strictly rising upper bounds (a value equal to one belongs to it, as in Prometheus);
    the overflow bucket is implied. `counts` has one entry per bound and one for the overflow, not cumulative.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float] = TTFT_BUCKETS_S) -> None:
        if not bounds or any(not math.isfinite(bound) for bound in bounds):
            raise ValueError("a histogram needs at least one finite bound and no infinite ones")
        if any(low >= high for low, high in pairwise(bounds)):
            raise ValueError("bounds must rise strictly")
        self.bounds = tuple(float(bound) for bound in bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    @property
    def count(self) -> int:
        """How many values were observed."""
        return sum(self.counts)

    def observe(self, value: float) -> None:
        """Count one value. Raises ValueError for NaN or an infinity."""
        if not math.isfinite(value):
            raise ValueError(f"cannot count {value}: not a finite number")
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> dict[float, int]:
        """Upper bound -> how many values are at most that; the last key is infinity."""
        merged: dict[float, int] = {}
        running = 0
        for bound, count in zip((*self.bounds, math.inf), self.counts, strict=True):
            running += count
            merged[bound] = running
        return merged

    def quantile(self, q: float) -> float | None:
        """Interpolated from the buckets; None when empty."""
        return histogram_quantile(self.cumulative(), q)


def merge_buckets(histograms: Iterable[Mapping[float, float]]) -> dict[float, float]:
    """Add cumulative bucket counts (upper bound -> count) of several sources.

    Where bounds differ only those all sources share are kept: there the merged counts are exact. Every source
    must have the overflow bucket (infinity), which holds its total; raises ValueError otherwise.
    """
    sources = list(histograms)
    if not sources:
        return {}
    if any(math.inf not in source for source in sources):
        raise ValueError("a histogram without its +Inf bucket has no known total")
    shared = set(sources[0]).intersection(*sources[1:])
    return {bound: sum(source[bound] for source in sources) for bound in sorted(shared)}


def bucket_increase(earlier: Mapping[float, float], later: Mapping[float, float]) -> dict[float, float]:
    """Cumulative counts that were added between two scrapes of one source.

    A counter that fell means the source restarted: then everything in `later` is new.
    """
    if any(later.get(bound, 0.0) < count for bound, count in earlier.items()):
        return dict(sorted(later.items()))
    return {bound: count - earlier.get(bound, 0.0) for bound, count in sorted(later.items())}


def histogram_quantile(buckets: Mapping[float, float], q: float) -> float | None:
    """The `q` quantile from cumulative bucket counts (upper bound -> count, infinity included), as Prometheus does.

    Linear inside the bucket; the lowest bucket starts at 0 if its bound is positive; a quantile that falls into
    the overflow bucket is the highest finite bound. None when there are no values or no finite bound.
    """
    _check_q(q)
    bounds = sorted(buckets)
    if len(bounds) < 2 or bounds[-1] != math.inf:
        return None
    # Scrapes of a live engine are not atomic: force the counts to rise.
    counts: list[float] = []
    for bound in bounds:
        counts.append(max(buckets[bound], counts[-1] if counts else 0.0))
    if counts[-1] <= 0:
        return None
    rank = round(q * counts[-1], 9)
    at = bisect_left(counts, rank)
    if at >= len(bounds) - 1:
        return bounds[-2]
    if at == 0 and bounds[0] <= 0:
        return bounds[0]
    low, below = (bounds[at - 1], counts[at - 1]) if at else (0.0, 0.0)
    inside = counts[at] - below
    if inside <= 0:
        return bounds[at]
    return min(bounds[at], low + (bounds[at] - low) * ((rank - below) / inside))
