"""The verdict of a run: a pure function of its record and its client rows, computed live and again by `verify`.

Order of outcomes: dirty, refused, broken (inconclusive), aborted, baseline failed, a fault without effect
(inconclusive), fail, inconclusive, regression, pass. Something without data is never taken for met.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from backend.contract.words import DrillOutcome
from backend.drills.check import Compiled
from backend.drills.compare import Comparison
from backend.drills.compare import sentence as difference_sentence
from backend.drills.evaluate import Facts, Reading, evaluate
from backend.drills.expression import Expr
from backend.drills.records import DrillRow, PhaseSpan, RunRecord

CheckResult = Literal["pass", "fail", "unknown"]
CheckKind = Literal["expect", "hypothesis", "until", "fault", "undo", "sample", "ledger", "generator"]


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was judged."""

    kind: CheckKind
    phase: str = ""
    text: str
    result: CheckResult
    measured: dict[str, float | None] = {}
    """Values of the calls in the expression, in base units (seconds, ratios, counts)."""
    note: str = ""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended and why."""

    outcome: DrillOutcome
    reasons: tuple[str, ...]
    checks: tuple[Check, ...] = ()


def judge(compiled: Compiled, record: RunRecord, rows: Sequence[DrillRow]) -> Verdict:
    """The verdict of a finished run."""
    checks = (
        *_undo_checks(record),
        *_fault_checks(compiled, record),
        *_expectations(compiled, record, rows),
        *_sample_checks(compiled, record, rows),
        *_generator_checks(compiled, record, rows),
    )
    outcome, reasons = _outcome(record, checks)
    return Verdict(outcome=outcome, reasons=reasons, checks=checks)


def with_comparison(verdict: Verdict, compiled: Compiled, comparison: Comparison | None) -> Verdict:
    """A pass that is measurably worse than its reference is a regression, where the scenario asks for that."""
    if comparison is None or verdict.outcome != DrillOutcome.PASS or not comparison.regressions:
        return verdict
    if compiled.scenario.report.compare.fail_on != "regression":
        return verdict
    reasons = tuple(f"worse than {comparison.reference}: {difference_sentence(one)}" for one in comparison.regressions)
    return msgspec.structs.replace(verdict, outcome=DrillOutcome.REGRESSION, reasons=reasons)


def gate_checks(compiled: Compiled, phase: str, facts: Facts) -> list[Check]:
    """The gate's expectations, judged while the run waits at it."""
    return [
        _check("expect", phase, expectation.text, expectation.tree, facts) for expectation in compiled.expects[phase]
    ]


def by_load(rows: Sequence[DrillRow]) -> dict[str, list[DrillRow]]:
    """Rows per load, in the order they ended."""
    found: dict[str, list[DrillRow]] = {}
    for row in sorted(rows, key=lambda row: row.ended_s):
        found.setdefault(row.load, []).append(row)
    return found


def facts_of(record: RunRecord, rows: Mapping[str, Sequence[DrillRow]], phase: str | None, grace_s: float = 0) -> Facts:
    """What expressions know afterwards."""
    return Facts(
        rows=rows,
        phases=record.phases,
        faults={fault.id: fault for fault in record.faults},
        observations=record.observations,
        sizes=record.sizes,
        members=record.members,
        events=record.events,
        mono_offset_s=record.started_mono_s - record.started_ts,
        phase=phase,
        grace_s=grace_s,
    )


def _outcome(record: RunRecord, checks: Sequence[Check]) -> tuple[DrillOutcome, tuple[str, ...]]:
    dirty = [check for check in checks if check.kind == "undo" and check.result == "fail"]
    if dirty:
        return DrillOutcome.DIRTY, tuple(f"rollback not proven: {check.text}: {check.note}" for check in dirty)
    if record.refused:
        return DrillOutcome.REFUSED, (record.refused,)
    if record.internal_error:
        return DrillOutcome.INCONCLUSIVE, (record.internal_error,)
    if record.aborted:
        return DrillOutcome.ABORTED_CLEAN, (f"aborted: {record.aborted}; every undo is verified",)
    if record.gate_failed:
        return DrillOutcome.BASELINE_FAILED, (record.gate_failed,)
    failed = [check for check in checks if check.result == "fail"]
    unproven = [check for check in checks if check.kind == "fault" and check.result == "unknown"]
    if unproven:
        # Whatever else was seen, it was not the answer to that fault: it is told, and proves nothing.
        seen = tuple(f"also: {_sentence(check)}" for check in failed)
        return DrillOutcome.INCONCLUSIVE, (*(_sentence(check) for check in unproven), *seen)
    if failed:
        return DrillOutcome.FAIL, tuple(_sentence(check) for check in failed)
    unknown = [check for check in checks if check.result == "unknown"]
    if unknown:
        return DrillOutcome.INCONCLUSIVE, tuple(_sentence(check) for check in unknown)
    return DrillOutcome.PASS, ("every expectation held",)


