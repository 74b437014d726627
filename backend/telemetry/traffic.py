"""Requests as rolling numbers: TTFT quantiles, rates, errors and retries per fleet, workload and replica.

Owns the aggregation of the edge's request rows and nothing else; the rows stay the truth. Never reads a file and
never asks a quantile of anything but exact rows.

Which instant counts: a row is written at the **end** of its request while its `ts` is the start, so every window
here (rates, and the 60 s of TTFT) goes by the end, `ts + total_s` (where the end was never seen: the first byte,
else the start). So a long stream's TTFT enters the window when it ends. Rates count closed seconds (see
rates.py); a row learnt of more than `STALE_S` after its end (the daemon was away) counts in the totals only.

TTFT: rows with `stream`, a `ttft_s` and a status of 2xx. An error is a row with outcome `failed`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeGuard

import msgspec

from backend.contract.clock import Clock
from backend.contract.control import Quantiles
from backend.contract.ledger import RowSource
from backend.contract.rows import RequestRow, Row
from backend.contract.words import RequestOutcome, Vantage
from backend.quantiles import TTFT_BUCKETS_S, Histogram, RollingWindow
from backend.telemetry.rates import SecondCounts, closed_second, second_of

TTFT_WINDOW_S: Final = 60.0
RATE_WINDOW_S: Final = 10
RETRY_WINDOW_S: Final = 30
STALE_S: Final = 60.0
"""Rows that come later than this after their end are history: totals only."""
_EXPIRE_EVERY: Final = 16
"""Rows between two clean-ups of the windows."""


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Counts since the state directory began (or since the daemon started, where nothing was restored)."""

    requests: int = 0
    errors: int = 0
    """Outcome `failed`."""
    shed: int = 0
    """Refused because the fleet was full (429)."""
    retries: int = 0
    """Extra attempts the edge made."""

    def plus(self, other: Totals) -> Totals:
        """Both together."""
        return Totals(
            requests=self.requests + other.requests,
            errors=self.errors + other.errors,
            shed=self.shed + other.shed,
            retries=self.retries + other.retries,
        )


def counted(row: RequestRow) -> Totals:
    """What one row adds to the totals."""
    return Totals(
        requests=1,
        errors=int(row.outcome is RequestOutcome.FAILED),
        shed=int(row.outcome is RequestOutcome.SHED),
        retries=row.retries,
    )


class TrafficView(msgspec.Struct, frozen=True, kw_only=True):
    """The traffic of a fleet, a workload or a replica at one instant."""

    ttft: Quantiles = Quantiles()
    requests_per_s: float = 0.0
    """Requests that ended, over the newest 10 closed seconds."""
    errors_per_s: float = 0.0
    requests_last_s: float = 0.0
    """Over the newest closed second alone."""
    errors_last_s: float = 0.0
    retry_share: float | None = None
    """Extra attempts as a share of requests over 30 s: 0.1 is one retry in ten requests. Null without requests."""
    totals: Totals = Totals()


NO_TRAFFIC: Final = TrafficView()
"""Of what had no request yet, or none for long."""


def end_of(row: RequestRow) -> float:
    """When a request ended, wall seconds; its first byte or its start where the end was never seen."""
    return row.ts + (row.total_s if row.total_s is not None else (row.ttft_s or 0.0))


def counts_for_ttft(row: RequestRow) -> bool:
    """Whether the row has a time to first token that is one."""
    return row.stream and row.ttft_s is not None and 200 <= row.status < 300


class _Scope:
    """The numbers of one fleet, workload or replica."""

    __slots__ = ("errors", "last_ts", "requests", "retries", "shed", "totals", "ttft")

    def __init__(self) -> None:
        self.ttft = RollingWindow(TTFT_WINDOW_S)
        self.requests, self.errors, self.shed, self.retries = (SecondCounts() for _ in range(4))
        self.totals = Totals()
        self.last_ts = 0.0

    def take(self, row: RequestRow, ended: float, second: int) -> None:
        self.last_ts = max(self.last_ts, ended)
        one = counted(row)
        for counts, amount in self._counts(one):
            if amount:
                counts.add(second, amount)
        if counts_for_ttft(row) and row.ttft_s is not None:
            self.ttft.add(ended, row.ttft_s)

    def totals_before(self, end: int, last: int) -> Totals:
        """The totals without what was counted in seconds `end` to `last`."""
        if last < end:
            return self.totals
        taken = {name: int(counts.total(last, last - end + 1)) for name, counts in self._named()}
        return Totals(**{name: getattr(self.totals, name) - amount for name, amount in taken.items()})

    def view(self, now: float) -> TrafficView:
        closed = closed_second(now)
        recent = self.requests.total(int(now), RETRY_WINDOW_S)
        return TrafficView(
            ttft=self.ttft.quantiles(now),
            requests_per_s=self.requests.per_second(now, RATE_WINDOW_S),
            errors_per_s=self.errors.per_second(now, RATE_WINDOW_S),
            requests_last_s=self.requests.total(closed, 1),
            errors_last_s=self.errors.total(closed, 1),
            retry_share=self.retries.total(int(now), RETRY_WINDOW_S) / recent if recent else None,
            totals=self.totals,
        )

    def _named(self) -> tuple[tuple[str, SecondCounts], ...]:
        return (
            ("requests", self.requests),
            ("errors", self.errors),
            ("shed", self.shed),
            ("retries", self.retries),
        )

    def _counts(self, one: Totals) -> Iterable[tuple[SecondCounts, int]]:
        return ((counts, getattr(one, name)) for name, counts in self._named())


