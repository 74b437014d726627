"""A drill that kills the daemon: it lives outside of it, whoever dies, and whoever asks it to stop reaches it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.contract.control import DrillView
from backend.contract.errors import Unreachable
from backend.drills import outside
from tests import mutants
from tests.e2e.harness import PATIENCE_S, wait_for
from tests.e2e.light_drill import light_drill_fleet, scenario
from tests.e2e.light_fleet import LightFleet

EXPECT = '["failed(embed) == 0", "restarts(pool) == 0", "recovery(it) <= 60s"]'
KILL = scenario("fault: daemon.kill, target: pool, verify: [daemon_replaced]", name="daemon-kill", expect=EXPECT)
LONG = scenario("fault: daemon.kill, target: pool, verify: [daemon_replaced]", name="long", hold="600s", longest="900s")


@pytest.fixture(scope="module")
def light() -> Iterator[LightFleet]:
    with light_drill_fleet() as fleet:
        for name, text in (("kill", KILL), ("long", LONG)):
            (fleet.root / f"{name}.yaml").write_text(text)
        yield fleet


def run_dir(fleet: LightFleet) -> Path:
    """The newest run's directory, once its observer has announced itself."""

    def newest() -> Path | None:
        found = [path for path in fleet.paths.drills_dir.glob("long-*") if outside.observed(path)]
        return max(found, key=lambda path: path.stat().st_mtime, default=None)

    return wait_for(newest, 60.0, "an observer")


def view(fleet: LightFleet) -> DrillView | None:
    """The drill a daemon shows; None while none answers."""
    try:
        return fleet.snapshot().drill
    except Unreachable:
        return None


def shows(fleet: LightFleet, run_id: str, *, phase: str = "", outcome: str = "running") -> bool:
    seen = view(fleet)
    return seen is not None and (seen.run_id, seen.phase, seen.outcome) == (run_id, phase, outcome)


@pytest.mark.timeout(300)
def test_killed_daemon_is_replaced_and_costs_nothing(light: LightFleet) -> None:
    before, daemon = light.pids(), light.daemon_pid()
    done = light.trinity("drill", "run", "kill.yaml", "--json", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    shown = json.loads(done.stdout)
    assert shown["outcome"] == "pass"
    assert light.pids() == before, "adopted: the same processes"
    assert light.daemon_pid() != daemon
    assert light.trinity("drill", "verify", shown["run_id"]).returncode == 0
    wait_for(lambda: shows(light, shown["run_id"], outcome="pass"), 60.0, "the verdict in the new daemon's snapshot")
    told = [event.kind for event in light.events() if event.subject == shown["run_id"]]
    assert told.count("drill.ended") == 1
    assert told.count("drill.started") == 1


@pytest.mark.timeout(300)
def test_run_outlives_daemon_and_watcher_and_ctrl_c_reaches_it(light: LightFleet) -> None:
    run = light.start("drill", "run", "long.yaml")
    directory = run_dir(light)
    first = light.daemon_pid()
    wait_for(lambda: light.daemon_pid() != first, 60.0, "the next daemon")
    wait_for(lambda: shows(light, directory.name, phase="fault"), 60.0, "the run in the next daemon")
    refused = light.trinity("drill", "run", "kill.yaml", check=False)
    assert refused.returncode == 7, refused.stderr
    light.kill_daemon()
    assert outside.observed(directory), "the run needs no daemon"
    run.send_signal(signal.SIGINT)
    assert run.wait(PATIENCE_S) == 3, "aborted clean"
    assert not outside.observed(directory)
    light.trinity("up")
    light.until_ready(2, "toy")


@pytest.mark.timeout(300)
def test_run_whose_observer_dies_is_finished_by_the_daemon(light: LightFleet) -> None:
    watcher = light.start("drill", "run", "long.yaml", "--detach")
    directory = run_dir(light)
    assert watcher.wait(PATIENCE_S) == 0
    first = light.daemon_pid()
    wait_for(lambda: light.daemon_pid() != first, 60.0, "the next daemon")
    wait_for(lambda: shows(light, directory.name, phase="fault"), 60.0, "the run in the next daemon")
    observer = outside.observer(directory)
    assert observer is not None
    os.kill(observer.pid, signal.SIGKILL)
    wait_for(lambda: shows(light, directory.name, outcome="aborted-clean"), 60.0, "a report of the lost run")


@pytest.mark.timeout(300)
def test_fleet_that_is_not_adopted_fails_the_drill(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with light_drill_fleet(**mutants.environment("adopt-off", log)) as fleet:
        (fleet.root / "kill.yaml").write_text(KILL)
        done = fleet.trinity("drill", "run", "kill.yaml", check=False)
        assert done.returncode == 1, done.stdout + done.stderr
        assert "restarts(pool) == 0" in done.stdout or "failed(embed) == 0" in done.stdout
        daemons = [pid for what, pid in mutants.applied(log) if what.endswith("LocalFleet.adopt")]
        assert fleet.daemon_pid() in daemons
