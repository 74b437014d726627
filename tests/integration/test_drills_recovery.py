"""A controller killed with -9 in the middle of a fault: the warden undoes it, the next daemon reports it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.contract.words import Phase
from backend.drills import processes, recovery, store, undo_log, warden
from backend.drills.faults import undoing
from tests.integration.drill_fakes import CLOCK, KILL, FakeHost, until
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
    wait_for(lambda: all(processes.state(pid) != "T" for pid in pids.values()), timeout_s=30.0)  # its lease is longer
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
        await until(lambda: host.member(victim).phase != Phase.READY)
        (recovered,) = await recovery.recover(host, CLOCK, tmp_path)
    assert recovered.outcome == "dirty"
    assert store.read_report(tmp_path / run_id).exit_code == 5
    assert [run.run_id for run in recovery.scan_dirty(tmp_path)] == [run_id], "offered again until it is proven"


async def test_a_warden_slower_than_the_next_daemon_overturns_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It heard of its controller's death late, and says last that the hold is left to the next daemon."""
    run_dir = store.create(tmp_path, "r1", KILL)
    hold = undo_log.Undo(
        id="kill", kind="release-hold", run_id="r1", workload="llm", replica="llm-0", pid=1, mark="m",
        written_ts=CLOCK.now(), ttl_s=60.0,
    )  # fmt: skip
    undo_log.append(run_dir, hold)
    append = undo_log.append

    def then_the_warden(run_dir: Path, *entries: undo_log.Entry) -> None:
        append(run_dir, *entries)
        if any(isinstance(entry, undo_log.Result) for entry in entries):
            late = warden.undo_without_daemon(hold, "the controller is gone")
            assert isinstance(late, undo_log.Result)
            append(run_dir, late)

    monkeypatch.setattr(undo_log, "append", then_the_warden)
    async with FakeHost() as host:
        (recovered,) = await recovery.recover(host, CLOCK, tmp_path)
    assert recovered.outcome == "aborted-clean", recovered
    assert recovered.undos[0].by == "recovery"
    assert recovery.scan_dirty(tmp_path) == []


async def test_a_damaged_undo_log_is_dirty(tmp_path: Path) -> None:
    run_dir = store.create(tmp_path, "r1", KILL)
    (run_dir / undo_log.FILE_NAME).write_bytes(b"nonsense\n")
    async with FakeHost() as host:
        (recovered,) = await recovery.recover(host, CLOCK, tmp_path)
    assert recovered.outcome == "dirty"