def _sentence(check: Check) -> str:
    where = f"{check.phase}: " if check.phase else ""
    values = ", ".join(f"{text} = {'no data' if v is None else f'{v:.4g}'}" for text, v in check.measured.items())
    tail = f" ({values})" if values else f" ({check.note})" if check.note else ""
    return f"{where}{check.text}{tail}"


def _check(kind: CheckKind, phase: str, text: str, tree: Expr, facts: Facts, name: str = "") -> Check:
    reading: Reading = evaluate(tree, facts)
    result: CheckResult = "unknown" if reading.value is None else "pass" if reading.value else "fail"
    return Check(kind=kind, phase=phase, text=text, result=result, measured=reading.measured, note=name)


def _undo_checks(record: RunRecord) -> list[Check]:
    """An undo that only the warden or a later daemon could do is proven, but the run's own way failed: not passed."""
    checks = []
    for undo in record.undo:
        result: CheckResult = "fail" if not undo.verified else "pass" if undo.by == "daemon" else "unknown"
        note = undo.detail if undo.by in ("", "daemon") else f"by the {undo.by}: {undo.detail}"
        checks.append(Check(kind="undo", text=undo.what, result=result, note=note))
    return checks


def _fault_checks(compiled: Compiled, record: RunRecord) -> list[Check]:
    """A fault that did not take effect proves nothing: unknown, never passed."""
    if record.gate_failed or record.refused:
        return []
    stamps = {fault.id: fault for fault in record.faults}
    checks = []
    for injection in compiled.scenario.injections():
        fault = stamps.get(injection.id)
        proven = fault is not None and fault.verified and fault.t_effective is not None
        note = "; ".join(fault.evidence) if proven and fault else (fault.problem if fault else "never injected")
        text = f"fault {injection.id} took effect"
        checks.append(Check(kind="fault", text=text, result="pass" if proven else "unknown", note=note))
    return checks


def _expectations(compiled: Compiled, record: RunRecord, rows: Sequence[DrillRow]) -> list[Check]:
    per_load = by_load(rows)
    checks = []
    for span in record.phases:
        facts = facts_of(record, per_load, span.name)
        if span.until_met is not None:
            result: CheckResult = "pass" if span.until_met else "fail"
            checks.append(Check(kind="until", phase=span.name, text=span.until_text, result=result))
        checks.extend(_check("expect", span.name, e.text, e.tree, facts) for e in compiled.expects[span.name])
        if span.gate:
            continue
        for hypothesis in compiled.scenario.hypothesis:
            graced = facts_of(record, per_load, span.name, hypothesis.grace)
            tree = compiled.hypotheses[hypothesis.id]
            checks.append(_check("hypothesis", span.name, hypothesis.expr, tree, graced, hypothesis.id))
    return checks


def _sample_checks(compiled: Compiled, record: RunRecord, rows: Sequence[DrillRow]) -> list[Check]:
    checks = []
    for span in record.phases:
        for load, wanted in compiled.phase(span.name).hold.min_requests.items():
            found = sum(row.load == load and _belongs(row, span) for row in rows)
            text = f"{load} has at least {wanted} requests"
            result: CheckResult = "pass" if found >= wanted else "unknown"
            checks.append(Check(kind="sample", phase=span.name, text=text, result=result, note=f"{found} requests"))
    missing = [phase.name for phase in compiled.scenario.phases if phase.name not in {s.name for s in record.phases}]
    if missing and not (record.gate_failed or record.refused or record.aborted):
        checks.append(Check(kind="sample", text="every phase ran", result="unknown", note=f"not {', '.join(missing)}"))
    return checks


def _belongs(row: DrillRow, span: PhaseSpan) -> bool:
    return span.start_s <= row.intended_s and (span.end_s is None or row.intended_s < span.end_s)


def _generator_checks(compiled: Compiled, record: RunRecord, rows: Sequence[DrillRow]) -> list[Check]:
    """arrivals = ok + slow + wrong + shed + failed: what the schedule called for, what ended, what is in the ledger."""
    kept = {name: len(found) for name, found in by_load(rows).items()}
    limit = compiled.scenario.safety.max_generator_lag
    checks = []
    for load in record.loads:
        stored = kept.get(load.name, 0)
        balanced = load.arrivals + load.resends == load.rows == stored and not load.problem
        again = f"{load.resends} sent again, " if load.resends else ""
        note = load.problem or f"{load.arrivals} arrivals, {again}{load.rows} ended, {stored} in the ledger"
        text = f"{load.name}: every arrival is accounted for"
        checks.append(Check(kind="ledger", text=text, result="pass" if balanced else "unknown", note=note))
        on_time = load.lag_p99_s is not None and load.lag_p99_s <= limit
        late = "no arrival" if load.lag_p99_s is None else f"p99 {load.lag_p99_s * 1000:.1f} ms"
        text = f"{load.name}: the generator's lag p99 is at most {limit * 1000:g} ms"
        checks.append(Check(kind="generator", text=text, result="pass" if on_time else "unknown", note=late))
    return checks
