"""Small state files: whole whoever else writes them, and as they were where they cannot be written."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from backend.config.atomic_file import write_atomically


def test_a_file_is_there_with_its_mode_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_atomically(path, b"first")
    assert path.stat().st_mode & 0o777 == 0o600
    write_atomically(path, b"2", mode=0o640)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"2", 0o640)
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_is_written_over(tmp_path: Path) -> None:
    (tmp_path / ".state.json.part").write_bytes(b"half of something longer")
    write_atomically(tmp_path / "state.json", b"whole")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("state.json", b"whole")]


def test_where_it_cannot_be_written_the_old_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.json"
    write_atomically(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    monkeypatch.undo()
    write_atomically(path, b"newer")
    assert path.read_bytes() == b"newer"


def test_a_second_writer_waits_for_the_first_and_both_write_whole_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a task is cancelled whose write goes on in its thread, and the next one writes the same file."""
    path, fsync = tmp_path / "state.json", os.fsync
    begun, go_on = threading.Event(), threading.Event()
    failed: list[BaseException] = []

    def slow(descriptor: int) -> None:
        if threading.current_thread().name == "first":
            begun.set()
            go_on.wait(60)
        fsync(descriptor)

    def write(raw: bytes) -> None:
        try:
            write_atomically(path, raw)
        except BaseException as error:
            failed.append(error)

    monkeypatch.setattr(os, "fsync", slow)
    first = threading.Thread(target=write, args=(b"the first and longer one",), name="first")
    second = threading.Thread(target=write, args=(b"the second",), name="second")
    first.start()
    assert begun.wait(60)
    second.start()
    second.join(0.3)
    go_on.set()
    first.join()
    second.join()
    assert (failed, path.read_bytes()) == ([], b"the second")
    assert list(tmp_path.iterdir()) == [path]
