"""The last hour, one point a second: what every chart over time is drawn from.

Owns a ring of `SeriesPoint` without gaps and the function that builds a point from the meters. A second in which
the daemon did not run (it was suspended, or its loop blocked) gets a point of its own: counts and levels of the
point before, no TTFT, no rates, so that the time axis never lies. Never reads rows, never does I/O.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

import msgspec

from backend.contract.control import Quantiles, SeriesPoint

KEEP_S: Final = 3600


class Levels(msgspec.Struct, frozen=True, kw_only=True):
    """What is counted at an instant rather than over time."""

    queued: int = 0
    in_flight: int = 0
    ready: int = 0
    wanted: int = 0
    cpu_percent: float | None = None
    memory_percent: float | None = None


def build_point(
    second: int,
    *,
    ttft: Quantiles,
    requests: float,
    errors: float,
    tokens_per_s: float | None,
    levels: Levels,
) -> SeriesPoint:
    """The point of one second (`ts` is its start). A point's fields cannot be null: unknown rates count as 0."""
    return SeriesPoint(
        ts=float(second),
        ttft=ttft,
        queued=levels.queued,
        in_flight=levels.in_flight,
        requests_per_s=requests,
        tokens_per_s=tokens_per_s or 0.0,
        errors_per_s=errors,
        ready=levels.ready,
        wanted=levels.wanted,
        cpu_percent=levels.cpu_percent or 0.0,
        memory_percent=levels.memory_percent or 0.0,
    )


class Series:
    """A ring of one point per second, at most an hour of them."""

    def __init__(self, keep_s: int = KEEP_S) -> None:
        self._points: deque[SeriesPoint] = deque(maxlen=keep_s)

    @property
    def last_second(self) -> int | None:
        """The newest point's second."""
        return int(self._points[-1].ts) if self._points else None

    def push(self, point: SeriesPoint) -> None:
        """Add a point; `ts` counts by its whole second. Seconds that were skipped are filled, a second that is
        there already is replaced, and points of a future that a clock set back took away are dropped."""
        second = int(point.ts)
        while self._points and int(self._points[-1].ts) >= second:
            self._points.pop()
        if self._points:
            before = self._points[-1]
            keep_s = self._points.maxlen or 0
            for skipped in range(max(int(before.ts) + 1, second - keep_s), second):
                self._points.append(_stand_in(before, skipped))
        self._points.append(point)

    def points(self, seconds: int | None = None) -> Sequence[SeriesPoint]:
        """The newest `seconds` points (default: all), oldest first."""
        if seconds is None or seconds >= len(self._points):
            return tuple(self._points)
        return tuple(self._points)[len(self._points) - max(seconds, 0) :]


def _stand_in(before: SeriesPoint, second: int) -> SeriesPoint:
    return msgspec.structs.replace(
        before,
        ts=float(second),
        ttft=Quantiles(window_s=before.ttft.window_s),
        requests_per_s=0.0,
        tokens_per_s=0.0,
        errors_per_s=0.0,
    )
