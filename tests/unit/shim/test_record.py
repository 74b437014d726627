"""Records of shims and the identity of their processes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from backend.contract.shim import InheritedFile
from backend.drills import processes
from backend.shim.record import is_same_process, read_record, start_ticks, write_atomic
from backend.shim.spawn import first_start_number


def test_a_pid_with_another_start_time_is_another_process() -> None:
    ticks = start_ticks(os.getpid())
    assert ticks is not None
    assert is_same_process(os.getpid(), ticks)
    assert not is_same_process(os.getpid(), ticks - 1)
    assert not is_same_process(None, ticks)


def test_a_zombie_counts_as_gone() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert start_ticks(child.pid) is None
    child.wait()


def test_files_are_replaced_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"shim_pid": 1}'])
def test_what_is_no_record_reads_as_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(text)
    assert read_record(path) is None


def test_start_numbers_rise_over_counter_and_files(tmp_path: Path) -> None:
    files = (InheritedFile(path=str(tmp_path / "access-{start}.log"), fd=4),)
    counter = tmp_path / "starts"
    assert first_start_number(counter, files) == 0
    (tmp_path / "access-00000007.log").touch()
    (tmp_path / "access-other.log").touch()
    assert first_start_number(counter, files) == 7
    counter.write_text("9")
    assert first_start_number(counter, files) == 9
    counter.write_text("rubbish")
    assert first_start_number(counter, files) == 7


def test_a_shims_start_is_the_mark_by_which_drills_know_a_process() -> None:
    """A holder's mark is written from the one and read by the other (warden, proxies)."""
    assert str(start_ticks(os.getpid())) == processes.start_mark(os.getpid())
