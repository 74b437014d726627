"""Recomputes a run's verdict and every number of its report from the stored record and rows."""

from __future__ import annotations

from pathlib import Path

import msgspec

from backend.drills import report as reports
from backend.drills import store
from backend.drills.check import Compiled
from backend.drills.records import DrillRow, RunRecord
from backend.drills.report import Report
from backend.drills.verdict import judge


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a stored report says what its ledger says."""

    run_id: str
    outcome: str
    same: bool
    differences: tuple[str, ...] = ()


def compute(run_dir: Path, compiled: Compiled, record: RunRecord, rows: list[DrillRow]) -> Report:
    """The report of a run whose rows are on disk."""
    verdict = judge(compiled, record, rows)
    return reports.build(compiled, record, rows, verdict, store.ledger_digest(run_dir))


def verify_run(run_dir: Path) -> Verification:
    """Compute the report again and compare it byte by byte. Raises FileError for missing or damaged files."""
    compiled = store.read_scenario(run_dir)
    record, rows = store.read_record(run_dir), store.read_rows(run_dir)
    fresh = compute(run_dir, compiled, record, rows)
    found: list[str] = []
    if compiled.digest != record.scenario_digest:
        found.append("the scenario is not the one that ran")
    if reports.encode(fresh) != store.report_bytes(run_dir):
        stored = msgspec.to_builtins(store.read_report(run_dir))
        computed = msgspec.to_builtins(fresh)
        names = [name for name in computed if computed[name] != stored.get(name)]
        found.append(f"report.json differs in {', '.join(names) or 'its spelling'}")
    return Verification(run_id=record.run_id, outcome=fresh.outcome, same=not found, differences=tuple(found))
