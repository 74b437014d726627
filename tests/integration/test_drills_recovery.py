"""A controller killed with -9 in the middle of a fault: the warden undoes it, the next daemon reports it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.drills import processes, recovery, store, undo_log
from backend.drills.faults import undoing
from tests.integration.drill_fakes import CLOCK, KILL, FakeHost
from tests.integration.test_drills_run import STOP
from tests.integration.test_drills_warden import ROOT, wait_for

CONTROLLER = """
import asyncio, json, sys
from pathlib import Path
from backend.drills.check import load_scenario
from backend.drills.runner import DrillRunner
from tests.integration.drill_fakes import CLOCK, FakeHost, FakeLoads

async def main():
    async with FakeHost() as host:
        runner = DrillRunner(host, FakeLoads(host), CLOCK, Path(sys.argv[1]))
        run_id = await runner.start(load_scenario(sys.argv[2], "t.yaml"), actor="cli:test")
        while not {"drill.effective", "drill.ended"} & set(host.kinds()):
            await asyncio.sleep(0.002)
        pids = {member.name: member.pid for member in host.members} | {"edge": host.edge().pid}
        print(json.dumps({"run": run_id, "pids": pids}), flush=True)
        await runner.wait(run_id)

asyncio.run(main())
"""


@pytest.fixture
def crashed(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[str, dict[str, int]]]:
    """A run whose controller died -9 right after its fault took effect: run id and the pids it left behind."""
    controller = subprocess.Popen(
        [sys.executable, "-c", CONTROLLER, str(tmp_path), request.param], stdout=subprocess.PIPE, cwd=ROOT
    )
    assert controller.stdout is not None
    said = json.loads(controller.stdout.readline())
    controller.kill()
    controller.wait()
    controller.stdout.close()
    yield said["run"], {name: pid for name, pid in said["pids"].items() if pid}
    for pid in said["pids"].values():
        if pid and processes.state(pid) is not None:
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("crashed", [STOP.replace("700ms", "20s")], indirect=True)
async def test_a_stop_is_undone_without_any_daemon(tmp_path: Path, crashed: tuple[str, dict[str, int]]) -> None:
    run_id, pids = crashed
    assert wait_for(lambda: all(processes.state(pid) != "T" for pid in pids.values())) < 1.5
    wait_for(lambda: undo_log.pending(undo_log.read(tmp_path / run_id)) == [])
    assert [run.run_id for run in recovery.scan_dirty(tmp_path)] == [run_id]
    async with FakeHost() as host:
        (recovered,) = await recovery.recover(host, CLOCK, tmp_path)
        assert recovery.scan_dirty(tmp_path) == []
        assert await recovery.recover(host, CLOCK, tmp_path) == []
        assert "drill.recovered" in host.kinds()
    assert recovered.outcome == "aborted-clean"
    report = store.read_report(tmp_path / run_id)
    assert (report.outcome, report.exit_code) == ("aborted-clean", 3)
    assert report.record.undo[0].by == "warden"


HELD = KILL.replace("verify: [pid_gone]", "respawn: held, verify: [pid_gone]").replace("700ms", "20s")


@pytest.mark.parametrize("crashed", [HELD], indirect=True)
async def test_a_hold_is_released_by_the_next_daemon(tmp_path: Path, crashed: tuple[str, dict[str, int]]) -> None:
    run_id, _ = crashed
    (dirty,) = recovery.scan_dirty(tmp_path)
    assert [undo.kind for undo in dirty.pending] == ["release-hold"]
    async with FakeHost() as host:
        victim = host.member(dirty.pending[0].replica)
        victim.held = True
        (recovered,) = await recovery.recover(host, CLOCK, tmp_path)
        assert not victim.held
    assert recovered.outcome == "aborted-clean"
    assert recovered.undos[0].by == "recovery"
    assert store.read_report(tmp_path / run_id).exit_code == 3


@pytest.mark.parametrize("crashed", [HELD], indirect=True)
async def test_what_cannot_be_undone_stays_dirty(
    tmp_path: Path, crashed: tuple[str, dict[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, _ = crashed
    monkeypatch.setattr(undoing, "READY_TIMEOUT_S", 0.1)
    async with FakeHost() as host:
        host.respawn_s = 1000.0
        victim = recovery.scan_dirty(tmp_path)[0].pending[0].replica
        process = host.member(victim).process
        assert process is not None
        process.kill()
        wait_until_gone = time.monotonic() + 5
        while host.member(victim).phase == "Ready" and time.monotonic() < wait_until_gone:
            await host.in_flight("llm", victim)
            await __import__("asyncio").sleep(0.01)
        (recovered,) = await recovery.recover(host, CLOCK, tmp_path)
    assert recovered.outcome == "dirty"
    assert store.read_report(tmp_path / run_id).exit_code == 5
    assert [run.run_id for run in recovery.scan_dirty(tmp_path)] == [run_id], "offered again until it is proven"


async def test_a_damaged_undo_log_is_dirty(tmp_path: Path) -> None:
    run_dir = store.create(tmp_path, "r1", KILL)
    (run_dir / undo_log.FILE_NAME).write_bytes(b"nonsense\n")
    async with FakeHost() as host:
        (recovered,) = await recovery.recover(host, CLOCK, tmp_path)
    assert recovered.outcome == "dirty"
