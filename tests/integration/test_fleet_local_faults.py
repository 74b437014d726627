"""Drills' faults on the local fleet with real processes: what its status says while they last and after."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backend.contract.clock import SystemClock
from backend.contract.errors import Refused, TrinityError, UsageError
from backend.contract.faults import FaultOrder, StartFault
from backend.contract.fleet import Faultable, ProbeSpec, ProbesSpec, ReplicaStatus, Spliceable, WorkloadSpec
from backend.contract.words import Phase
from backend.drills.processes import start_mark
from backend.fleet.local import LocalFleet
from backend.shim.threads import thread_ids, thread_state
from tests.integration.shim_rig import short_dir, until, until_answer
from tests.integration.test_fleet_local import Rig, running, workload

base = pytest.fixture(short_dir, name="base")
ENGINE = str(Path(__file__).parent / "programs" / "fake_engine.py")


@pytest.fixture(name="rig")
async def _rig(base: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    monkeypatch.setenv("TRINITY_ENVIRONMENT", "dev")
    async with running(base, monkeypatch) as made:
        made.fleet = LocalFleet(made.paths, made.rows, SystemClock(), fault_switches=True)
        made.fleet.on_change(made.changes.append)
        yield made


PATIENT = ProbeSpec(path="/health", period_s=0.1, timeout_s=30.0, failure_threshold=2)
QUICK = ProbeSpec(path="/health", period_s=0.1, timeout_s=1.0, failure_threshold=3)
"""Notices who does not answer, and still spares who is only slow."""


def engine(base: Path, *options: str, probe: ProbeSpec = PATIENT, **changes: Any) -> WorkloadSpec:
    return WorkloadSpec(
        **{
            "name": "w",
            "command": (sys.executable, ENGINE, "--port", "{port}", *options),
            "env": {"SHIM_TEST": str(base)},
            "probes": ProbesSpec(
                startup=msgspec.structs.replace(PATIENT, failure_threshold=1000), readiness=probe, liveness=probe
            ),
            "stop_grace_s": 60.0,
            **changes,
        }
    )


def without_liveness(spec: WorkloadSpec) -> WorkloadSpec:
    """Nobody ends it for being stopped."""
    return msgspec.structs.replace(spec, probes=msgspec.structs.replace(spec.probes, liveness=None))


def frozen_threads(pid: int | None) -> list[int]:
    """The threads a fault holds."""
    return [] if pid is None else [tid for tid in thread_ids(pid) if thread_state(pid, tid) == "t"]


def stop(ttl_s: float = 100.0) -> FaultOrder:
    return FaultOrder(id="f", kind="stop", ttl_s=ttl_s)


async def test_it_is_what_the_contract_asks_for(rig: Rig) -> None:
    assert isinstance(rig.fleet, Spliceable)
    assert isinstance(rig.fleet, Faultable)
    await rig.fleet.unsplice("nobody")
    assert await rig.fleet.heal("nobody", "f") is None
    with pytest.raises(UsageError):
        await rig.fleet.holder("nobody")


async def test_the_holder_is_the_shim_by_pid_mark_and_socket(rig: Rig) -> None:
    await rig.fleet.create(workload(rig.base), "w-1")
    status = await rig.phase(Phase.READY)
    holder = await rig.fleet.holder("w-1")
    assert (holder.kind, holder.pid) == ("shim", status.shim_pid)
    assert holder.mark == start_mark(holder.pid)
    assert Path(holder.socket_path).is_socket()
    await rig.fleet.hold("w-1", held=True)
    await rig.fleet.kill("w-1")
    await rig.phase(Phase.FAILED)
    with pytest.raises(TrinityError, match="no process"):
        await rig.fleet.holder("w-1")
    assert await rig.fleet.heal("w-1", "f") is None
    assert await rig.fleet.faults("w-1") == ()


async def test_a_stopped_replica_is_given_up_by_its_probe_and_that_is_no_crash(rig: Rig) -> None:
    await rig.fleet.create(engine(rig.base, probe=QUICK), "w-1")
    before = await rig.phase(Phase.READY)
    assert (await rig.fleet.fault("w-1", stop())).active
    after = await rig.ready_again(before)
    assert after.last_exit is not None
    assert after.last_exit.reason == "LivenessFailed"
    assert rig.rows.events("died")[-1].attributes["counted"] is False


async def test_a_healed_replica_keeps_its_process(rig: Rig) -> None:
    await rig.fleet.create(without_liveness(engine(rig.base, probe=QUICK)), "w-1")
    before = await rig.phase(Phase.READY)
    assert (await rig.fleet.fault("w-1", stop())).active
    await rig.phase(Phase.NOT_READY)
    report = await rig.fleet.heal("w-1", "f")
    assert report is not None
    assert (report.active, report.ended_by) == (False, "heal")
    assert (await rig.phase(Phase.READY)).pid == before.pid


@pytest.mark.parametrize("kind", ["stop", "freeze-engine"])
async def test_removing_a_held_replica_does_not_take_its_whole_grace(rig: Rig, kind: Any) -> None:
    await rig.fleet.create(without_liveness(engine(rig.base, engine="llamacpp")), "w-1")
    await rig.phase(Phase.READY)
    assert (await rig.fleet.fault("w-1", FaultOrder(id="f", kind=kind, ttl_s=100.0))).active
    async with asyncio.timeout(30.0):  # half its grace, and less than its fault lasts
        await rig.fleet.remove("w-1", reason="test")


async def test_running_out_of_memory_for_a_drill_is_oomkilled_and_no_crash(rig: Rig) -> None:
    await rig.fleet.create(engine(rig.base, memory_limit_bytes=192 * 1024 * 1024), "w-1")
    before = await rig.phase(Phase.READY)
    assert (await rig.fleet.fault("w-1", FaultOrder(id="f", kind="exhaust-memory", ttl_s=100.0))).active
    after = await rig.ready_again(before)
    assert after.last_exit is not None
    assert after.last_exit.reason == "OOMKilled"
    assert rig.rows.events("died")[-1].attributes["counted"] is False
    assert await rig.fleet.heal("w-1", "f") is None


async def test_a_program_ends_with_the_code_its_switch_was_given(rig: Rig) -> None:
    await rig.fleet.create(engine(rig.base, "--switch"), "w-1")
    before = await rig.phase(Phase.READY)
    await rig.fleet.exit("w-1", 42)
    after = await rig.ready_again(before)
    assert after.last_exit is not None
    assert (after.last_exit.code, after.last_exit.reason) == (42, "Error")
    assert rig.rows.events("died")[-1].attributes["counted"] is False
    with pytest.raises(UsageError, match="0 to 255"):
        await rig.fleet.exit("w-1", 256)


async def test_without_a_switch_nothing_is_signalled(rig: Rig) -> None:
    await rig.fleet.create(engine(rig.base), "w-1")
    before = await rig.phase(Phase.READY)
    with pytest.raises(Refused, match="no fault switch"):
        await rig.fleet.exit("w-1", 42)
    assert rig.status().pid == before.pid


async def test_production_refuses_the_switch(rig: Rig) -> None:
    rig.fleet = LocalFleet(rig.paths, rig.rows, SystemClock())
    await rig.fleet.create(engine(rig.base, "--switch"), "w-1")
    before = await rig.phase(Phase.READY)
    with pytest.raises(Refused, match="production"):
        await rig.fleet.exit("w-1", 42)
    assert b"TRINITY_FAULT_SWITCH" not in Path(f"/proc/{before.pid}/environ").read_bytes()


async def test_a_crash_loop_is_seen_as_one_and_ends_when_it_is_cleared(rig: Rig) -> None:
    await rig.fleet.create(workload(rig.base), "w-1")
    await rig.phase(Phase.READY)
    await rig.fleet.set_start_fault("w-1", StartFault(until_ts=time.time() + 600.0, exit_code=3))
    await rig.fleet.kill("w-1")
    status = await rig.phase(Phase.CRASH_LOOP)
    assert status.next_start_ts is not None
    assert status.last_exit is not None
    assert status.last_exit.code == 3
    assert status.reason.startswith("exit code 3: A drill's start fault")
    await rig.fleet.set_start_fault("w-1", None)
    assert (await rig.phase(Phase.READY)).restarts >= 3


async def test_a_slow_start_is_starting_until_it_is_over_and_keeps_its_pid(rig: Rig) -> None:
    await rig.fleet.create(workload(rig.base), "w-1")
    before = await rig.phase(Phase.READY)
    begun = time.time()
    await rig.fleet.set_start_fault("w-1", StartFault(until_ts=begun + 600.0, delay_s=1.0))
    await rig.fleet.kill("w-1")
    waiting: list[ReplicaStatus] = []

    def starting() -> bool:
        now = rig.status()
        if now.phase is Phase.STARTING and now.pid not in (None, before.pid):
            waiting.append(now)
        return bool(waiting)

    await until(starting, "the next process is there and starting")
    after = await rig.ready_again(before)
    assert time.time() - begun >= 1.0
    assert after.pid == waiting[0].pid


async def test_a_start_fault_ends_by_itself_and_by_the_next_daemon(rig: Rig) -> None:
    await rig.fleet.create(workload(rig.base), "w-1")
    before = await rig.phase(Phase.READY)
    await rig.fleet.set_start_fault("w-1", StartFault(until_ts=time.time() + 600.0, exit_code=3))
    await rig.fleet.close()
    rig.fleet = LocalFleet(rig.paths, rig.rows, SystemClock())
    (adopted,) = await rig.fleet.adopt()
    assert adopted.via_port is None
    await rig.fleet.kill("w-1")
    after = await rig.ready_again(before)
    await rig.fleet.set_start_fault("w-1", StartFault(until_ts=time.time() - 1.0, exit_code=3))
    await rig.fleet.kill("w-1")
    await rig.ready_again(after)
    with pytest.raises(UsageError):
        await rig.fleet.set_start_fault("w-1", StartFault(until_ts=0.0, exit_code=300))


async def test_probes_go_through_a_splice_and_a_restart_keeps_it(rig: Rig) -> None:
    """The proxy here is another replica: what it says decides over the spliced one."""
    await rig.fleet.create(workload(rig.base), "w-1")
    before = await rig.phase(Phase.READY)
    with socket.socket() as held:  # bound, so that nobody else can listen there
        held.bind(("127.0.0.1", 0))
        closed = held.getsockname()[1]
        rig.changes.clear()
        await rig.fleet.splice("w-1", port=closed, health_port=None)
        assert rig.changes[0].via_port == closed
        await rig.phase(Phase.NOT_READY)
        await rig.fleet.unsplice("w-1")
    status = await rig.phase(Phase.READY)
    assert status.via_port is None
    assert status.port is not None
    await rig.fleet.splice("w-1", port=status.port, health_port=status.port)
    await rig.fleet.kill("w-1")
    after = await rig.ready_again(before)
    assert (after.via_port, after.via_health_port) == (status.port, status.port)
    await rig.fleet.unsplice("w-1")
    await rig.fleet.unsplice("w-1")
    assert rig.status().via_port is None


async def test_a_frozen_replica_is_adopted_frozen_and_thaws_when_it_is_healed(rig: Rig) -> None:
    await rig.fleet.create(without_liveness(engine(rig.base)), "w-1")
    before = await rig.phase(Phase.READY)
    assert (await rig.fleet.fault("w-1", FaultOrder(id="f", kind="freeze-engine", ttl_s=60.0))).active
    await rig.fleet.close()
    rig.fleet = LocalFleet(rig.paths, rig.rows, SystemClock())
    await rig.fleet.adopt()
    pid = before.pid
    assert pid is not None
    assert rig.status().pid == pid
    assert [report.active for report in await rig.fleet.faults("w-1")] == [True]
    assert (await rig.fleet.heal("w-1", "unknown")) is None
    report = await rig.fleet.heal("w-1", "f")
    assert report is not None
    assert (report.active, report.ended_by) == (False, "heal")
    await until(lambda: not frozen_threads(pid), "it thaws")


async def test_a_frozen_replica_thaws_by_itself_while_no_daemon_looks(rig: Rig) -> None:
    await rig.fleet.create(without_liveness(engine(rig.base)), "w-1")
    before = await rig.phase(Phase.READY)
    assert before.pid is not None
    assert (await rig.fleet.fault("w-1", FaultOrder(id="f", kind="freeze-engine", ttl_s=2.0))).affected == 1
    await rig.fleet.close()
    await asyncio.sleep(2.0)
    rig.fleet = LocalFleet(rig.paths, rig.rows, SystemClock())
    await rig.fleet.adopt()
    assert rig.status().pid == before.pid

    async def ended_by() -> str:
        return (await rig.fleet.faults("w-1"))[0].ended_by

    await until_answer(ended_by, "ttl", "it has thawed")
    assert frozen_threads(before.pid) == []


async def test_a_shim_that_dies_takes_stopped_program_and_faults_along(rig: Rig) -> None:
    await rig.fleet.create(engine(rig.base), "w-1")
    before = await rig.phase(Phase.READY)
    await rig.fleet.fault("w-1", stop())
    assert before.shim_pid is not None
    os.kill(before.shim_pid, signal.SIGKILL)
    await rig.ready_again(before)
    assert await rig.fleet.heal("w-1", "f") is None
