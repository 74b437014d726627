"""A run's requests in half-second buckets, for the report's charts. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import msgspec

from backend.drills.records import DrillRow, FaultStamps, RunRecord
from backend.quantiles import nearest_rank

WIDTH_S: Final = 0.5
STEADY_S: Final = 2.0
STEADY_FACTOR: Final = 2.0


class Point(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Requests intended within one bucket; `at_s` is its start, in seconds since the run's start."""

    at_s: float
    answered: int = 0
    unanswered: int = 0
    """Failed, shed and wrong."""
    latency_p50_s: float | None = None
    latency_p95_s: float | None = None
    ttft_p50_s: float | None = None
    ttft_p95_s: float | None = None


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """One load over the run. Buckets without a request are left out."""

    load: str
    width_s: float = WIDTH_S
    points: tuple[Point, ...] = ()
    unanswered_at_s: tuple[float, ...] = ()
    """When each request that got no good answer was intended."""


def series_of(load: str, rows: Sequence[DrillRow], zero_s: float) -> Series:
    """The series of one load's rows."""
    buckets: dict[int, list[DrillRow]] = {}
    for row in rows:
        buckets.setdefault(math.floor((row.intended_s - zero_s) / WIDTH_S), []).append(row)
    return Series(
        load=load,
        points=tuple(_point(at * WIDTH_S, inside) for at, inside in sorted(buckets.items())),
        unanswered_at_s=tuple(sorted(row.intended_s - zero_s for row in rows if not row.answered)),
    )


def _point(at_s: float, rows: Sequence[DrillRow]) -> Point:
    good = [row for row in rows if row.answered]
    latencies = sorted(row.latency_s for row in good)
    ttfts = sorted(row.ttft_s for row in good if row.ttft_s is not None)
    return Point(
        at_s=at_s,
        answered=len(good),
        unanswered=len(rows) - len(good),
        latency_p50_s=nearest_rank(latencies, 0.5),
        latency_p95_s=nearest_rank(latencies, 0.95),
        ttft_p50_s=nearest_rank(ttfts, 0.5),
        ttft_p95_s=nearest_rank(ttfts, 0.95),
    )


def steady_from(fault: FaultStamps, record: RunRecord, rows: Sequence[DrillRow]) -> float | None:
    """t_steady: the first instant from Ready on after which, for 2 s, every request was answered and the p95 of each
    load was at most twice the gate's. Null without a gate, or where that never came."""
    gate = next((span for span in record.phases if span.gate and span.end_s is not None), None)
    if gate is None or gate.end_s is None or fault.t_ready is None or not rows:
        return None
    limits: dict[str, float] = {}
    for load in {row.load for row in rows}:
        calm = sorted(
            r.latency_s for r in rows if r.load == load and r.answered and gate.start_s <= r.intended_s < gate.end_s
        )
        limits[load] = STEADY_FACTOR * (nearest_rank(calm, 0.95) or math.inf)
    later = sorted((row for row in rows if row.intended_s >= fault.t_ready), key=lambda row: row.intended_s)
    start, last = fault.t_ready, later[-1].intended_s if later else 0.0
    while start + STEADY_S <= last:
        window = [row for row in later if start <= row.intended_s < start + STEADY_S]
        if window and _calm(window, limits):
            return start
        start += WIDTH_S
    return None


def _calm(rows: Sequence[DrillRow], limits: dict[str, float]) -> bool:
    if not all(row.answered for row in rows):
        return False
    for load, limit in limits.items():
        p95 = nearest_rank(sorted(row.latency_s for row in rows if row.load == load), 0.95)
        if p95 is not None and p95 > limit:
            return False
    return True
