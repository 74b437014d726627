"""Where files go, and the sentence when they cannot."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from backend.config.paths import StatePaths, default_state_dir, state_dir_error


def test_state_directory_is_named_by_trinity_state_then_xdg_then_home(tmp_path: Path) -> None:
    assert default_state_dir({"TRINITY_STATE": str(tmp_path / "a"), "XDG_STATE_HOME": "/x"}) == tmp_path / "a"
    assert default_state_dir({"XDG_STATE_HOME": str(tmp_path)}) == tmp_path / "trinity"
    assert default_state_dir({}) == (Path.home() / ".local" / "state" / "trinity").resolve()


def test_two_state_directories_share_no_run_directory() -> None:
    assert StatePaths(Path("/a")).run_dir != StatePaths(Path("/b")).run_dir


def test_sockets_stay_short_however_long_the_state_path_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    paths = StatePaths(Path("/" + "long/" * 60))
    assert len(str(paths.shim_socket("a" * 32 + "-63"))) < 100


def test_directories_are_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    (tmp_path / "run").mkdir()
    paths = StatePaths(tmp_path / "state").create()
    for made in (paths.state_dir, paths.run_dir, paths.ledger_dir, paths.logs_dir):
        assert made.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "no space is left"),
        (errno.EDQUOT, "quota"),
        (errno.EACCES, "may not write"),
        (errno.EROFS, "read-only"),
        (errno.EEXIST, "it is a file"),
        (errno.ENOTDIR, "is a file, not a directory"),
        (errno.ENAMETOOLONG, "too long"),
        (errno.EIO, os.strerror(errno.EIO).lower()),
    ],
)
def test_each_cause_is_told_in_words(number: int, words: str) -> None:
    error = state_dir_error(StatePaths(Path("/s")), OSError(number, os.strerror(number), "/s/ledger"))
    assert words in error.message
    assert "/s" in error.message
    assert "--state" in error.next_step


def test_a_run_directory_that_fails_is_named_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/r")
    paths = StatePaths(Path("/s"))
    error = state_dir_error(paths, OSError(errno.EACCES, "", str(paths.run_dir)))
    assert error.message.startswith("The run directory /r/")
    assert "XDG_RUNTIME_DIR" in error.next_step
