"""Recomputes a run's verdict and every number of its report from the stored record and rows."""

from __future__ import annotations

from pathlib import Path

import msgspec

from backend.contract.errors import FileError
from backend.contract.words import DrillOutcome
from backend.drills import report as reports
from backend.drills import store
from backend.drills.check import Compiled
from backend.drills.compare import Comparison, Side, compare, why_not_comparable
from backend.drills.overrides import adjust
from backend.drills.records import DrillRow, RunRecord
from backend.drills.report import Report
from backend.drills.verdict import judge, with_comparison


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a stored report says what its ledger says."""

    run_id: str
    outcome: str
    same: bool
    differences: tuple[str, ...] = ()


def compute(
    run_dir: Path, compiled: Compiled, record: RunRecord, rows: list[DrillRow], *, stored: Report | None = None
) -> Report:
    """The report of a run whose rows are on disk. Blocks for some tenths of a second: use a thread on the loop.

    With `stored` (an earlier report of the run) it is compared with the same reference again; where that is gone or
    no longer the same, the stored block stands.
    """
    compiled = adjust(
        compiled, seed=record.seed, confidence=record.confidence, max_generator_lag_s=record.max_generator_lag_s
    )
    digest = store.ledger_digest(run_dir)
    current = Side(record=record, rows=rows, ledger_digest=digest)
    verdict = judge(compiled, record, rows)
    comparison: Comparison | None
    if stored is not None:
        comparison = _again(run_dir, stored.comparison, current)
    else:
        reference = _last_pass(run_dir, compiled, current) if verdict.outcome == DrillOutcome.PASS else None
        comparison = None if reference is None else compare(reference, current)
    verdict = with_comparison(verdict, compiled, comparison)
    return reports.build(compiled, record, rows, verdict, digest, comparison)


def side_of(run_dir: Path) -> Side:
    """A stored run, for a comparison. Raises FileError."""
    return Side(
        record=store.read_record(run_dir), rows=store.read_rows(run_dir), ledger_digest=store.ledger_digest(run_dir)
    )


def _last_pass(run_dir: Path, compiled: Compiled, current: Side) -> Side | None:
    """The newest earlier run that passed and may be compared; damaged ones are passed over."""
    if compiled.scenario.report.compare.reference is None:
        return None
    for candidate in reversed(store.runs(run_dir.parent)):
        if candidate.name == run_dir.name or not (candidate / store.REPORT).is_file():
            continue
        try:
            head = store.read_head(candidate)
            if head.outcome != DrillOutcome.PASS or head.scenario_digest != compiled.digest:
                continue
            side = side_of(candidate)
        except FileError:
            continue
        if side.record.started_ts < current.record.started_ts and not why_not_comparable(side.record, current.record):
            return side
    return None


def _again(run_dir: Path, known: Comparison | None, current: Side) -> Comparison | None:
    if known is None:
        return None
    try:
        reference = side_of(run_dir.parent / known.reference)
    except FileError:
        return known
    return compare(reference, current) if reference.ledger_digest == known.reference_digest else known


def verify_run(run_dir: Path) -> Verification:
    """Compute the report again and compare it byte by byte. Raises FileError for missing or damaged files."""
    compiled = store.read_scenario(run_dir)
    record, rows = store.read_record(run_dir), store.read_rows(run_dir)
    try:
        known = store.read_report(run_dir)
    except FileError as error:
        return Verification(run_id=record.run_id, outcome="", same=False, differences=(str(error),))
    fresh = compute(run_dir, compiled, record, rows, stored=known)
    found: list[str] = []
    if compiled.digest != record.scenario_digest:
        found.append("the scenario is not the one that ran")
    if reports.encode(fresh) != store.report_bytes(run_dir):
        stored = msgspec.to_builtins(known)
        computed = msgspec.to_builtins(fresh)
        names = [name for name in computed if computed[name] != stored.get(name)]
        found.append(f"report.json differs in {', '.join(names) or 'its spelling'}")
    found += [f"{name} is not what the report gives" for name in store.differing_files(run_dir, fresh)]
    return Verification(run_id=record.run_id, outcome=fresh.outcome, same=not found, differences=tuple(found))
