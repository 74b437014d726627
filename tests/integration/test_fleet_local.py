"""The local fleet with real processes: phases, restarts, back-off, adoption, and nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from backend.config.paths import StatePaths
from backend.contract.clock import SystemClock
from backend.contract.errors import PortTaken, Refused, TrinityError, UsageError
from backend.contract.fleet import (
    Fleet,
    Holdable,
    Killable,
    Maintainable,
    ProbeSpec,
    ProbesSpec,
    ReplicaStatus,
    Restartable,
    WorkloadSpec,
)
from backend.contract.rows import EventRow, Row, SampleRow
from backend.contract.words import Phase, Severity
from backend.fleet.local import LocalFleet
from backend.shim.stop_all import stop_all
from tests.integration.shim_rig import alive, get, listens, processes_about, server, short_dir, until

base = pytest.fixture(short_dir, name="base")


class Rows:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def append(self, row: Row) -> None:
        self.rows.append(row)

    async def append_durable(self, row: Row) -> None:
        self.rows.append(row)

    def events(self, kind: str) -> list[EventRow]:
        return [row for row in self.rows if isinstance(row, EventRow) and row.kind == f"replica.{kind}"]

    def samples(self, metric: str) -> list[SampleRow]:
        return [row for row in self.rows if isinstance(row, SampleRow) and row.metric == metric]


class Rig:
    """A fleet on a state directory, with everything it said."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.paths = StatePaths(base / "state").create()
        self.rows = Rows()
        self.changes: list[ReplicaStatus] = []
        self.fleet = LocalFleet(self.paths, self.rows, SystemClock())
        self.fleet.on_change(self.changes.append)

    def status(self, replica: str = "w-1") -> ReplicaStatus:
        return next(status for status in self.fleet.observe() if status.name == replica)

    async def phase(self, phase: Phase, replica: str = "w-1", timeout_s: float = 30.0) -> ReplicaStatus:
        await until(lambda: self.status(replica).phase is phase, f"{replica} is {phase}", timeout_s)
        return self.status(replica)

    async def ready_again(self, before: ReplicaStatus) -> ReplicaStatus:
        """Wait until another process than `before`'s is Ready."""

        def again() -> bool:
            now = self.status(before.name)
            return now.phase is Phase.READY and now.pid != before.pid

        await until(again, f"{before.name} is Ready again")
        return self.status(before.name)


def workload(base: Path, *options: str, **changes: Any) -> WorkloadSpec:
    """The tiny server as a workload with all three probes, none of which gives up one that is only slow."""
    probe = ProbeSpec(path="/ok", period_s=0.2, timeout_s=30.0, failure_threshold=2)
    return WorkloadSpec(
        **{
            "name": "w",
            "command": server("--port", "{port}", "--bad-file", str(base / "bad"), *options),
            "env": {"SHIM_TEST": str(base)},
            "probes": ProbesSpec(
                startup=msgspec.structs.replace(probe, failure_threshold=500),
                readiness=probe,
                liveness=msgspec.structs.replace(probe, path="/pid"),
            ),
            "stop_grace_s": 20.0,
            **changes,
        }
    )


@asynccontextmanager
async def running(base: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))
    rig = Rig(base)
    try:
        yield rig
    finally:
        await rig.fleet.stop_all()
        assert rig.fleet.observe() == []
        assert processes_about(base) == []
        assert list(rig.paths.run_dir.iterdir()) == []
        await until(lambda: not zombies(), "no zombie is left")


