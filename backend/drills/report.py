"""The report of a run: counts, bounds, quantiles and series, as JSON. Pure.

Every number comes from the run's record and rows; `verify` computes them again and compares.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from backend.contract.exit_codes import DRILL_EXIT_CODES
from backend.contract.words import RequestOutcome
from backend.drills.bounds import success_at_least, success_at_most
from backend.drills.check import Compiled
from backend.drills.compare import Comparison
from backend.drills.evaluate import in_phase, is_truncated, spans_fault
from backend.drills.incidents import ejections
from backend.drills.records import DrillRow, FaultStamps, PhaseSpan, RunRecord
from backend.drills.series import Series, series_of, steady_from
from backend.drills.verdict import Verdict
from backend.quantiles import nearest_rank

REPORT_VERSION: Final = 2
SLOWEST: Final = 5
CONFIDENCE: Final = 0.95


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """Quantiles in seconds of answered requests, from their intended send."""

    count: int = 0
    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None
    max_s: float | None = None


class LoadInPhase(msgspec.Struct, frozen=True, kw_only=True):
    """One load's requests in one phase. arrivals = ok + slow + wrong + shed + failed."""

    load: str
    arrivals: int
    ok: int
    slow: int
    wrong: int
    shed: int
    failed: int
    truncated: int
    """Of the failed: an answer had begun and ended visibly broken."""
    failed_before_first_byte: int
    retried: int
    spanning: int
    """Alive when a fault was injected."""
    success_at_least: float
    """Proven at 95 % confidence (Clopper-Pearson, one-sided)."""
    success_at_most: float
    provable: float
    """What a sample of this size proves at best, without any failure."""
    latency: Times
    ttft: Times
    service: Times


