"""A drill run as the screen draws it: seconds since its start, whoever measured them. Pure; made from a DrillView.

Owns the translation of the daemon's words; every panel of the drill screens reads this and nothing else.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from backend.contract.control import DrillFaultView, DrillView, HypothesisView
from backend.contract.words import DrillOutcome

Standing = Literal["holding", "violated", "no data"]
_STANDINGS: Final[tuple[Standing, ...]] = ("holding", "violated", "no data")


class LivePhase(msgspec.Struct, frozen=True, kw_only=True):
    """One phase; `start_s` is null until it began, `end_s` until it ended."""

    name: str
    planned_s: float
    start_s: float | None = None
    end_s: float | None = None


class LiveFault(msgspec.Struct, frozen=True, kw_only=True):
    """One injection's stamps, seconds since the run's start; null where it has not happened or nobody saw it."""

    id: str
    kind: str
    victim: str
    injected_s: float | None = None
    effective_s: float | None = None
    detected_s: float | None = None
    recovered_s: float | None = None
    problem: str = ""

    def after_effect(self, stamp: float | None) -> float | None:
        """Seconds from the effect to a stamp."""
        return None if stamp is None or self.effective_s is None else max(0.0, stamp - self.effective_s)


class LiveHypothesis(msgspec.Struct, frozen=True, kw_only=True):
    """What must hold, and whether it does now; `measured` in base units (seconds, ratios, counts)."""

    text: str
    standing: Standing
    measured: dict[str, float | None] = {}


class LiveBucket(msgspec.Struct, frozen=True, kw_only=True):
    """One second (or so) of the load. Times in seconds; null where nobody answered."""

    at_s: float
    arrivals: int = 0
    failed: int = 0
    p50_s: float | None = None
    p95_s: float | None = None
    ttft_p95_s: float | None = None


class LiveCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that ended so far, each in exactly one of the outcomes."""

    arrivals: int = 0
    ok: int = 0
    slow: int = 0
    wrong: int = 0
    shed: int = 0
    failed: int = 0


class LiveRun(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the timeline shows."""

    run_id: str
    name: str
    title: str
    outcome: DrillOutcome
    elapsed_s: float
    estimated_s: float
    started_ts: float
    phase: str = ""
    phase_number: int = 0
    phases: tuple[LivePhase, ...] = ()
    faults: tuple[LiveFault, ...] = ()
    hypotheses: tuple[LiveHypothesis, ...] = ()
    buckets: tuple[LiveBucket, ...] = ()
    counts: LiveCounts = LiveCounts()
    detail: str = ""

    @property
    def running(self) -> bool:
        return self.outcome == DrillOutcome.RUNNING

    @property
    def span_s(self) -> float:
        """The width of the time axis: the estimate, or what it took where that is longer."""
        return max(1.0, self.elapsed_s, self.estimated_s if self.running else 0.0)


def live(view: DrillView, now: float) -> LiveRun:
    """The run that a view tells of; `now` (wall seconds) is asked only where the view does not say how long it ran."""
    ended = view.ended_ts if view.ended_ts is not None else now
    elapsed = view.elapsed_s or max(0.0, ended - view.started_ts)
    return LiveRun(
        run_id=view.run_id,
        name=view.name,
        title=view.title,
        outcome=view.outcome,
        elapsed_s=elapsed,
        estimated_s=view.estimated_s,
        started_ts=view.started_ts,
        phase=view.phase,
        phase_number=view.phase_index,
        phases=_phases(view),
        faults=tuple(_fault(one) for one in view.faults),
        hypotheses=tuple(_hypothesis(one) for one in view.hypotheses),
        buckets=tuple(
            LiveBucket(
                at_s=one.at_s,
                arrivals=one.ok + one.failed,
                failed=one.failed,
                p50_s=one.p50_s,
                p95_s=one.p95_s,
                ttft_p95_s=one.ttft_p95_s,
            )
            for one in view.buckets
        ),
        counts=_counts(view),
        detail=view.detail,
    )


def _phases(view: DrillView) -> tuple[LivePhase, ...]:
    """Those planned, in order, each with its times where it began."""
    begun = {span.name: span for span in view.timeline}
    planned = {plan.name: plan.seconds for plan in view.planned} or {span.name: 0.0 for span in view.timeline}
    return tuple(
        LivePhase(
            name=name,
            planned_s=seconds,
            start_s=begun[name].start_s if name in begun else None,
            end_s=begun[name].end_s if name in begun else None,
        )
        for name, seconds in planned.items()
    )


def _fault(one: DrillFaultView) -> LiveFault:
    return LiveFault(
        id=one.id,
        kind=one.fault,
        victim=", ".join(one.victims),
        injected_s=one.command_s,
        effective_s=one.effective_s,
        detected_s=one.detected_s,
        recovered_s=one.ready_s if one.ready_s is not None else one.undone_s,
        problem=one.problem,
    )


def _hypothesis(one: HypothesisView) -> LiveHypothesis:
    standing: Standing = next((known for known in _STANDINGS if known == one.state), "no data")
    return LiveHypothesis(text=one.expr, standing=standing, measured=one.measured)


def _counts(view: DrillView) -> LiveCounts:
    if not view.counts:
        ok, failed = sum(b.ok for b in view.buckets), sum(b.failed for b in view.buckets)
        return LiveCounts(arrivals=ok + failed, ok=ok, failed=failed)
    known = {name: view.counts.get(name, 0) for name in ("ok", "slow", "wrong", "shed", "failed")}
    return LiveCounts(arrivals=sum(known.values()), **known)


def detection_s(view: DrillView) -> float | None:
    """The slowest detection of a run's faults, seconds from the effect; null where nothing was detected."""
    found = [
        one.detected_s - one.effective_s
        for one in view.faults
        if one.detected_s is not None and one.effective_s is not None
    ]
    return max(found, default=None)
