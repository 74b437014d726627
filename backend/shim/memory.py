"""A program's memory limit: a cgroup v2 of its own where that is allowed, and always the shim's own watch.

Owns measuring the resident memory of a process tree and the life of one cgroup. Never kills: it says when.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

CHECK_PERIOD_S: Final = 0.1
FAMILY_PERIOD_S: Final = 1.0
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def descendants(pid: int) -> list[int]:
    """`pid` and all its living descendants."""
    family, index = [pid], 0
    while index < len(family):
        try:
            tasks = list(Path(f"/proc/{family[index]}/task").iterdir())
        except OSError:
            tasks = []
        for task in tasks:
            try:
                children = (task / "children").read_bytes()
            except OSError:
                continue
            family.extend(int(child) for child in children.split())
        index += 1
    return family


def resident_bytes(pids: list[int]) -> int:
    """Resident memory of the given processes together; those that are gone count nothing."""
    total = 0
    for pid in pids:
        try:
            total += int(Path(f"/proc/{pid}/statm").read_bytes().split()[1])
        except (OSError, IndexError):
            continue
    return total * _PAGE_BYTES


class ResidentWatch:
    """Says when a process tree has more resident memory than `limit_bytes`."""

    def __init__(self, pid: int, limit_bytes: int) -> None:
        self._pid, self._limit_bytes = pid, limit_bytes
        self._family = [pid]
        self._family_at = float("-inf")
        self._counted: list[int] = []

    def count(self, pid: int) -> None:
        """Count another process in, though it is none of the tree."""
        self._counted.append(pid)

    def exceeded(self, mono_s: float) -> bool:
        """Measure now. The tree itself is walked once a second only."""
        if mono_s - self._family_at >= FAMILY_PERIOD_S:
            self._family, self._family_at = descendants(self._pid), mono_s
        return resident_bytes(self._family + self._counted) > self._limit_bytes


class MemoryCgroup:
    """A cgroup v2 with `memory.max`, made for one program and removed after it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, name: str, limit_bytes: int, *, parent: Path | None = None) -> MemoryCgroup | None:
        """A fresh cgroup below our own (or `parent`), or null where the machine does not let us."""
        above = parent or own_cgroup()
        if above is None:
            return None
        path = above / f"trinity-{name}-{os.getpid()}"
        try:
            if "memory" not in (above / "cgroup.subtree_control").read_text().split():
                return None
            path.mkdir()
        except OSError:
            return None
        try:
            (path / "memory.max").write_text(str(limit_bytes))
            (path / "memory.oom.group").write_text("1")
        except OSError:
            cls(path).remove()
            return None
        return cls(path)

    def join(self) -> None:
        """Move the calling process in (in the child, before exec). Raises OSError."""
        (self.path / "cgroup.procs").write_text("0")

    def killed_by_kernel(self) -> bool:
        """Whether the kernel ended a process in it for its memory."""
        try:
            lines = (self.path / "memory.events").read_text().split("\n")
        except OSError:
            return False
        return any(line.startswith("oom_kill ") and int(line.split()[1]) > 0 for line in lines)

    def remove(self) -> None:
        """Remove it; a cgroup that still holds processes is left to the kernel."""
        try:
            self.path.rmdir()
        except OSError:
            return


def own_cgroup() -> Path | None:
    """The cgroup v2 directory of this process, or null where there is none."""
    try:
        mounts = Path("/proc/self/mounts").read_text().split("\n")
        groups = Path("/proc/self/cgroup").read_text().split("\n")
    except OSError:
        return None
    root = next((fields[1] for line in mounts if len(fields := line.split()) > 2 and fields[2] == "cgroup2"), None)
    group = next((line[3:] for line in groups if line.startswith("0::")), None)
    return None if root is None or group is None else Path(root) / group.lstrip("/")