def zombies() -> list[psutil.Process]:
    """Children of ours that nobody has waited for."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.status() == psutil.STATUS_ZOMBIE:
                found.append(child)
    return found


@pytest.fixture
async def rig(base: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    async with running(base, monkeypatch) as made:
        yield made


def accepts(fleet: Fleet) -> Fleet:
    """For the type checker: LocalFleet is a Fleet."""
    return fleet


async def test_it_is_what_the_contract_asks_for(rig: Rig) -> None:
    accepts(rig.fleet)
    for capability in (Killable, Restartable, Holdable, Maintainable):
        assert isinstance(rig.fleet, capability)
    with pytest.raises(UsageError, match="no replica nobody"):
        await rig.fleet.remove("nobody", reason="test")


async def test_a_new_replica_goes_from_pending_to_ready(rig: Rig) -> None:
    await rig.fleet.create(workload(rig.base, "--slow-start", "0.3", revision="r7"), "w-1")
    assert rig.status().phase is Phase.PENDING, "create must not wait for a start"
    status = await rig.phase(Phase.READY)
    phases = [change.phase for change in rig.changes]
    assert list(dict.fromkeys(phases)) == [Phase.PENDING, Phase.STARTING, Phase.READY]
    assert status.revision == "r7"
    assert status.port is not None
    assert await get(status.port, "/pid") == str(status.pid)
    assert [probe.ok for probe in status.probes][:2] == [True, True]
    assert [event.kind for event in rig.rows.rows if isinstance(event, EventRow)] == [
        "replica.started",
        "replica.ready",
    ]
    with pytest.raises(UsageError, match="already"):
        await rig.fleet.create(workload(rig.base), "w-1")


async def test_each_death_is_told_and_followed_by_a_start(rig: Rig) -> None:
    await rig.fleet.create(workload(rig.base), "w-1")
    for _ in range(5):
        before = await rig.phase(Phase.READY)
        assert before.pid is not None
        rig.changes.clear()
        await rig.fleet.kill("w-1")
        await until(lambda: any(change.phase is Phase.NOT_READY for change in rig.changes), "its death is told")
        told = next(change for change in rig.changes if change.phase is Phase.NOT_READY)
        assert told.pid is None
        after = await rig.ready_again(before)
        assert after.port == before.port
    died = rig.rows.events("died")
    assert len(died) == 5
    assert died[0].attributes["signal"] == 9
    assert died[0].attributes["counted"] is False
    assert rig.status().restarts == 5
    assert rig.rows.events("crashloop") == [], "deaths by our own actions do not count"


async def test_quick_repeated_deaths_are_a_crash_loop(rig: Rig) -> None:
    await rig.fleet.create(workload(rig.base), "w-1")
    first = await rig.phase(Phase.READY)
    os.kill(first.pid or 0, signal.SIGKILL)
    second = await rig.ready_again(first)
    os.kill(second.pid or 0, signal.SIGKILL)
    looping = await rig.phase(Phase.CRASH_LOOP)
    assert looping.next_start_ts is not None
    assert looping.last_exit is not None
    assert looping.reason == "killed by SIGKILL"
    event = rig.rows.events("crashloop")[0]
    assert (event.severity, event.attributes["delay_s"]) == (Severity.ERROR, 1.0)
    third = await rig.ready_again(second)
    assert third.next_start_ts is None
    assert third.started_ts is not None
    assert third.started_ts - looping.last_exit.ts >= 0.95


async def test_the_engines_own_cause_is_the_reason(rig: Rig) -> None:
    await rig.fleet.create(workload(rig.base, "--fail", "invalid magic in model.gguf", "--code", "4"), "w-1")
    status = await rig.phase(Phase.CRASH_LOOP)
    assert status.reason == "exit code 4: error: invalid magic in model.gguf"
    assert status.last_exit is not None
    assert status.last_exit.code == 4
    event = rig.rows.events("died")[0]
    assert event.attributes["last_line"] == "error: invalid magic in model.gguf"
    assert event.attributes["exit_code"] == 4


async def test_a_program_that_is_missing_is_a_crash_loop_that_says_so(rig: Rig) -> None:
    await rig.fleet.create(workload(rig.base, command=("no-such-engine",)), "w-1")
    status = await rig.phase(Phase.CRASH_LOOP)
    assert "There is no program no-such-engine." in status.reason
    with pytest.raises(TrinityError, match="no-such-engine"):
        await rig.fleet.restart("w-1", reason="again")


async def test_a_fixed_port_that_is_taken_names_its_owner(rig: Rig) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        await rig.fleet.create(workload(rig.base, port=port), "w-1")
        status = await rig.phase(Phase.CRASH_LOOP)
        assert f"(pid {os.getpid()})" in status.reason
        with pytest.raises(PortTaken):
            await rig.fleet.restart("w-1", reason="again")


async def test_readiness_is_lost_and_regained_without_a_restart(rig: Rig) -> None:
    await rig.fleet.create(workload(rig.base), "w-1")
    before = await rig.phase(Phase.READY)
    (rig.base / "bad").touch()
    status = await rig.phase(Phase.NOT_READY)
    assert status.reason == "readiness probe: HTTP 503"
    assert rig.rows.events("notready")[0].severity is Severity.WARNING
    (rig.base / "bad").unlink()
    assert (await rig.phase(Phase.READY)).pid == before.pid


async def test_a_process_that_hangs_is_restarted_by_its_liveness_probe(rig: Rig) -> None:
    spec = workload(rig.base)
    probe = ProbeSpec(path="/pid", period_s=0.1, timeout_s=1.0, failure_threshold=3)
    await rig.fleet.create(workload(rig.base, probes=msgspec.structs.replace(spec.probes, liveness=probe)), "w-1")
    before = await rig.phase(Phase.READY)
    await rig.fleet.kill("w-1", signal=signal.SIGSTOP)
    after = await rig.ready_again(before)
    assert after.last_exit is not None
    assert after.last_exit.reason == "LivenessFailed"
    assert after.restarts == 1
    assert rig.rows.events("died")[0].attributes["exit_reason"] == "LivenessFailed"


async def test_memory_over_the_limit_is_an_event_of_its_own(rig: Rig) -> None:
    limit = 100 * 1024 * 1024
    await rig.fleet.create(workload(rig.base, memory_limit_bytes=limit), "w-1")
    before = await rig.phase(Phase.READY)
    assert before.port is not None
    asking = asyncio.create_task(get(before.port, "/eat?mb=200"))
    after = await rig.ready_again(before)
    await asyncio.wait([asking])
    asking.exception()
    assert after.last_exit is not None
    assert after.last_exit.reason == "OOMKilled"
    assert rig.rows.events("oom_killed")[0].attributes["limit_bytes"] == limit


async def test_restart_waits_for_work_in_progress(rig: Rig) -> None:
    busy = rig.base / "busy"
    spec = workload(rig.base, "--busy-file", str(busy), engine="llamacpp", stop_grace_s=60.0)
    await rig.fleet.create(spec, "w-1")
    before = await rig.phase(Phase.READY)
    busy.touch()
    restarting = asyncio.create_task(rig.fleet.restart("w-1", reason="test"))
    await rig.phase(Phase.TERMINATING)
    with pytest.raises(Refused):
        await rig.fleet.restart("w-1", reason="twice")
    assert alive(before.pid)
    busy.unlink()
    await restarting
    after = await rig.ready_again(before)
    assert (after.restarts, after.port) == (1, before.port)
    assert rig.rows.events("died") == []
    assert rig.rows.events("restarting")[0].message == "w-1 is restarted: test"


async def test_remove_does_not_wait_longer_than_the_grace(rig: Rig) -> None:
    busy = rig.base / "busy"
    busy.touch()
    spec = workload(rig.base, "--busy-file", str(busy), "--ignore-term", engine="llamacpp", stop_grace_s=0.6)
    await rig.fleet.create(spec, "w-1")
    before = await rig.phase(Phase.READY)
    async with asyncio.timeout(30.0):  # it never becomes idle, and never ends by itself
        await asyncio.gather(rig.fleet.remove("w-1", reason="test"), rig.fleet.remove("w-1", reason="twice"))
    assert not alive(before.pid)
    assert rig.fleet.observe() == []
    assert rig.rows.events("removed")[0].message == "w-1 was removed: test"


async def test_a_removed_replica_is_forgotten_even_if_its_caller_gives_up(rig: Rig) -> None:
    await rig.fleet.create(workload(rig.base), "w-1")
    await rig.phase(Phase.READY)
    removing = asyncio.create_task(rig.fleet.remove("w-1", reason="test"))
    await rig.phase(Phase.TERMINATING)
    removing.cancel()
    await until(lambda: rig.fleet.observe() == [], "it is gone")


async def test_a_held_replica_stays_dead_until_it_is_let_go(rig: Rig) -> None:
    await rig.fleet.create(workload(rig.base), "w-1")
    before = await rig.phase(Phase.READY)
    await rig.fleet.hold("w-1", held=True)
    await rig.fleet.kill("w-1")
    status = await rig.phase(Phase.FAILED)
    assert status.reason == "held: not restarted"
    assert not listens(before.port or 0)
    await rig.fleet.hold("w-1", held=False)
    await rig.ready_again(before)


async def test_maintenance_stops_probes_from_acting_and_restarts(rig: Rig) -> None:
    await rig.fleet.create(workload(rig.base), "w-1")
    before = await rig.phase(Phase.READY)
    await rig.fleet.set_maintenance("w", on=True)
    (rig.base / "bad").touch()
    await until(lambda: any(probe.failures >= 2 for probe in rig.status().probes), "the probe fails")
    assert rig.status().phase is Phase.READY
    await rig.fleet.kill("w-1")
    assert (await rig.phase(Phase.FAILED)).reason == "maintenance: not restarted"
    (rig.base / "bad").unlink()
    await rig.fleet.set_maintenance("w", on=False)
    await rig.ready_again(before)


async def test_leaving_maintenance_shows_what_readiness_says(rig: Rig) -> None:
    await rig.fleet.create(workload(rig.base), "w-1")
    await rig.phase(Phase.READY)
    await rig.fleet.set_maintenance("w", on=True)
    (rig.base / "bad").touch()
    await until(lambda: any(probe.failures >= 2 for probe in rig.status().probes), "the probe fails")
    await rig.fleet.set_maintenance("w", on=False)
    await rig.phase(Phase.NOT_READY)


async def test_cpu_and_memory_are_sampled(rig: Rig) -> None:
    await rig.fleet.create(workload(rig.base), "w-1")
    await rig.phase(Phase.READY)
    rig.rows.rows.clear()  # what was measured of a program that was only loading
    await until(lambda: rig.rows.samples("cpu_percent"), "a cpu sample")
    status = rig.status()
    assert status.cpu_percent is not None
    assert 0.0 <= status.cpu_percent < 200.0
    sample = rig.rows.samples("memory_bytes")[-1]
    assert (sample.fleet, sample.workload, sample.replica) == ("local", "w", "w-1")
    assert 5e6 < sample.value < 2e8
    assert status.memory_bytes == sample.value


async def test_a_lost_shim_is_a_death_like_any_other(rig: Rig) -> None:
    await rig.fleet.create(workload(rig.base, "--child"), "w-1")
    before = await rig.phase(Phase.READY)
    os.kill(before.shim_pid or 0, signal.SIGKILL)
    after = await rig.ready_again(before)
    assert after.last_exit is not None
    assert after.last_exit.reason == "Unknown"
    await until(lambda: len(processes_about(rig.base)) == 3, "the old program and its child are gone")


async def test_a_frozen_shim_does_not_hide_a_death(rig: Rig) -> None:
    await rig.fleet.create(workload(rig.base, probes=ProbesSpec()), "w-1")
    before = await rig.phase(Phase.READY)
    shim_lived: list[bool] = []
    rig.fleet.on_change(lambda _status: shim_lived.append(alive(before.shim_pid)))
    os.kill(before.shim_pid or 0, signal.SIGSTOP)
    os.kill(before.pid or 0, signal.SIGKILL)
    await rig.phase(Phase.NOT_READY)
    assert shim_lived[0], "it is seen before its shim is given up"
    after = await rig.ready_again(before)
    assert after.shim_pid != before.shim_pid


async def test_the_run_directory_can_be_emptied_without_a_daemon(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))
    rig = Rig(base)
    for number in (1, 2):
        await rig.fleet.create(workload(base), f"w-{number}")
    for number in (1, 2):
        await rig.phase(Phase.READY, f"w-{number}")
    await rig.fleet.close()
    assert len(processes_about(base)) == 4
    assert await asyncio.to_thread(stop_all, rig.paths.run_dir, 20.0) == ["w-1", "w-2"]
    assert processes_about(base) == []
