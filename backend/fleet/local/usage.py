"""CPU and memory of process trees.

Owns one blocking measurement over all replicas, run off the loop. Keeps the last CPU times to take differences.
"""

from __future__ import annotations

import time
from typing import Final

import psutil

from backend.fleet.supervision.incarnation import Usage
from backend.shim.memory import descendants

_FAMILY_PERIOD_S: Final = 5.0


class _Tree:
    def __init__(self) -> None:
        self.members: dict[int, psutil.Process] = {}
        self.cpu_s: dict[int, float] = {}
        self.measured_s: float | None = None
        self.walked_s = float("-inf")


class UsageMeter:
    """Measures trees by the pid of their root."""

    def __init__(self) -> None:
        self._trees: dict[int, _Tree] = {}

    def measure(self, pids: list[int]) -> dict[int, Usage]:
        """One measurement of each tree whose root lives. Blocks some milliseconds."""
        self._trees = {pid: self._trees.get(pid) or _Tree() for pid in pids}
        measured = {pid: self._measure(pid, tree) for pid, tree in self._trees.items()}
        return {pid: usage for pid, usage in measured.items() if usage is not None}

    def _measure(self, root: int, tree: _Tree) -> Usage | None:
        now = time.monotonic()
        if now - tree.walked_s >= _FAMILY_PERIOD_S:
            tree.walked_s = now
            tree.members = {pid: process for pid in descendants(root) if (process := _process(tree, pid)) is not None}
        cpu_s: dict[int, float] = {}
        memory_bytes = 0
        for pid, process in tree.members.items():
            try:
                with process.oneshot():
                    times = process.cpu_times()
                    memory_bytes += process.memory_info().rss
            except psutil.Error:
                continue
            cpu_s[pid] = times.user + times.system
        if root not in cpu_s:
            return None
        percent = None
        if tree.measured_s is not None and now > tree.measured_s:
            spent = sum(value - tree.cpu_s.get(pid, value) for pid, value in cpu_s.items())
            percent = 100.0 * spent / (now - tree.measured_s)
        tree.cpu_s, tree.measured_s = cpu_s, now
        return Usage(percent, memory_bytes)


def _process(tree: _Tree, pid: int) -> psutil.Process | None:
    known = tree.members.get(pid)
    if known is not None and known.is_running():
        return known
    try:
        return psutil.Process(pid)
    except psutil.Error:
        return None
