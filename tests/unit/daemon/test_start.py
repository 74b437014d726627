"""What a daemon does first: two that start at once on one state directory, and one of them holds it."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.config.paths import StatePaths
from backend.daemon.lock import AlreadyRunning
from backend.daemon.main import _prepare


def test_of_two_that_start_at_once_one_holds_the_directory_and_neither_finds_it_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    paths, write_bytes = StatePaths(tmp_path / "state"), Path.write_bytes

    def written_and_taken_away(path: Path, data: bytes) -> int:
        """As where the other one is a step ahead: what it made for its own look at the disk is the same file."""
        size = write_bytes(path, data)
        path.unlink()
        return size

    monkeypatch.setattr(Path, "write_bytes", written_and_taken_away)
    lock = _prepare(paths)
    with pytest.raises(AlreadyRunning):
        _prepare(paths)
    lock.release()
