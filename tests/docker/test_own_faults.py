"""The fault `stop` at containers of ours: held by a program of its own, for its time, whoever else has died."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from backend.contract.errors import Refused, TrinityError
from backend.contract.faults import FaultOrder
from backend.contract.fleet import Faultable, ProbeSpec, ProbesSpec
from backend.contract.words import Phase
from backend.drills.processes import is_stopped, start_mark
from tests.docker.engine import Engine
from tests.docker.images import make_image
from tests.docker.own_rig import WAIT_S, Rig, running, workload
from tests.integration.shim_rig import alive, short_dir, until

base = pytest.fixture(short_dir, name="base")


@pytest.fixture(scope="module")
def image(engine: Engine) -> str:
    return make_image("plain", engine.host)


@pytest.fixture
async def rig(base: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    async with running(base, engine.host, monkeypatch) as made:
        yield made


def order(ttl_s: float = 120.0) -> FaultOrder:
    return FaultOrder(id="f", kind="stop", ttl_s=ttl_s)


async def test_a_container_is_stopped_until_it_is_healed(rig: Rig, image: str) -> None:
    assert isinstance(rig.fleet, Faultable)
    await rig.fleet.create(workload(image, probes=ProbesSpec()), "w-1")
    before = await rig.phase(Phase.READY)
    pid, mark = before.pid or 0, start_mark(before.pid or 0) or ""
    holder = await rig.fleet.holder("w-1")
    assert holder.mark == start_mark(holder.pid)
    assert (await rig.fleet.fault("w-1", order())).active
    assert is_stopped(pid, mark)
    assert [report.active for report in await rig.fleet.faults("w-1")] == [True]
    healed = await rig.fleet.heal("w-1", "f")
    assert healed is not None
    assert (healed.active, healed.ended_by) == (False, "heal")
    assert not is_stopped(pid, mark)
    with pytest.raises(TrinityError, match="cannot burn-cpu"):
        await rig.fleet.fault("w-1", FaultOrder(id="g", kind="burn-cpu", ttl_s=1.0, cores=1.0))
    with pytest.raises(Refused, match="no fault switch"):
        await rig.fleet.exit("w-1", 1)
    assert rig.status().pid == pid, "a stop alone ends nothing"
    await rig.fleet.kill("w-1")
    await until(lambda: not alive(holder.pid), "the holder ends with what it holds")


async def test_its_time_limit_holds_without_a_daemon_and_a_new_one_ends_what_is_left(rig: Rig, image: str) -> None:
    for name in ("w-1", "w-2"):
        await rig.fleet.create(workload(image, probes=ProbesSpec()), name)
    first, second = await rig.phase(Phase.READY), await rig.phase(Phase.READY, "w-2")
    assert (await rig.fleet.fault("w-1", order(ttl_s=3.0))).active
    assert (await rig.fleet.fault("w-2", order())).active
    await rig.detach()
    pid, mark = first.pid or 0, start_mark(first.pid or 0) or ""
    await until(lambda: not is_stopped(pid, mark), "its time is over", WAIT_S)
    other, other_mark = second.pid or 0, start_mark(second.pid or 0) or ""
    assert is_stopped(other, other_mark)
    rig.open()
    await rig.fleet.adopt()
    assert not is_stopped(other, other_mark)
    assert {rig.status().pid, rig.status("w-2").pid} == {pid, other}


async def test_a_probe_that_fails_because_of_it_is_no_crash(rig: Rig, image: str) -> None:
    patient = ProbeSpec(path="/pid", period_s=0.1, failure_threshold=200)
    probe = ProbeSpec(path="/pid", period_s=0.1, timeout_s=2.0, failure_threshold=3)
    await rig.fleet.create(workload(image, probes=ProbesSpec(startup=patient, liveness=probe)), "w-1")
    before = await rig.phase(Phase.READY)
    await rig.fleet.fault("w-1", order())
    after = await rig.ready_again(before)
    assert after.last_exit is not None
    assert after.last_exit.reason == "LivenessFailed"
    assert rig.rows.events("died")[0].attributes["counted"] is False


async def test_without_its_holder_the_container_goes_on_once_the_process_is_resumed(rig: Rig, image: str) -> None:
    await rig.fleet.create(workload(image, probes=ProbesSpec()), "w-1")
    pid = (await rig.phase(Phase.READY)).pid or 0
    holder = await rig.fleet.holder("w-1")
    await rig.fleet.fault("w-1", order())
    os.kill(holder.pid, signal.SIGKILL)
    await until(lambda: not alive(holder.pid), "the holder is dead")
    psutil.Process(pid).resume()  # what the warden does then
    again = await rig.fleet.holder("w-1")
    assert again.pid != holder.pid
    assert (await rig.fleet.fault("w-1", order())).active
