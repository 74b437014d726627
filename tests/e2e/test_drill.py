"""A shipped drill, end to end: it passes on a good fleet, fails on a bad one, and undoes its fault."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.e2e.harness import PATIENCE_S, RealFleet, real_fleet, wait_for

pytestmark = pytest.mark.alone

DRILL = "llm-replica-kill"
SMALL = ("--confidence", "0.9", "--max-generator-lag", "1s")
"""Samples of 29 requests: what is asked here is whether it passes, not how much that proves."""
NO_RETRIES = """\
trinity: 1
edge: {retries: false}
workloads:
  llm: {builtin: llm}
"""


@pytest.mark.timeout(600)
def test_drill_passes_headless_and_writes_json_and_junit(fleet: RealFleet, tmp_path: Path) -> None:
    done = fleet.trinity("drill", "run", DRILL, *SMALL, "--json", "--out", str(tmp_path), check=False, timeout_s=500.0)
    assert done.returncode == 0, done.stdout + done.stderr
    view = json.loads(done.stdout)
    assert view["outcome"] == "pass"
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["outcome"] == "pass"
    suite = ElementTree.parse(tmp_path / "junit.xml").getroot()
    cases = list(suite.iter("testcase"))
    assert cases
    assert not list(suite.iter("failure"))
    died = [event for event in fleet.events() if event.kind == "replica.died"]
    assert len(died) == 1
    injected = [action for action in fleet.actions() if action.verb == "inject"]
    assert [(a.actor.split(":")[0], a.outcome) for a in injected] == [("drill", "ok")]
    assert fleet.trinity("drill", "verify", view["run_id"]).returncode == 0


@pytest.mark.timeout(600)
def test_interrupted_drill_undoes_its_fault_and_says_so(fleet: RealFleet) -> None:
    fleet.until_ready(2)
    run = fleet.start("drill", "run", DRILL)
    wait_for(lambda: (view := fleet.snapshot().drill) and view.phase == "baseline", 90.0, "baseline")
    run.send_signal(signal.SIGINT)
    assert run.wait(60) == 3, "aborted clean"
    view = fleet.snapshot().drill
    assert view is not None
    assert view.outcome == "aborted-clean"
    fleet.until_ready(2)


@pytest.mark.timeout(600)
def test_drill_goes_on_when_its_watcher_dies(fleet: RealFleet) -> None:
    fleet.until_ready(2)
    run = fleet.start("drill", "run", DRILL)
    wait_for(lambda: (view := fleet.snapshot().drill) and view.phase == "baseline", 90.0, "baseline")
    os.kill(run.pid, signal.SIGKILL)
    run.wait(PATIENCE_S)
    view = fleet.snapshot().drill
    assert view is not None
    assert view.outcome == "running"
    assert fleet.trinity("drill", "panic").returncode == 0
    refused = fleet.trinity("drill", "run", DRILL, check=False)
    assert refused.returncode == 7, refused.stderr
    fleet.trinity("drill", "allow")
    fleet.until_ready(2)


@pytest.mark.timeout(600)
def test_drill_fails_when_the_edge_does_not_retry(tmp_path: Path) -> None:
    (tmp_path / "no-retries.yaml").write_text(NO_RETRIES)
    with real_fleet("--file", str(tmp_path / "no-retries.yaml")) as fleet:
        done = fleet.trinity("drill", "run", DRILL, *SMALL, check=False, timeout_s=500.0)
        assert done.returncode == 1, done.stdout + done.stderr
        assert "failed" in done.stdout
