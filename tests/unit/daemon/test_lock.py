"""One daemon per state directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from backend.daemon.lock import AlreadyRunning, DaemonLock


def test_a_second_daemon_is_told_the_pid_of_the_first(tmp_path: Path) -> None:
    lock = DaemonLock(tmp_path / "lock")
    with pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}") as caught:
        DaemonLock(tmp_path / "lock")
    assert caught.value.pid == os.getpid()
    lock.release()
    DaemonLock(tmp_path / "lock").release()


def test_the_lock_ends_with_its_process_however_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = "import sys, time; from pathlib import Path; from backend.daemon.lock import DaemonLock\n"
    code += f"lock = DaemonLock(Path({str(path)!r})); print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    with holder.stdout:
        holder.stdout.readline()
        with pytest.raises(AlreadyRunning):
            DaemonLock(path)
        holder.kill()
        holder.wait(30)
    DaemonLock(path).release()


def test_a_pid_shorter_than_the_last_one_leaves_no_digits_behind(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("123456789")
    lock = DaemonLock(tmp_path / "lock")
    assert (tmp_path / "lock").read_text() == str(os.getpid())
    lock.release()


def test_a_lock_that_was_let_go_is_free_though_a_child_on_its_way_still_has_its_file(tmp_path: Path) -> None:
    """Between fork and exec a child of a neighbour holds each descriptor of ours."""
    lock = DaemonLock(tmp_path / "lock")
    childs = os.dup(lock._fd)
    lock.release()
    try:
        DaemonLock(tmp_path / "lock").release()
    finally:
        os.close(childs)
