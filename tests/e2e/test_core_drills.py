"""Core drills on the real default fleet, with small samples, and known-bad builds of it that they must see.

Every core drill and every mutant with full samples is `make certify`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import mutants
from tests.e2e.harness import RealFleet, real_fleet
from tests.mutants.table import MUTANTS

pytestmark = pytest.mark.alone
SMALL = ("--confidence", "0.97")


@pytest.fixture(scope="module")
def whole() -> Iterator[RealFleet]:
    """The built-in default: two llm and three embedding replicas."""
    with real_fleet(yaml=None) as fleet:
        yield fleet


@pytest.mark.timeout(240)
@pytest.mark.parametrize("drill", ["embedding-failover", "replica-latency", "edge-kill", "poison-request"])
def test_core_drill_passes_and_its_report_can_be_recomputed(whole: RealFleet, drill: str) -> None:
    done = whole.trinity("drill", "run", drill, "--json", *SMALL, check=False, timeout_s=220.0)
    assert done.returncode == 0, done.stdout + done.stderr
    view = json.loads(done.stdout)
    assert view["outcome"] == "pass"
    assert whole.trinity("drill", "verify", view["run_id"]).returncode == 0


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", ["watchdog-off", "kill-cap-off", "edge-respawn-off", "fault-noop:replica-latency"])
def test_known_bad_build_turns_its_drill_red(name: str, tmp_path: Path) -> None:
    mutant, log = MUTANTS[name], tmp_path / "mutant.log"
    with RealFleet(yaml=None, **mutants.environment(name, log)) as fleet:
        fleet.up()
        done = fleet.trinity("drill", "run", mutant.drill, "--json", *SMALL, check=False, timeout_s=220.0)
        assert done.stdout, done.stderr
        view = json.loads(done.stdout)
        assert view["outcome"] in mutant.outcomes, view
        assert done.returncode != 0
    broken = {what for what, _ in mutants.applied(log)}
    assert {f"{change.module}.{change.target}" for change in mutant.mutations} <= broken
