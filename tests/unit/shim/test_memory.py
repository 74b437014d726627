from __future__ import annotations

import os
import subprocess
from pathlib import Path

from backend.shim.memory import MemoryCgroup, ResidentWatch, descendants, resident_bytes


def test_descendants_and_memory_of_this_process() -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        family = descendants(os.getpid())
        assert family[0] == os.getpid()
        assert child.pid in family
        assert resident_bytes(family) > resident_bytes([child.pid]) > 0
    finally:
        child.kill()
        child.wait()
    assert resident_bytes([child.pid]) == 0


def test_a_watch_compares_with_its_limit() -> None:
    assert ResidentWatch(os.getpid(), 1024).exceeded(0.0)
    assert not ResidentWatch(os.getpid(), 1 << 50).exceeded(0.0)


def make_parent(root: Path, controllers: str) -> Path:
    (root / "cgroup.subtree_control").write_text(controllers)
    return root


def test_a_cgroup_gets_its_limit(tmp_path: Path) -> None:
    cgroup = MemoryCgroup.create("llm-1", 1 << 29, parent=make_parent(tmp_path, "cpu memory\n"))
    assert cgroup is not None
    assert (cgroup.path / "memory.max").read_text() == str(1 << 29)
    assert (cgroup.path / "memory.oom.group").read_text() == "1"


def test_no_cgroup_without_the_memory_controller(tmp_path: Path) -> None:
    assert MemoryCgroup.create("llm-1", 1, parent=make_parent(tmp_path, "cpu pids")) is None
    assert [path.name for path in tmp_path.iterdir()] == ["cgroup.subtree_control"]
    assert MemoryCgroup.create("llm-1", 1, parent=tmp_path / "nowhere") is None


def test_the_kernels_kill_is_read_from_its_events(tmp_path: Path) -> None:
    cgroup = MemoryCgroup(tmp_path)
    assert not cgroup.killed_by_kernel()
    (tmp_path / "memory.events").write_text("low 0\nmax 12\noom 1\noom_kill 0\n")
    assert not cgroup.killed_by_kernel()
    (tmp_path / "memory.events").write_text("low 0\nmax 12\noom 1\noom_kill 2\n")
    assert cgroup.killed_by_kernel()
