"""Running library drills on a fleet from outside, as a script would: the CLI, its exit code, the report it left."""

from __future__ import annotations

import json

import msgspec

from backend.contract.errors import TrinityError
from backend.drills import store
from backend.drills.library import library
from backend.drills.report import Report
from tests.certify.frame import keep_run
from tests.e2e.harness import RealFleet

TIMEOUT_S = 1500.0


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a drill: what the command said, and the run's report where there is one."""

    drill: str
    exit_code: int
    outcome: str
    detail: str
    report: Report | None = None
    run_dir: str = ""


def run_drill(fleet: RealFleet, drill: str) -> Ended:
    """Run a drill by name or path to its end; its directory is kept."""
    done = fleet.trinity("drill", "run", drill, "--json", check=False, timeout_s=TIMEOUT_S)
    try:
        view = json.loads(done.stdout)
    except json.JSONDecodeError:
        said = (done.stderr or done.stdout).strip().splitlines()
        return Ended(drill=drill, exit_code=done.returncode, outcome="none", detail=said[-1] if said else "")
    source = fleet.paths.drills_dir / view["run_id"]
    kept = keep_run(source)
    try:
        report = store.read_report(kept)
    except TrinityError:
        report = None
    return Ended(
        drill=drill,
        exit_code=done.returncode,
        outcome=view["outcome"],
        detail=view["detail"],
        report=report,
        run_dir=str(kept),
    )


def core_drills() -> list[str]:
    """The names of the shipped drills tagged `core`."""
    from backend.drills.library import load

    return [name for name in library() if "core" in load(name).scenario.tags]
