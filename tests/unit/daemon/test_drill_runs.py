"""Finished runs as the control API tells of them: read from their directories, whatever else lies there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from backend.contract.errors import UsageError
from backend.daemon.drill_runs import DrillShelf
from backend.drills.library import library


def finished(drills: Path, run_id: str, started_ts: float, **report: Any) -> Path:
    run_dir = drills / run_id
    run_dir.mkdir(parents=True)
    (run_dir / "scenario.yaml").write_text("drill: 1\n")
    fault = {"id": "k", "fault": "net.reset", "target": "pool", "workload": "llm", "replicas": ["llm-0", "llm-1"]}
    fault |= {"t_command": 103.0, "t_effective": 103.5, "t_first_failover_ok": 103.6}
    record = {
        "started_mono_s": 100.0,
        "phases": [{"name": "baseline", "start_s": 101.0, "end_s": 102.0}],
        "faults": [{**fault, "t_detected": 103.54, "verified": True}],
    }
    body = {"run_id": run_id, "name": "kill", "outcome": "pass", "started_ts": started_ts, "reasons": ["held"]}
    (run_dir / "report.json").write_text(json.dumps({**body, "ended_ts": started_ts + 30, "record": record, **report}))
    return run_dir


async def test_runs_are_newest_first_with_instants_since_their_start(tmp_path: Path) -> None:
    for number in range(3):
        run_dir = finished(tmp_path, f"r{number}", 1000.0 + number)
        stamp = 1_700_000_000 + number
        os.utime(run_dir / "scenario.yaml", (stamp, stamp))
    found = await DrillShelf(tmp_path).runs(2)
    assert [view.run_id for view in found] == ["r2", "r1"]
    (fault,), (phase,) = found[0].faults, found[0].timeline
    assert (fault.command_s, fault.effective_s, fault.victims) == (3.0, 3.5, ("llm-0", "llm-1"))
    assert fault.failover_s == pytest.approx(3.6)
    assert (phase.start_s, phase.end_s) == (1.0, 2.0)
    assert (found[0].elapsed_s, found[0].detail) == (30.0, "held")
    assert (await DrillShelf(tmp_path).last())["kill"].run_id == "r2"


async def test_what_is_unfinished_or_damaged_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "running").mkdir()
    (tmp_path / "running" / "scenario.yaml").write_text("")
    (finished(tmp_path, "torn", 1.0) / "report.json").write_text('{"run_id"')
    shelf = DrillShelf(tmp_path)
    assert await shelf.runs(10) == []
    with pytest.raises(UsageError, match=r"has no report\.json"):
        await shelf.file("running", "json")


@pytest.mark.parametrize("run_id", ["", "nobody", "../kept", ".", "a/b"])
async def test_a_run_is_named_by_its_directory_and_nothing_else(tmp_path: Path, run_id: str) -> None:
    finished(tmp_path, "kept", 1.0)
    with pytest.raises(UsageError, match="no drill run"):
        await DrillShelf(tmp_path / "inside").file(run_id, "json")
    with pytest.raises(UsageError, match="no report kind"):
        await DrillShelf(tmp_path).file("kept", "pdf")


async def test_shipped_drills_are_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = DrillShelf(tmp_path)
    first = await shelf.drills()
    assert len(first) == len(library())
    monkeypatch.setattr("backend.daemon.drill_runs.load", lambda name: pytest.fail(f"{name} is read again"))
    assert [one is other for one, other in zip(first, await shelf.drills(), strict=True)] == [True] * len(first)
    with pytest.raises(UsageError, match="no drill named"):
        await shelf.drill("nobody")