class PhaseReport(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    seconds: float | None
    loads: tuple[LoadInPhase, ...]


class FaultResult(msgspec.Struct, frozen=True, kw_only=True):
    """A fault's stamps and the intervals made of them (seconds)."""

    stamps: FaultStamps
    detection_s: float | None
    exposure_s: float | None
    failover_s: float | None
    recovery_s: float | None
    mttr_s: float | None
    """Effect to Ready."""
    steady_s: float | None = None
    """Effect to steady: see `series.steady_from`."""
    suspect_s: float | None = None
    undo_s: float | None = None
    """First undo sent to the fault verified gone."""


class SlowRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One of the slowest answered requests."""

    load: str
    phase: str
    request_id: str
    replica: str | None
    latency_s: float
    ttft_s: float | None
    retries: int
    spans: tuple[str, ...]
    attempts: tuple[str, ...]


class FailedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request that was not answered, with what the edge knew of it."""

    load: str
    phase: str
    request_id: str
    stream: bool
    outcome: str
    status: int
    termination: str
    error: str | None
    began: bool
    after_intended_s: float
    spans: tuple[str, ...]
    edge_replica: str | None = None
    edge_termination: str | None = None
    edge_retries: int | None = None
    attempts: tuple[str, ...] = ()
    """Each try that came to nothing: replica, HAProxy's flags, time."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """`report.json`."""

    version: int = REPORT_VERSION
    run_id: str
    name: str
    title: str
    outcome: str
    exit_code: int
    reasons: tuple[str, ...]
    seed: int
    scenario_digest: str
    ledger_digest: str
    """SHA-256 of ledger.jsonl."""
    actor: str
    fleet: str
    environment: str
    host: dict[str, str | int | float | bool | None]
    versions: dict[str, str]
    started_ts: float
    ended_ts: float | None
    clock: str = "CLOCK_MONOTONIC of the controller; client, controller and replicas on one machine"
    driver: str = "local"
    confidence: float = CONFIDENCE
    durability: str = "process-crash"
    plan: tuple[str, ...]
    rates: dict[str, float]
    verdict: Verdict
    phases: tuple[PhaseReport, ...]
    faults: tuple[FaultResult, ...]
    record: RunRecord
    failed: tuple[FailedRequest, ...]
    """All of them."""
    slowest: tuple[SlowRequest, ...] = ()
    ejections: dict[str, int] = {}
    """Per pool, over the whole run."""
    false_ejections: dict[str, int] = {}
    """Of these, the ones that no fault explains."""
    series: tuple[Series, ...] = ()
    comparison: Comparison | None = None
    """With the reference run the scenario asks for; null where there is none yet."""


def build(
    compiled: Compiled,
    record: RunRecord,
    rows: Sequence[DrillRow],
    verdict: Verdict,
    ledger_digest: str,
    comparison: Comparison | None = None,
) -> Report:
    """The report of a run."""
    outcome = verdict.outcome.value
    return Report(
        run_id=record.run_id,
        name=record.scenario_name,
        title=compiled.scenario.title,
        outcome=outcome,
        exit_code=DRILL_EXIT_CODES[outcome],
        reasons=verdict.reasons,
        seed=record.seed,
        scenario_digest=record.scenario_digest,
        ledger_digest=ledger_digest,
        actor=record.actor,
        fleet=record.fleet,
        environment=record.environment,
        driver=record.driver,
        host=record.host,
        versions=record.versions,
        started_ts=record.started_ts,
        ended_ts=record.ended_ts,
        plan=record.plan,
        rates=record.rates,
        verdict=verdict,
        phases=tuple(_phase(span, record, rows, compiled) for span in record.phases),
        faults=tuple(_fault(fault, record, rows) for fault in record.faults),
        record=record,
        failed=tuple(_failed(row, record) for row in rows if not row.answered),
        slowest=tuple(_slow(row, record) for row in slowest_of(rows)),
        ejections=_ejections(record, ()),
        false_ejections=_ejections(record, record.faults),
        series=tuple(
            series_of(name, [row for row in rows if row.load == name], record.started_mono_s)
            for name in compiled.scenario.load
        ),
        comparison=comparison,
    )


def slowest_of(rows: Sequence[DrillRow]) -> list[DrillRow]:
    """The slowest answered requests, slowest first."""
    return sorted((row for row in rows if row.answered), key=lambda row: -row.latency_s)[:SLOWEST]


def _ejections(record: RunRecord, explained_by: Sequence[FaultStamps]) -> dict[str, int]:
    offset = record.started_mono_s - record.started_ts
    return {
        pool: len(ejections(record.events, members, offset, explained_by=explained_by))
        for pool, members in record.members.items()
        if pool in record.sizes
    }


def encode(report: Report) -> bytes:
    """Canonical, indented JSON: the same report gives the same bytes."""
    return msgspec.json.format(msgspec.json.encode(report, order="deterministic"), indent=2) + b"\n"


def _phase(span: PhaseSpan, record: RunRecord, rows: Sequence[DrillRow], compiled: Compiled) -> PhaseReport:
    inside = [row for row in rows if in_phase(row, span)]
    return PhaseReport(
        name=span.name,
        seconds=None if span.end_s is None else span.end_s - span.start_s,
        loads=tuple(_load(name, [r for r in inside if r.load == name], record) for name in compiled.scenario.load),
    )


def _load(name: str, rows: Sequence[DrillRow], record: RunRecord) -> LoadInPhase:
    def count(outcome: RequestOutcome) -> int:
        return sum(row.request.outcome == outcome for row in rows)

    good = [row for row in rows if row.answered]
    unanswered = [row for row in rows if row.request.outcome in (RequestOutcome.FAILED, RequestOutcome.SHED)]
    return LoadInPhase(
        load=name,
        arrivals=len(rows),
        ok=count(RequestOutcome.OK),
        slow=count(RequestOutcome.SLOW),
        wrong=count(RequestOutcome.WRONG),
        shed=count(RequestOutcome.SHED),
        failed=count(RequestOutcome.FAILED),
        truncated=sum(is_truncated(row) for row in rows),
        failed_before_first_byte=sum(not row.began for row in unanswered),
        retried=sum(row.request.retries > 0 for row in rows),
        spanning=sum(any(spans_fault(row, fault) for fault in record.faults) for row in rows),
        success_at_least=success_at_least(len(good), len(rows), CONFIDENCE),
        success_at_most=success_at_most(len(good), len(rows), CONFIDENCE),
        provable=success_at_least(len(rows), len(rows), CONFIDENCE),
        latency=_times([row.latency_s for row in good]),
        ttft=_times([row.ttft_s for row in good if row.ttft_s is not None]),
        service=_times([row.service_s for row in good]),
    )


def _times(values: list[float]) -> Times:
    ordered = sorted(values)
    return Times(
        count=len(ordered),
        p50_s=nearest_rank(ordered, 0.5),
        p95_s=nearest_rank(ordered, 0.95),
        p99_s=nearest_rank(ordered, 0.99),
        max_s=ordered[-1] if ordered else None,
    )


def _fault(fault: FaultStamps, record: RunRecord, rows: Sequence[DrillRow]) -> FaultResult:
    def since(start: float | None, end: float | None) -> float | None:
        return None if start is None or end is None else max(0.0, end - start)

    effective = fault.t_effective
    return FaultResult(
        stamps=fault,
        detection_s=since(effective, fault.t_detected),
        exposure_s=since(effective, fault.t_last_dispatch),
        failover_s=since(effective, fault.t_first_failover_ok),
        recovery_s=since(fault.t_healed or effective, fault.t_ready),
        mttr_s=since(effective, fault.t_ready),
        steady_s=since(effective, steady_from(fault, record, rows)),
        suspect_s=since(effective, fault.t_suspect),
        undo_s=since(fault.t_undo_issued, fault.t_undone),
    )


def _phase_of(row: DrillRow, record: RunRecord) -> str:
    return next((span.name for span in record.phases if in_phase(row, span)), "")


def _spans(row: DrillRow, record: RunRecord) -> tuple[str, ...]:
    return tuple(fault.id for fault in record.faults if spans_fault(row, fault))


def _attempts(row: DrillRow, record: RunRecord) -> tuple[str, ...]:
    tries = record.attempts.get(row.request.request_id, ())
    return tuple(
        f"{one.replica or '?'} {one.termination or '--'}"
        + (f" after {one.total_s * 1000:.0f} ms" if one.total_s is not None else "")
        for one in tries
    )


def _slow(row: DrillRow, record: RunRecord) -> SlowRequest:
    return SlowRequest(
        load=row.load,
        phase=_phase_of(row, record),
        request_id=row.request.request_id,
        replica=row.request.replica,
        latency_s=row.latency_s,
        ttft_s=row.ttft_s,
        retries=row.request.retries,
        spans=_spans(row, record),
        attempts=_attempts(row, record),
    )


def _failed(row: DrillRow, record: RunRecord) -> FailedRequest:
    cause = record.causes.get(row.request.request_id)
    return FailedRequest(
        load=row.load,
        phase=_phase_of(row, record),
        request_id=row.request.request_id,
        stream=row.request.stream,
        outcome=row.request.outcome.value,
        status=row.request.status,
        termination=row.request.termination,
        error=row.request.error,
        began=row.began,
        after_intended_s=row.latency_s,
        spans=_spans(row, record),
        edge_replica=cause.replica if cause else None,
        edge_termination=cause.termination if cause else None,
        edge_retries=cause.retries if cause else None,
        attempts=_attempts(row, record),
    )
