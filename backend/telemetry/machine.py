"""The machine under the fleet: CPU and memory in use, as limits of control groups leave them. Reads /proc and /sys.

Owns one reading a call, cheap enough for the event loop (well under a millisecond). Never samples on its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import msgspec
import psutil

from backend.contract.clock import Clock

CGROUP_ROOT: Final = Path("/sys/fs/cgroup")
SELF_CGROUP: Final = Path("/proc/self/cgroup")

FRESH_S: Final = 0.5


class MachineReading(msgspec.Struct, frozen=True, kw_only=True):
    """CPU and memory at one instant. Percentages are of what this process tree may use."""

    ts: float
    cpu_percent: float | None
    """Since the reading before, 0..100; null at the first one."""
    memory_percent: float
    memory_used_bytes: int
    memory_available_bytes: int
    memory_total_bytes: int
    cores: float
    """Cores that may be used; a quota can make it a fraction."""
    limited_by: Literal["machine", "cgroup"]


class CgroupLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What the control groups above this process allow; null where they do not limit."""

    memory_max_bytes: int | None = None
    memory_used_bytes: int | None = None
    """Of the group that sets `memory_max_bytes`, without its reclaimable page cache."""
    cpu_cores: float | None = None
    cpu_usage_s: float | None = None
    """CPU seconds used so far by the group that sets `cpu_cores`."""


def own_groups(root: Path = CGROUP_ROOT, membership: Path = SELF_CGROUP) -> tuple[Path, ...]:
    """The version 2 groups this process is in, innermost first; empty where there are none (version 1, no Linux)."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return ()
    relative = next((line[3:] for line in lines if line.startswith("0::")), None)
    if relative is None or not (root / "cgroup.controllers").exists():
        return ()
    parts = [part for part in relative.split("/") if part not in ("", "..")]
    groups = [root.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1)]
    return tuple(group for group in groups if group.is_dir())


def read_limits(groups: tuple[Path, ...]) -> CgroupLimits:
    """The tightest memory and CPU limit along the groups. Unreadable files count as no limit."""
    memory: tuple[int, Path] | None = None
    cpu: tuple[float, Path] | None = None
    for group in groups:
        limit = _read_word(group / "memory.max")
        if limit and limit.isdigit() and (memory is None or int(limit) < memory[0]):
            memory = (int(limit), group)
        quota = _read_words(group / "cpu.max")
        if len(quota) == 2 and quota[0].isdigit() and int(quota[1]) > 0:
            cores = int(quota[0]) / int(quota[1])
            if cpu is None or cores < cpu[0]:
                cpu = (cores, group)
    return CgroupLimits(
        memory_max_bytes=memory[0] if memory else None,
        memory_used_bytes=_memory_used(memory[1]) if memory else None,
        cpu_cores=cpu[0] if cpu else None,
        cpu_usage_s=_cpu_usage(cpu[1]) if cpu else None,
    )


class MachineMeter:
    """Reads the machine; CPU is the share since the reading before."""

    def __init__(self, clock: Clock, *, groups: tuple[Path, ...] | None = None) -> None:
        self._clock = clock
        self._groups = own_groups() if groups is None else groups
        self._last_group: tuple[float, float] | None = None  # (mono, cpu seconds)
        self._last: tuple[float, MachineReading] | None = None  # (mono, reading)
        self._primed = False

    def read(self) -> MachineReading:
        """A reading at most half a second old, so that several readers do not cut each other's CPU share short."""
        mono = self._clock.mono()
        if self._last is None or not 0.0 <= mono - self._last[0] < FRESH_S:
            self._last = (mono, self._read())
        return self._last[1]

    def _read(self) -> MachineReading:
        limits = read_limits(self._groups)
        virtual = psutil.virtual_memory()
        total, available = int(virtual.total), int(virtual.available)
        limited = False
        if limits.memory_max_bytes is not None and limits.memory_max_bytes < total:
            limited = True
            total = limits.memory_max_bytes
            available = min(available, max(total - (limits.memory_used_bytes or 0), 0))
        cores = float(psutil.cpu_count() or 1)
        cpu: float | None = psutil.cpu_percent(None)
        if not self._primed:
            cpu, self._primed = None, True
        if limits.cpu_cores is not None and limits.cpu_cores < cores:
            limited, cores = True, limits.cpu_cores
            cpu = self._group_percent(limits.cpu_usage_s, cores)
        used = total - available
        return MachineReading(
            ts=self._clock.now(),
            cpu_percent=cpu,
            memory_percent=100.0 * used / total if total else 0.0,
            memory_used_bytes=used,
            memory_available_bytes=available,
            memory_total_bytes=total,
            cores=cores,
            limited_by="cgroup" if limited else "machine",
        )

    def _group_percent(self, usage_s: float | None, cores: float) -> float | None:
        mono = self._clock.mono()
        before, self._last_group = self._last_group, None if usage_s is None else (mono, usage_s)
        if before is None or usage_s is None or mono <= before[0]:
            return None
        share = (usage_s - before[1]) / (mono - before[0]) / cores
        return 100.0 * min(max(share, 0.0), 1.0)


def _read_words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def _read_word(path: Path) -> str | None:
    return next(iter(_read_words(path)), None)


def _stat(path: Path, key: str) -> int | None:
    words = _read_words(path)
    return next((int(value) for name, value in zip(words[::2], words[1::2], strict=False) if name == key), None)


def _memory_used(group: Path) -> int | None:
    current = _read_word(group / "memory.current")
    if current is None:
        return None
    # What the kernel would give back at once is not in use: the same reckoning as the kubelet's working set.
    return max(int(current) - (_stat(group / "memory.stat", "inactive_file") or 0), 0)


def _cpu_usage(group: Path) -> float | None:
    usage = _stat(group / "cpu.stat", "usage_usec")
    return None if usage is None else usage / 1e6
