"""Faults held by a real shim over real programs: applied, seen by the kernel, taken away, seen to be gone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from backend.contract.errors import TrinityError, Unreachable
from backend.contract.faults import FaultOrder, FaultReport, HolderAnswer, HolderRequest
from backend.contract.fleet import ExitRecord
from backend.shim.client import ShimClient
from backend.shim.faults.workers import machine_memory
from backend.shim.record import read_exit, read_record
from backend.shim.stop_all import stop_all
from backend.shim.threads import status_number, thread_ids, thread_state
from tests.integration.shim_rig import alive, free_port, get, log_text, processes_about, server, short_dir, spec, until

base = pytest.fixture(short_dir, name="base")
ENGINE = str(Path(__file__).parent / "programs" / "fake_engine.py")
MIB = 1024 * 1024


class Rig:
    """A shim over the fake engine."""

    def __init__(self, base: Path, client: ShimClient, port: int) -> None:
        self.base, self.client, self.port = base, client, port

    @property
    def pid(self) -> int:
        assert self.client.record.pid is not None
        return self.client.record.pid

    async def steps(self) -> int:
        return int(await get(self.port, "/steps"))

    async def moves(self) -> None:
        before = await self.steps()
        deadline = time.monotonic() + 30.0
        while await self.steps() == before:
            assert time.monotonic() < deadline, "it stands still"
            await asyncio.sleep(0.01)

    def workers(self) -> list[int]:
        """Children of the shim beside the program."""
        return [child.pid for child in psutil.Process(self.client.record.shim_pid).children() if child.pid != self.pid]


@pytest.fixture(name="rig")
async def _rig(base: Path) -> AsyncIterator[Rig]:
    port = free_port()
    client = await ShimClient.launch(
        spec(base, sys.executable, "-S", ENGINE, "--port", str(port), memory_limit_bytes=256 * MIB)
    )
    await until(lambda: "serving" in log_text(base), "the program serves")
    yield Rig(base, client, port)
    if alive(client.record.shim_pid):
        await client.stop(20.0)
    assert processes_about(base) == []


def order(kind: Any, ttl_s: float = 100.0, name: str = "f", **changes: Any) -> FaultOrder:
    return FaultOrder(id=name, kind=kind, ttl_s=ttl_s, **changes)


async def healed(client: ShimClient, fault_id: str = "f") -> FaultReport:
    (report,) = await client.heal(fault_id)
    return report


async def ended(client: ShimClient, fault_id: str = "f") -> FaultReport:
    """Wait until the shim says that it has ended by itself."""
    async with asyncio.timeout(30.0):
        while True:
            report = next(report for report in await client.faults() if report.id == fault_id)
            if report.ended_by:
                return report
            await asyncio.sleep(0.01)


async def touched(client: ShimClient, times: int) -> None:
    """Wait until the only fault has touched something that often."""
    deadline = time.monotonic() + 30.0
    while (await client.faults())[0].affected < times:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_a_stopped_program_stands_still_until_it_is_healed(rig: Rig) -> None:
    report = await rig.client.fault(order("stop"))
    assert report.active
    assert report.affected >= 3
    assert {thread_state(rig.pid, tid) for tid in thread_ids(rig.pid)} == {"T"}
    again = await rig.client.fault(order("stop"))
    assert again.active
    assert len(await rig.client.faults()) == 1
    with pytest.raises(TrinityError, match="already"):
        await rig.client.fault(order("stop", name="other"))
    report = await healed(rig.client)
    assert (report.active, report.ended_by) == (False, "heal")
    assert "T" not in {thread_state(rig.pid, tid) for tid in thread_ids(rig.pid)}
    await rig.moves()
    after = await rig.client.fault(order("stop"))
    assert (after.active, after.ended_by) == (False, "heal"), "the same order twice changes nothing"
    assert await rig.client.heal("unknown") == ()


async def test_a_time_limit_is_kept_without_anybody_asking(rig: Rig) -> None:
    await rig.client.fault(order("stop", ttl_s=2.0))
    await asyncio.sleep(2.0)
    await until(lambda: thread_state(rig.pid, rig.pid) != "T", "it goes on")
    report = await ended(rig.client)
    assert (report.ended_by, report.affected >= 3) == ("ttl", True), "it was stopped before"


async def test_a_frozen_engine_leaves_the_api_alive_and_goes_on_where_it_was(rig: Rig) -> None:
    await rig.moves()
    report = await rig.client.fault(order("freeze-engine"))
    assert report.active
    assert report.affected == 1
    held = [tid for tid in thread_ids(rig.pid) if thread_state(rig.pid, tid) == "t"]
    assert len(held) == 1
    assert held[0] != rig.pid
    before = await rig.steps()
    assert await get(rig.port, "/health") == "ok"
    await asyncio.sleep(0.5)
    assert await rig.steps() == before
    report = await healed(rig.client)
    assert (report.active, report.ended_by) == (False, "heal")
    assert status_number(rig.pid, held[0], "TracerPid") == 0
    await rig.moves()


async def test_a_frozen_thread_is_free_when_its_time_is_over(rig: Rig) -> None:
    await rig.client.fault(order("freeze-engine", ttl_s=2.0))
    report = await ended(rig.client)
    assert (report.ended_by, report.affected) == ("ttl", 1), "it was held before"
    await rig.moves()


@pytest.mark.parametrize("kinds", [("stop", "freeze-engine"), ("freeze-engine", "stop")])
@pytest.mark.parametrize("first", [0, 1])
async def test_stopped_and_frozen_at_once_come_apart_in_any_order(rig: Rig, kinds: tuple[str, str], first: int) -> None:
    for kind in kinds:
        assert (await rig.client.fault(order(kind, name=kind))).active
    for kind in (kinds[first], kinds[1 - first]):
        assert (await healed(rig.client, kind)).ended_by == "heal"
    assert {thread_state(rig.pid, tid) for tid in thread_ids(rig.pid)} & {"T", "t"} == set()
    await rig.moves()


async def test_a_program_killed_while_frozen_or_stopped_is_gone(rig: Rig) -> None:
    """And not only when the faults have come to their end."""
    told: asyncio.Future[ExitRecord] = asyncio.get_running_loop().create_future()
    rig.client.on_exit(told.set_result)
    await rig.client.fault(order("freeze-engine"))
    await rig.client.fault(order("stop", name="g"))
    await rig.client.signal(signal.SIGKILL)
    assert (await asyncio.wait_for(told, 30.0)).signal == signal.SIGKILL
    await rig.client.closed()


@pytest.mark.parametrize("kind", ["stop", "freeze-engine", "exhaust-descriptors"])
async def test_stop_heals_first_and_ends_it_in_order(rig: Rig, kind: str) -> None:
    await rig.client.fault(order(kind))
    record = await rig.client.stop(30.0)
    assert (record.code, record.reason) == (0, "Stopped")


async def test_a_stop_without_a_daemon_heals_first_too(rig: Rig) -> None:
    await rig.client.fault(order("stop"))
    await asyncio.to_thread(stop_all, rig.base, 30.0)
    assert read_exit(rig.base / "r-1.exit.json").code == 0  # type: ignore[union-attr] - it is there


async def test_burners_burn_and_are_gone(rig: Rig) -> None:
    report = await rig.client.fault(order("burn-cpu", cores=1.5))
    assert report.active
    assert len(rig.workers()) == report.affected == 2
    burners = rig.workers()
    assert (await healed(rig.client)).ended_by == "heal"
    assert not any(alive(pid) for pid in burners)
    with pytest.raises(TrinityError, match="cores"):
        await rig.client.fault(order("burn-cpu", name="g", cores=0.0))


async def test_memory_is_filled_given_back_and_never_the_machines_last(rig: Rig) -> None:
    report = await rig.client.fault(order("fill-memory", size_bytes=64 * MIB))
    assert report.active
    (filler,) = rig.workers()
    assert psutil.Process(filler).memory_info().rss >= 64 * MIB
    assert (await healed(rig.client)).ended_by == "heal"
    assert not alive(filler)
    total, _ = machine_memory()
    with pytest.raises(TrinityError, match="10%"):
        await rig.client.fault(order("fill-memory", name="g", size_bytes=total))
    assert rig.workers() == []


async def test_exhausted_memory_ends_the_program_as_its_own_limit_does(rig: Rig) -> None:
    exits = []
    rig.client.on_exit(exits.append)
    assert (await rig.client.fault(order("exhaust-memory"))).active
    await until(lambda: exits, "the program is ended")
    assert (exits[0].reason, exits[0].signal) == ("OOMKilled", 9)
    await rig.client.closed()
    assert processes_about(rig.base) == []


async def test_exhausted_memory_can_be_healed_before_the_limit(base: Path) -> None:
    wanted = spec(base, *server("--port", str(free_port())), memory_limit_bytes=1024 * MIB)
    for _ in range(10):  # the limit is met within a second or two: who heals later than that comes too late
        client = await ShimClient.launch(wanted)
        assert (await client.fault(order("exhaust-memory"))).active
        with contextlib.suppress(Unreachable):
            if (await healed(client)).ended_by == "heal":
                break
        await client.closed()
    else:
        raise AssertionError("it was never healed in time")
    assert alive(client.record.pid)
    shim = psutil.Process(client.record.shim_pid)
    await until(lambda: len(shim.children()) == 1, "the end of who ate the memory, without a zombie")
    await client.stop(20.0)


async def test_no_memory_is_exhausted_where_no_limit_is(base: Path) -> None:
    client = await ShimClient.launch(spec(base, *server("--port", str(free_port()))))
    with pytest.raises(TrinityError, match="no memory limit"):
        await client.fault(order("exhaust-memory"))
    with pytest.raises(TrinityError, match="fault proxy"):
        await client.fault(order("latency"))
    assert await client.faults() == ()
    await client.stop(20.0)


async def test_without_descriptors_nothing_can_be_opened(rig: Rig) -> None:
    before = resource.prlimit(rig.pid, resource.RLIMIT_NOFILE)
    report = await rig.client.fault(order("exhaust-descriptors"))
    assert report.active
    with contextlib.suppress(OSError):  # no new connection is taken either
        assert await asyncio.to_thread(_ask_briefly, rig.port) != b"ok"
    assert resource.prlimit(rig.pid, resource.RLIMIT_NOFILE)[0] < 32
    assert (await healed(rig.client)).ended_by == "heal"
    assert resource.prlimit(rig.pid, resource.RLIMIT_NOFILE) == before
    assert await get(rig.port, "/open") == "ok"


def _ask_briefly(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=0.5) as peer:
        peer.sendall(b"GET /open HTTP/1.0\r\n\r\n")
        return peer.recv(4096)[-2:]


async def test_a_full_disk_costs_lines_and_nothing_else(rig: Rig) -> None:
    assert (await rig.client.fault(order("fill-disk"))).active
    before = log_text(rig.base)
    for _ in range(3):
        assert await get(rig.port, "/say") == "ok"
    await rig.client.hold(True)
    record = read_record(rig.base / "r-1.json")
    assert record is not None, "the shim's record is written all the same"
    assert record.held
    await touched(rig.client, 3)
    assert log_text(rig.base) == before
    assert (await healed(rig.client)).ended_by == "heal"
    assert "3 lines were lost here" in log_text(rig.base)
    await get(rig.port, "/say")
    await until(lambda: log_text(rig.base).endswith("said\n"), "lines are written again")


async def test_the_exit_is_recorded_on_a_full_disk(rig: Rig) -> None:
    await rig.client.fault(order("fill-disk"))
    os.kill(rig.pid, signal.SIGKILL)
    await rig.client.closed()
    record = read_exit(rig.base / "r-1.exit.json")
    assert record is not None
    assert record.signal == 9


async def test_nothing_burns_or_stays_frozen_when_the_shim_is_killed(rig: Rig) -> None:
    await rig.client.fault(order("burn-cpu", cores=2.0))
    await rig.client.fault(order("fill-memory", name="g", size_bytes=16 * MIB))
    await rig.client.fault(order("freeze-engine", name="h"))
    workers = rig.workers()
    assert len(workers) == 3
    await rig.client.close()  # a daemon that heard of it would end what is left
    os.kill(rig.client.record.shim_pid, signal.SIGKILL)
    await until(lambda: not any(alive(pid) for pid in [*workers, rig.pid]), "all are gone")


async def test_a_blocking_client_of_thirty_lines_can_heal(rig: Rig) -> None:
    """As the warden does: no asyncio, nothing of ours but the words."""
    await rig.client.fault(order("stop", name="run-1/a"))
    await rig.client.fault(order("burn-cpu", name="run-1/b", cores=1.0))
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(30.0)
        peer.connect(rig.client.record.spec.socket_path)
        answers = peer.makefile("rb")
        peer.sendall(b'{"id":1,"op":"heal","fault_id":"run-1/a"}\n')
        said = json.loads(answers.readline())
        assert (said["id"], said["faults"][0]["ended_by"]) == (1, "heal")
        peer.sendall(msgspec.json.encode(HolderRequest(id=2, op="heal")) + b"\n")
        answer = msgspec.json.decode(answers.readline(), type=HolderAnswer)
    assert (answer.id, answer.error) == (2, "")
    assert [report.active for report in answer.faults] == [False, False]
    await until(lambda: not rig.workers(), "the burner is gone, without a zombie")
