"""The machine's numbers, with and without the limits of control groups."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from backend.telemetry.machine import MachineMeter, own_groups, read_limits
from tests.unit.telemetry.scenes import SettableClock

KIB = 1024
"""In these: so much memory is free on every machine, however much its tests take."""


@pytest.fixture
def group(tmp_path: Path) -> Path:
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    inner = tmp_path / "box" / "app"
    inner.mkdir(parents=True)
    (tmp_path / "box" / "memory.max").write_text(f"{512 * KIB}\n")
    (tmp_path / "box" / "memory.current").write_text(f"{300 * KIB}\n")
    (tmp_path / "box" / "memory.stat").write_text(f"anon 1\ninactive_file {44 * KIB}\n")
    (inner / "memory.max").write_text("max\n")
    (inner / "cpu.max").write_text("50000 100000\n")
    (inner / "cpu.stat").write_text("usage_usec 1000000\nuser_usec 1\n")
    return inner


def groups_of(inner: Path) -> tuple[Path, ...]:
    return (inner, inner.parent, inner.parent.parent)


def test_groups_are_found_from_the_inside_out(group: Path, tmp_path: Path) -> None:
    membership = tmp_path / "membership"
    membership.write_text("0::/box/app\n")
    assert own_groups(tmp_path, membership) == groups_of(group)


def test_no_groups_on_version_1_or_elsewhere(tmp_path: Path) -> None:
    membership = tmp_path / "membership"
    assert own_groups(tmp_path, membership) == ()
    membership.write_text("4:memory:/box\n")
    assert own_groups(tmp_path, membership) == ()


def test_the_tightest_limit_of_all_groups_counts(group: Path) -> None:
    limits = read_limits(groups_of(group))
    assert limits.memory_max_bytes == 512 * KIB
    assert limits.memory_used_bytes == 256 * KIB
    assert limits.cpu_cores == 0.5
    assert limits.cpu_usage_s == 1.0


def test_shares_are_of_what_the_group_allows(group: Path) -> None:
    clock = SettableClock()
    meter = MachineMeter(clock, groups=groups_of(group))
    first = meter.read()
    assert first.cpu_percent is None
    assert first.memory_percent == 50.0
    assert first.memory_available_bytes == 256 * KIB
    clock.wall += 2.0
    (group / "cpu.stat").write_text("usage_usec 1250000\n")
    second = meter.read()
    assert second.cpu_percent == pytest.approx(25.0)  # 0.25 s in 2 s of half a core.
    assert (second.cores, second.limited_by) == (0.5, "cgroup")


def test_readers_close_together_share_a_reading(group: Path) -> None:
    clock = SettableClock()
    meter = MachineMeter(clock, groups=groups_of(group))
    first = meter.read()
    clock.wall += 0.4
    assert meter.read() is first


def test_a_limit_above_the_machine_is_none(group: Path) -> None:
    (group.parent / "memory.max").write_text(str(psutil.virtual_memory().total * 4))
    (group / "cpu.max").write_text(f"{(psutil.cpu_count() or 1) * 400_000} 100000")
    reading = MachineMeter(SettableClock(), groups=groups_of(group)).read()
    assert reading.limited_by == "machine"
    assert reading.memory_total_bytes == psutil.virtual_memory().total


def test_the_real_machine() -> None:
    clock = SettableClock()
    meter = MachineMeter(clock)
    meter.read()
    clock.wall += 1.0
    reading = meter.read()
    assert reading.cpu_percent is None or 0.0 <= reading.cpu_percent <= 100.0
    assert 0.0 < reading.memory_percent < 100.0
    assert 0 < reading.memory_available_bytes < reading.memory_total_bytes
