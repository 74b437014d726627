"""Core drills on the real default fleet, with small samples, the same on pods, and known-bad builds that they must see.

Every core drill and every mutant with full samples is `make certify`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import mutants
from tests.e2e.embedding_cluster import embedding_cluster
from tests.e2e.harness import RealFleet, real_fleet
from tests.mutants.table import MUTANTS

pytestmark = pytest.mark.alone
SMALL = ("--confidence", "0.97", "--max-generator-lag", "1s")
FAILOVER = "embedding-failover"


@pytest.fixture(scope="module")
def whole() -> Iterator[RealFleet]:
    """The built-in default: two llm and three embedding replicas."""
    with real_fleet(yaml=None) as fleet:
        yield fleet


def passes(fleet: RealFleet, drill: str) -> Path:
    """Run a drill, which must pass and be confirmed by its ledger; the folder of its run."""
    done = fleet.trinity("drill", "run", drill, "--json", *SMALL, check=False, timeout_s=500.0)
    assert done.returncode == 0, done.stdout + done.stderr
    view = json.loads(done.stdout)
    assert view["outcome"] == "pass"
    assert fleet.trinity("drill", "verify", view["run_id"]).returncode == 0
    return fleet.paths.drills_dir / str(view["run_id"])


@pytest.fixture(scope="module")
def failover(whole: RealFleet) -> Path:
    """The run of the embedding failover on this machine's processes."""
    return passes(whole, FAILOVER)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("drill", ["replica-latency", "edge-kill", "poison-request"])
def test_core_drill_passes_and_its_report_can_be_recomputed(whole: RealFleet, drill: str) -> None:
    passes(whole, drill)


@pytest.mark.timeout(600)
def test_the_embedding_failover_passes_on_processes_and_on_pods_and_its_reports_compare(failover: Path) -> None:
    """The file as it is shipped; the pods run the same program, with the chart's probes."""
    with embedding_cluster("direct") as pods:
        first = {view.status.name for view in pods.snapshot().replicas}
        run = passes(pods, FAILOVER)
        compared = pods.trinity("drill", "compare", str(failover), run.name)
        one, other = (json.loads((path / "report.json").read_text()) for path in (failover, run))
    print(compared.stdout)
    assert "failures 0 of" in compared.stdout
    assert "The drivers differ (local and kubernetes)" in compared.stderr
    assert (one["driver"], other["driver"]) == ("local", "kubernetes")
    assert one["scenario_digest"] == other["scenario_digest"], "it is the same file"
    for report in (one, other):
        for phase in report["phases"]:
            (load,) = phase["loads"]
            assert load["failed"] == load["wrong"] == load["shed"] == 0, phase["name"]
            assert load["ok"] + load["slow"] == load["arrivals"] > 0, phase["name"]
    killed = [fault["stamps"]["replica"] for fault in other["faults"]]
    assert len(set(killed)) == 2
    assert set(killed) <= first, "two seats lost their pods, not one seat twice"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["watchdog-off", "kill-cap-off", "edge-respawn-off", "fault-noop:replica-latency"])
def test_known_bad_build_turns_its_drill_red(name: str, tmp_path: Path) -> None:
    mutant, log = MUTANTS[name], tmp_path / "mutant.log"
    with RealFleet(yaml=None, **mutants.environment(name, log)) as fleet:
        fleet.up()
        done = fleet.trinity("drill", "run", mutant.drill, "--json", *SMALL, check=False, timeout_s=500.0)
        assert done.stdout, done.stderr
        view = json.loads(done.stdout)
        assert view["outcome"] in mutant.outcomes, view
        assert done.returncode != 0
    broken = {what for what, _ in mutants.applied(log)}
    assert {f"{change.module}.{change.target}" for change in mutant.mutations} <= broken
