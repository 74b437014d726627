"""Logs of replicas that are gone are kept for a while, then deleted; others never."""

from __future__ import annotations

import os
from pathlib import Path

from backend.ledger.log_retention import prune_logs


def written(logs: Path, replica: str, ts: float) -> Path:
    directory = logs / replica
    directory.mkdir(parents=True)
    for name in ("current.log", "1.log"):
        (directory / name).write_text("x")
        os.utime(directory / name, (ts, ts))
    return directory


def test_only_old_logs_of_departed_replicas_go(tmp_path: Path) -> None:
    old, fresh = written(tmp_path, "llm-7", 100.0), written(tmp_path, "llm-8", 900.0)
    living = written(tmp_path, "llm-0", 100.0)
    (tmp_path / "trinityd.log").write_text("ours")
    assert prune_logs(tmp_path, {"llm-0"}, older_than_ts=500.0) == ["llm-7"]
    assert not old.exists()
    assert fresh.is_dir()
    assert living.is_dir()
    assert (tmp_path / "trinityd.log").exists()


def test_a_folder_with_folders_inside_is_left(tmp_path: Path) -> None:
    strange = written(tmp_path, "mine", 100.0)
    (strange / "inner").mkdir()
    assert prune_logs(tmp_path, set(), older_than_ts=500.0) == []
    assert strange.is_dir()


def test_no_folder_is_no_error(tmp_path: Path) -> None:
    assert prune_logs(tmp_path / "none", set(), older_than_ts=1.0) == []
