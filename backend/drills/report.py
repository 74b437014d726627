"""The report of a run: counts, bounds and quantiles per phase, as JSON, JUnit and Markdown. Pure.

Every number comes from the run's record and rows; `verify` computes them again and compares.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from xml.etree import ElementTree

import msgspec

from backend.contract.exit_codes import DRILL_EXIT_CODES
from backend.contract.words import RequestOutcome
from backend.drills.bounds import success_at_least, success_at_most
from backend.drills.check import Compiled
from backend.drills.evaluate import in_phase, is_truncated, spans_fault
from backend.drills.records import DrillRow, FaultStamps, PhaseSpan, RunRecord
from backend.drills.verdict import Verdict
from backend.quantiles import nearest_rank

REPORT_VERSION: Final = 1
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
    latency: Times
    ttft: Times
    service: Times


class PhaseReport(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    seconds: float | None
    loads: tuple[LoadInPhase, ...]


class FaultReport(msgspec.Struct, frozen=True, kw_only=True):
    """A fault's stamps and the intervals made of them (seconds)."""

    stamps: FaultStamps
    detection_s: float | None
    exposure_s: float | None
    failover_s: float | None
    recovery_s: float | None
    mttr_s: float | None


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
    confidence: float = CONFIDENCE
    durability: str = "process-crash"
    plan: tuple[str, ...]
    rates: dict[str, float]
    verdict: Verdict
    phases: tuple[PhaseReport, ...]
    faults: tuple[FaultReport, ...]
    record: RunRecord
    failed: tuple[FailedRequest, ...]
    """All of them."""


def build(
    compiled: Compiled, record: RunRecord, rows: Sequence[DrillRow], verdict: Verdict, ledger_digest: str
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
        host=record.host,
        versions=record.versions,
        started_ts=record.started_ts,
        ended_ts=record.ended_ts,
        plan=record.plan,
        rates=record.rates,
        verdict=verdict,
        phases=tuple(_phase(span, record, rows, compiled) for span in record.phases),
        faults=tuple(_fault(fault) for fault in record.faults),
        record=record,
        failed=tuple(_failed(row, record) for row in rows if not row.answered),
    )


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


def _fault(fault: FaultStamps) -> FaultReport:
    def since(start: float | None, end: float | None) -> float | None:
        return None if start is None or end is None else max(0.0, end - start)

    effective = fault.t_effective
    return FaultReport(
        stamps=fault,
        detection_s=since(effective, fault.t_detected),
        exposure_s=since(effective, fault.t_last_dispatch),
        failover_s=since(effective, fault.t_first_failover_ok),
        recovery_s=since(fault.t_healed or effective, fault.t_ready),
        mttr_s=since(effective, fault.t_ready),
    )


def _failed(row: DrillRow, record: RunRecord) -> FailedRequest:
    cause = record.causes.get(row.request.request_id)
    return FailedRequest(
        load=row.load,
        phase=next((span.name for span in record.phases if in_phase(row, span)), ""),
        request_id=row.request.request_id,
        stream=row.request.stream,
        outcome=row.request.outcome.value,
        status=row.request.status,
        termination=row.request.termination,
        error=row.request.error,
        began=row.began,
        after_intended_s=row.latency_s,
        spans=tuple(fault.id for fault in record.faults if spans_fault(row, fault)),
        edge_replica=cause.replica if cause else None,
        edge_termination=cause.termination if cause else None,
        edge_retries=cause.retries if cause else None,
    )


def junit(report: Report) -> str:
    """JUnit XML: one test case per phase and expectation, and one for each proof the verdict rests on."""
    cases = report.verdict.checks
    failures = sum(check.result == "fail" for check in cases)
    errors = sum(check.result == "unknown" for check in cases)
    seconds = 0.0 if report.ended_ts is None else report.ended_ts - report.started_ts
    suite = ElementTree.Element(
        "testsuite",
        name=f"drill.{report.name}",
        tests=str(len(cases) + 1),
        failures=str(failures + (report.exit_code == 1)),
        errors=str(errors + (report.exit_code not in (0, 1))),
        time=f"{seconds:.3f}",
    )
    whole = ElementTree.SubElement(suite, "testcase", classname=f"drill.{report.name}", name="verdict")
    if report.exit_code != 0:
        tag = "failure" if report.exit_code == 1 else "error"
        ElementTree.SubElement(whole, tag, message=report.outcome).text = _printable("\n".join(report.reasons))
    for check in cases:
        place = f"drill.{report.name}.{check.phase or check.kind}"
        name = _printable(f"{check.kind}: {check.text}")
        case = ElementTree.SubElement(suite, "testcase", classname=place, name=name)
        values = "\n".join(f"{text} = {'no data' if v is None else v}" for text, v in check.measured.items())
        if check.result != "pass":
            tag = "failure" if check.result == "fail" else "error"
            ElementTree.SubElement(case, tag, message=_printable(check.note or check.text)).text = _printable(values)
        elif values:
            ElementTree.SubElement(case, "system-out").text = _printable(values)
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def _printable(text: str) -> str:
    return "".join(c for c in text if c in "\t\n" or c >= " ")
