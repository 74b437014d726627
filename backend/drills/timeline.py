"""A run as consoles draw it while it runs: one-second buckets, phases, marks of faults, hypotheses as they stand.

Keeps only what the picture needs, so that a look costs no more after ten minutes than after one. Judges nothing: the
verdict is made afterwards, from the whole ledger.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from backend.contract.control import DrillBucket, DrillFaultView, DrillPhaseView, HypothesisView
from backend.contract.words import RequestOutcome
from backend.drills.check import Compiled
from backend.drills.evaluate import Facts, Reading, evaluate
from backend.drills.records import DrillRow, FaultStamps, PhaseSpan
from backend.quantiles import nearest_rank

BUCKETS: Final = 300
LATE_S: Final = 2
"""Rows arrive in the order requests ended, a little late: older buckets are final."""


class _Open:
    """A second that may still change."""

    __slots__ = ("failed", "latencies", "ok", "ttfts")

    def __init__(self) -> None:
        self.ok = self.failed = 0
        self.latencies: list[float] = []
        self.ttfts: list[float] = []


class Timeline:
    """Buckets of the rows it is given, by the second they ended in since `zero_s` (monotonic)."""

    def __init__(self, zero_s: float) -> None:
        self.zero_s = zero_s
        self._open: dict[int, _Open] = {}
        self._final: list[DrillBucket] = []
        self.counts: dict[str, int] = dict.fromkeys(map(str, RequestOutcome), 0)
        """Requests that ended so far by outcome, as the report counts them."""

    def add(self, row: DrillRow) -> None:
        """Take a request that ended."""
        self.counts[str(row.request.outcome)] += 1
        second = max(0, int(row.ended_s - self.zero_s))
        if self._final and second <= self._final[-1].at_s:
            second = int(self._final[-1].at_s) + 1
        bucket = self._open.setdefault(second, _Open())
        if not row.answered:
            bucket.failed += 1
            return
        bucket.ok += 1
        bucket.latencies.append(row.latency_s)
        if row.ttft_s is not None:
            bucket.ttfts.append(row.ttft_s)

    def buckets(self, now_s: float) -> tuple[DrillBucket, ...]:
        """The newest ones, oldest first; a second in which nothing ended has none."""
        ripe = now_s - self.zero_s - 1 - LATE_S
        for second in sorted(second for second in self._open if second < ripe):
            self._final.append(_closed(second, self._open.pop(second)))
        del self._final[:-BUCKETS]
        young = [_closed(second, bucket) for second, bucket in sorted(self._open.items())]
        return (*self._final, *young)[-BUCKETS:]


def _closed(second: int, bucket: _Open) -> DrillBucket:
    latencies = sorted(bucket.latencies)
    return DrillBucket(
        at_s=float(second),
        ok=bucket.ok,
        failed=bucket.failed,
        p50_s=nearest_rank(latencies, 0.5),
        p95_s=nearest_rank(latencies, 0.95),
        ttft_p95_s=nearest_rank(sorted(bucket.ttfts), 0.95),
    )


def phase_views(spans: Iterable[PhaseSpan], zero_s: float) -> tuple[DrillPhaseView, ...]:
    """Phases that began, in seconds since the run's start."""
    return tuple(
        DrillPhaseView(
            name=span.name,
            start_s=span.start_s - zero_s,
            end_s=None if span.end_s is None else span.end_s - zero_s,
            gate=span.gate,
        )
        for span in spans
    )


def fault_views(faults: Iterable[FaultStamps], zero_s: float) -> tuple[DrillFaultView, ...]:
    """Faults with their stamps, in seconds since the run's start."""

    def since(at: float | None) -> float | None:
        return None if at is None else at - zero_s

    return tuple(
        DrillFaultView(
            id=fault.id,
            fault=fault.fault,
            victims=fault.victims,
            command_s=since(fault.t_command),
            effective_s=since(fault.t_effective),
            suspect_s=since(fault.t_suspect),
            detected_s=since(fault.t_detected),
            failover_s=since(fault.t_first_failover_ok),
            healed_s=since(fault.t_healed),
            ready_s=since(fault.t_ready),
            undone_s=since(fault.t_undone),
            verified=fault.verified,
            problem=fault.problem,
        )
        for fault in faults
    )


def live_state(compiled: Compiled, facts: Facts) -> tuple[HypothesisView, ...]:
    """Each hypothesis on the present phase so far: holding, violated or no data. Before and in the gate: no data."""
    gate = next((span.gate for span in facts.phases if span.name == facts.phase), True)
    found = []
    for hypothesis in compiled.scenario.hypothesis:
        graced = msgspec.structs.replace(facts, grace_s=hypothesis.grace)
        reading = Reading(None, {}) if gate else evaluate(compiled.hypotheses[hypothesis.id], graced)
        state = "no data" if reading.value is None else "holding" if reading.value else "violated"
        found.append(
            HypothesisView(id=hypothesis.id, expr=hypothesis.expr, state=state, measured=dict(reading.measured))
        )
    return tuple(found)
