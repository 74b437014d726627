"""Sections that run drills on the default fleet: failover, hang and overload, the core drills, the mutants."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from backend.drills.library import library
from backend.drills.report import Report
from backend.quantiles import quantile
from tests import mutants
from tests.certify.drill_runs import Ended, core_drills, run_drill
from tests.certify.frame import ROOT, Line
from tests.e2e.harness import RealFleet, real_fleet
from tests.mutants.table import MUTANTS, Mutant

FAILOVER, SERIES, HANG = "embedding-failover", "kill-series", "llm-engine-hang"
RUNS, KILLS, DETECTED_S, SAMPLE = 5, 59, 0.1, 3000
OVERLOAD_S = 600.0


def failover() -> Iterator[Line]:
    """Promise 1, beside the old target."""
    with real_fleet(yaml=None) as fleet:
        ended = [run_drill(fleet, FAILOVER) for _ in range(RUNS)]
        reports = [one.report for one in ended if one.report is not None]
        yield Line(
            promise=1,
            what=f"{RUNS} runs of {FAILOVER} pass",
            measured=", ".join(f"{one.outcome}" for one in ended),
            met=all(one.exit_code == 0 for one in ended),
        )
        yield from _phases(reports)
        kills = _detections(reports)
        yield Line(
            promise=1,
            what=f"each of {RUNS * 2} kills detected in <= 100 ms (old target: 3 s)",
            measured=f"{len(kills)} kills, slowest {_ms(max(kills, default=None))}",
            met=len(kills) == RUNS * 2 and max(kills) <= DETECTED_S,
        )
        for _ in range(KILLS):
            if len(kills) >= KILLS:
                break
            one = run_drill(fleet, SERIES)
            kills += _detections([one.report] if one.report else [])
        p95 = quantile(kills, 0.95)
        yield Line(
            promise=1,
            what=f"{KILLS} kills: p95 of detection <= 100 ms with 95 % confidence (all of them are within it)",
            measured=f"{len(kills)} kills, p95 {_ms(p95)}, slowest {_ms(max(kills, default=None))}",
            met=len(kills) >= KILLS and max(kills) <= DETECTED_S,
        )


def _phases(reports: list[Report]) -> Iterator[Line]:
    names = [phase.name for phase in reports[0].phases] if reports else []
    for name in names:
        loads = [load for report in reports for phase in report.phases if phase.name == name for load in phase.loads]
        failed = sum(load.failed + load.shed + load.wrong for load in loads)
        arrivals, least = sum(load.arrivals for load in loads), min(load.arrivals for load in loads)
        proven = min(load.success_at_least for load in loads)
        yield Line(
            promise=1,
            what=f"phase {name}: 0 failed, in-flight ones included (old target: > 95 % ok)",
            measured=f"{failed} of {arrivals} failed; least sample {least}, proves >= {proven:.2%} ok",
            met=failed == 0 and least >= SAMPLE and len(reports) == RUNS,
        )


def _detections(reports: list[Report]) -> list[float]:
    found = [fault.detection_s for report in reports for fault in report.faults]
    return [seconds for seconds in found if seconds is not None]


def _ms(seconds: float | None) -> str:
    return "no data" if seconds is None else f"{seconds * 1000:.0f} ms"


def engine_hang() -> Iterator[Line]:
    """Promise 2: a stuck engine is found."""
    with real_fleet(yaml=None) as fleet:
        hang = run_drill(fleet, HANG)
        detected = _detections([hang.report] if hang.report else [])
        yield _passed(2, hang, f"ejected after {_ms(max(detected, default=None))}")


def overload() -> Iterator[Line]:
    """Promise 2: busy is not stuck."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "tests.certify.overload", "--seconds", f"{OVERLOAD_S:g}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in done.stdout.splitlines() if line]
    yield Line(
        promise=2,
        what=f"overload at three times the capacity, longest prompts, {OVERLOAD_S:g} s: 429 or 503, 0 false ejections",
        measured="; ".join(said) or done.stderr.strip()[-300:],
        met=done.returncode == 0 and time.monotonic() - began >= OVERLOAD_S,
    )


def _passed(promise: int, one: Ended, more: str = "") -> Line:
    why = f" ({one.detail})" if one.exit_code else ""
    return Line(
        promise=promise,
        what=f"drill {one.drill if '/' not in one.drill else Path(one.drill).stem}",
        measured=f"{one.outcome}, exit {one.exit_code}{why}{f'; {more}' if more else ''}",
        met=one.exit_code == 0,
    )


def core_drill(name: str) -> Iterator[Line]:
    """Promise 3, first half: a core drill passes headless."""
    with real_fleet(yaml=None) as fleet:
        began = time.monotonic()
        one = run_drill(fleet, name)
        yield _passed(3, one, f"{time.monotonic() - began:.0f} s")


def shipped() -> Iterator[Line]:
    """Promise 3: what there is to run."""
    yield Line(
        promise=3,
        what="at least 16 drills ship, 12 of them core",
        measured=f"{len(library())} drills, {len(core_drills())} core",
        met=len(library()) >= 16 and len(core_drills()) >= 12,
    )


def broken_build(mutant: Mutant) -> Iterator[Line]:
    """Promise 3, second half: a mutant turns its drill red."""
    with tempfile.TemporaryDirectory() as place:
        log = Path(place) / "mutant.log"
        with RealFleet(yaml=None, **mutants.environment(mutant.name, log)) as fleet:
            fleet.up()
            one = run_drill(fleet, mutant.drill)
        found = {what for what, _ in mutants.applied(log)}
    missing = {f"{m.module}.{m.target}" for m in mutant.mutations} - found
    yield Line(
        promise=3,
        what=f"mutant {mutant.name} ({mutant.about}) turns {mutant.drill} red",
        measured=f"{one.outcome}, exit {one.exit_code} ({one.detail})"
        + (f"; NOT APPLIED: {', '.join(sorted(missing))}" if missing else ""),
        met=not missing and one.outcome in mutant.outcomes,
    )


def covered() -> Iterator[Line]:
    """Promise 3: no core drill without a mutant."""
    without = sorted(set(core_drills()) - {mutant.drill for mutant in MUTANTS.values()})
    yield Line(
        promise=3,
        what="each core drill has a mutant",
        measured=f"without: {', '.join(without) or 'none'}",
        met=not without,
    )
