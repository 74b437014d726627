"""The last hour, one point a second: what every chart over time is drawn from.

Owns a ring of `SeriesPoint` without gaps and the function that builds a point from the meters. A second in which
the daemon did not run (it was suspended, or its loop blocked) gets a point of its own: counts and levels of the
point before, no TTFT, no rates, so that the time axis never lies. Never reads rows, never does I/O.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from backend.contract.control import Quantiles, SeriesPoint
from backend.contract.rows import SampleRow

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


def samples_of(point: SeriesPoint, fleet: str) -> Iterator[SampleRow]:
    """A point as rows of the ledger, at its second; quantiles of an idle second are left out."""
    values: dict[str, float | None] = {
        "queue_depth": point.queued,
        "active_requests": point.in_flight,
        "replicas_ready": point.ready,
        "replicas_wanted": point.wanted,
        "requests_per_s": point.requests_per_s,
        "errors_per_s": point.errors_per_s,
        "tokens_out_per_s": point.tokens_per_s,
        "cpu_percent": point.cpu_percent,
        "memory_percent": point.memory_percent,
        "ttft_count": point.ttft.count,
        "ttft_p50_s": point.ttft.p50_s,
        "ttft_p95_s": point.ttft.p95_s,
        "ttft_p99_s": point.ttft.p99_s,
    }
    for metric, value in values.items():
        if value is not None:
            yield SampleRow(ts=point.ts, fleet=fleet, metric=metric, value=float(value))


def point_from_samples(second: int, values: Mapping[str, float]) -> SeriesPoint:
    """The point that `samples_of` wrote (metric -> value)."""
    return SeriesPoint(
        ts=float(second),
        ttft=Quantiles(
            count=int(values.get("ttft_count", 0)),
            p50_s=values.get("ttft_p50_s"),
            p95_s=values.get("ttft_p95_s"),
            p99_s=values.get("ttft_p99_s"),
        ),
        queued=int(values.get("queue_depth", 0)),
        in_flight=int(values.get("active_requests", 0)),
        requests_per_s=values.get("requests_per_s", 0.0),
        tokens_per_s=values.get("tokens_out_per_s", 0.0),
        errors_per_s=values.get("errors_per_s", 0.0),
        ready=int(values.get("replicas_ready", 0)),
        wanted=int(values.get("replicas_wanted", 0)),
        cpu_percent=values.get("cpu_percent", 0.0),
        memory_percent=values.get("memory_percent", 0.0),
    )


class Series:
    """A ring of one point per second, at most an hour of them."""

    def __init__(self, keep_s: int = KEEP_S) -> None:
        self._points: deque[SeriesPoint] = deque(maxlen=keep_s)

    @property
    def last_second(self) -> int | None:
        """The newest point's second."""
        return int(self._points[-1].ts) if self._points else None

    def newest_or_blank(self, now: float) -> SeriesPoint:
        """The newest point; before there is one, a point of nothing at `now`."""
        if self._points:
            return self._points[-1]
        return build_point(int(now), ttft=Quantiles(), requests=0.0, errors=0.0, tokens_per_s=None, levels=Levels())

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
