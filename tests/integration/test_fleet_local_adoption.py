"""A daemon that dies and the next one: the same processes, and nothing that happened between is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from backend.contract.words import Phase
from backend.shim import client
from tests.integration.shim_rig import alive, get, processes_about, short_dir, until
from tests.integration.test_fleet_local import Rig, running, workload

base = pytest.fixture(short_dir, name="base")

DAEMON = """
import asyncio, sys, msgspec
from pathlib import Path
from backend.config.paths import StatePaths
from backend.contract.clock import SystemClock
from backend.contract.fleet import WorkloadSpec
from backend.contract.words import Phase
from backend.shim import client
from backend.fleet.local import LocalFleet

class Nowhere:
    def append(self, row): pass
    async def append_durable(self, row): pass

async def main():
    fleet = LocalFleet(StatePaths(Path(sys.argv[1])), Nowhere(), SystemClock())
    spec = msgspec.json.decode(sys.argv[2], type=WorkloadSpec)
    wanted = [f"w-{number}" for number in range(1, 1 + int(sys.argv[3]))]
    for name in wanted:
        await fleet.create(spec, name)
    while any(status.phase is not Phase.READY for status in fleet.observe()):
        await asyncio.sleep(0.01)
    print(*(status.pid for status in fleet.observe()), flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


@pytest.fixture
async def rig(base: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    async with running(base, monkeypatch) as made:
        yield made


async def killed_daemon(rig: Rig, count: int) -> list[int]:
    """Let another process start `count` replicas, kill -9 it, and return the replicas' pids."""
    spec = msgspec.json.encode(workload(rig.base)).decode()
    daemon = subprocess.Popen(  # noqa: ASYNC220 - a blocking fork is fine in a test
        [sys.executable, "-c", DAEMON, str(rig.paths.state_dir), spec, str(count)], stdout=subprocess.PIPE, text=True
    )
    assert daemon.stdout is not None
    pids = [int(word) for word in (await asyncio.to_thread(daemon.stdout.readline)).split()]
    daemon.kill()
    daemon.wait()
    daemon.stdout.close()
    assert len(pids) == count
    return pids


async def test_ten_replicas_are_adopted_with_their_pids(rig: Rig) -> None:
    pids = await killed_daemon(rig, 10)
    adopted = await rig.fleet.adopt()
    assert sorted(status.pid or 0 for status in adopted) == sorted(pids)
    assert all(status.adopted for status in adopted)
    for status in adopted:
        await rig.phase(Phase.READY, status.name)
    assert len(rig.rows.events("adopted")) == 10
    assert rig.rows.events("started") == []
    status = rig.status("w-3")
    assert await get(status.port or 0, "/pid") == str(status.pid)
    before = rig.status("w-3")
    await rig.fleet.kill("w-3")
    assert (await rig.ready_again(before)).restarts == 1


async def test_an_exit_that_nobody_saw_is_told_and_mended(rig: Rig) -> None:
    killed, lost = await killed_daemon(rig, 2)
    os.kill(killed, signal.SIGKILL)
    shim = int(Path(f"/proc/{lost}/stat").read_text().rsplit(") ", 1)[1].split()[1])
    os.kill(shim, signal.SIGKILL)
    await until(lambda: not alive(killed) and not alive(lost), "both are dead")
    await until(lambda: not processes_about(rig.base), "their shims too")
    await rig.fleet.adopt()
    for name in ("w-1", "w-2"):
        status = await rig.phase(Phase.READY, name)
        assert status.restarts == 1
        assert status.pid not in (killed, lost)
    reasons = {event.subject: event.attributes["exit_reason"] for event in rig.rows.events("died")}
    assert reasons == {"w-1": "Killed", "w-2": "Unknown"}
    assert all(event.attributes["missed"] for event in rig.rows.events("died"))


async def test_an_exit_is_told_once_although_two_daemons_see_it(rig: Rig) -> None:
    first = Rig(rig.base)
    spec = workload(rig.base, "--fail", "no weights")
    await first.fleet.create(spec, "w-1")
    await until(lambda: first.status().phase is Phase.CRASH_LOOP, "it loops")
    await first.fleet.close()
    told = len(first.rows.events("died"))
    crashes = first.rows.events("crashloop")[-1].attributes["crashes"]
    await rig.fleet.adopt()
    assert rig.status().restarts == told
    assert rig.rows.events("died") == []
    await until(lambda: rig.rows.events("crashloop"), "it goes on looping")
    assert rig.rows.events("crashloop")[0].attributes["crashes"] == int(crashes or 0) + 1


async def test_a_restarted_daemon_leaves_other_records_alone(rig: Rig) -> None:
    (rig.paths.run_dir / "edge.json").write_text("{}")
    (rig.paths.run_dir / "w-9.exit.json").write_text('{"ts": 1}')
    assert await rig.fleet.adopt() == []
    for name in ("edge.json", "w-9.exit.json"):
        (rig.paths.run_dir / name).unlink()


async def test_a_frozen_shim_is_replaced_at_adoption(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_ADOPT_S", 1.0)
    (pid,) = await killed_daemon(rig, 1)
    shim = int(Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()[1])
    os.kill(shim, signal.SIGSTOP)
    await rig.fleet.adopt()
    status = await rig.phase(Phase.READY)
    assert status.pid != pid
    assert not alive(pid)