class TrafficMeter:
    """Rolling numbers over the request rows of one fleet, as seen by its edge. Lives on the daemon's loop."""

    def __init__(self, fleet: str, clock: Clock) -> None:
        self.fleet_name = fleet
        self._clock = clock
        self._fleet = _Scope()
        self._workloads: dict[str, _Scope] = {}
        self._replicas: dict[str, _Scope] = {}
        self._histograms: dict[str, Histogram] = {}
        self._taken = 0

    def attach(self, source: RowSource) -> Callable[[], None]:
        """Follow a ledger's request rows from now on; returns what ends it."""
        return source.subscribe("requests", self.take)

    def restore(self, rows: Iterable[Row], totals: Mapping[str, tuple[float, Totals]]) -> None:
        """Go on from what was recorded before this daemon started; call it before `attach`.

        `totals` holds per workload the newest known totals and the instant they cover, wall seconds; `rows` (any
        order) fill the windows, each as if learnt of at its end, and add to the totals if they ended later.
        """
        now = self._clock.now()
        for workload, (_, known) in totals.items():
            self._workloads.setdefault(workload, _Scope()).totals = known
        for row in rows:
            if not self._ours(row):
                continue
            ended = min(end_of(row), now)
            if now - ended <= STALE_S:
                self._count(row, ended, int(ended))
            if row.workload not in totals or ended >= totals[row.workload][0]:
                scope = self._workloads.setdefault(row.workload, _Scope())
                scope.totals = scope.totals.plus(counted(row))
        self._fleet.totals = _sum_totals(scope.totals for scope in self._workloads.values())

    def closed_totals(self) -> tuple[float, dict[str, Totals]]:
        """Totals per workload of all that was counted in closed seconds, and the instant up to which that is."""
        now = self._clock.now()
        end = closed_second(now) + 1
        return float(end), {name: scope.totals_before(end, int(now)) for name, scope in self._workloads.items()}

    def take(self, row: Row) -> None:
        """Count one row; rows of another table, vantage or fleet are ignored."""
        if not self._ours(row):
            return
        now = self._clock.now()
        ended = min(end_of(row), now)
        for scope in self._scopes(row):
            scope.totals = scope.totals.plus(counted(row))
        if now - ended <= STALE_S:
            self._count(row, ended, second_of(ended, now))
        self._taken += 1
        if self._taken % _EXPIRE_EVERY == 0:
            # In small pieces: at a thousand streams a second a whole second's worth would hold the loop for 25 ms.
            for scope in self._scopes(row):
                scope.ttft.expire(now)
        if counts_for_ttft(row) and row.ttft_s is not None:
            self._histograms.setdefault(row.workload, Histogram(TTFT_BUCKETS_S)).observe(row.ttft_s)

    def fleet(self) -> TrafficView:
        """All workloads together."""
        return self._fleet.view(self._clock.now())

    def workload(self, name: str) -> TrafficView:
        """One workload; empty where it had no request yet."""
        scope = self._workloads.get(name)
        return scope.view(self._clock.now()) if scope else NO_TRAFFIC

    def replica(self, name: str) -> TrafficView:
        """One replica: requests whose last attempt it answered."""
        scope = self._replicas.get(name)
        return scope.view(self._clock.now()) if scope else NO_TRAFFIC

    def workloads(self) -> dict[str, TrafficView]:
        """Every workload that ever had a request."""
        now = self._clock.now()
        return {name: scope.view(now) for name, scope in sorted(self._workloads.items())}

    def ttft_histograms(self) -> dict[str, Histogram]:
        """Per workload, over the life of this daemon."""
        return dict(sorted(self._histograms.items()))

    def second(self, second: int) -> tuple[float, float]:
        """Requests and errors of the whole fleet that were counted in one second of the last minute."""
        return self._fleet.requests.total(second, 1), self._fleet.errors.total(second, 1)

    def prune(self) -> None:
        """Give back the memory of what left the windows, and of replicas long silent; call it every second."""
        now = self._clock.now()
        for scope in (self._fleet, *self._workloads.values(), *self._replicas.values()):
            scope.ttft.expire(now)
        horizon = now - TTFT_WINDOW_S - STALE_S
        for name in [name for name, scope in self._replicas.items() if scope.last_ts < horizon]:
            del self._replicas[name]

    def _ours(self, row: Row) -> TypeGuard[RequestRow]:
        return isinstance(row, RequestRow) and row.vantage is Vantage.EDGE and row.fleet == self.fleet_name

    def _scopes(self, row: RequestRow) -> list[_Scope]:
        scopes = [self._fleet, self._workloads.setdefault(row.workload, _Scope())]
        if row.replica is not None:
            scopes.append(self._replicas.setdefault(row.replica, _Scope()))
        return scopes

    def _count(self, row: RequestRow, ended: float, second: int) -> None:
        for scope in self._scopes(row):
            scope.take(row, ended, second)


def _sum_totals(parts: Iterable[Totals]) -> Totals:
    total = Totals()
    for part in parts:
        total = total.plus(part)
    return total
