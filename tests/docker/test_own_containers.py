"""Containers that we keep: phases, restarts, back-off, drills' verbs, adoption, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backend.contract.errors import TrinityError, Unreachable
from backend.contract.fleet import (
    Fleet,
    Holdable,
    Killable,
    Maintainable,
    ProbeSpec,
    ProbesSpec,
    Restartable,
    Spliceable,
)
from backend.contract.log_notes import STARTS, read_notes
from backend.contract.platform import Pausable
from backend.contract.words import Phase
from backend.fleet.docker_engine.ours import OwnContainers
from tests.docker.engine import Engine
from tests.docker.images import make_image
from tests.docker.own_rig import Rig, running, workload
from tests.integration.shim_rig import get, short_dir, until

base = pytest.fixture(short_dir, name="base")


PATIENT = ProbeSpec(path="/pid", period_s=0.1, failure_threshold=200)


@pytest.fixture(scope="module")
def image(engine: Engine) -> str:
    return make_image("plain", engine.host)


@pytest.fixture
async def rig(base: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    async with running(base, engine.host, monkeypatch) as made:
        yield made


def accepts(fleet: OwnContainers) -> Fleet:
    """For the type checker: OwnContainers is a Fleet."""
    return fleet


async def test_a_new_container_goes_from_pending_to_ready_without_rights(rig: Rig, image: str) -> None:
    for capability in (Killable, Restartable, Holdable, Maintainable, Spliceable, Pausable):
        assert isinstance(accepts(rig.fleet), capability)
    limit = 200 * 2**20
    await rig.fleet.create(workload(image, revision="r7", memory_limit_bytes=limit, health_port=True), "w-1")
    assert rig.status().phase is Phase.PENDING, "create must not wait for Ready"
    status = await rig.phase(Phase.READY)
    phases = [change.phase for _, change in rig.changes]
    assert list(dict.fromkeys(phases)) == [Phase.PENDING, Phase.STARTING, Phase.READY]
    assert (status.revision, status.image, status.memory_limit_bytes, status.owner) == ("r7", image, limit, "")
    seen = await rig.inspect()
    assert seen["Config"]["User"] not in ("", "root", "0")
    assert seen["HostConfig"]["RestartPolicy"]["Name"] == "no", "we restart"
    assert seen["HostConfig"]["Memory"] == limit
    bound = {port: held[0]["HostIp"] for port, held in seen["HostConfig"]["PortBindings"].items()}
    assert bound == {f"{status.port}/tcp": "127.0.0.1", f"{status.health_port}/tcp": "127.0.0.1"}
    env = dict(word.split("=", 1) for word in seen["Config"]["Env"])
    assert (env["PORT"], env["HEALTH_PORT"]) == (str(status.port), str(status.health_port))
    assert (env["TRINITY_REPLICA"], env["TRINITY_WORKLOAD"], env["HOST"]) == ("w-1", "w", "0.0.0.0")
    await until(lambda: rig.status().cpu_percent is not None, "it is measured")
    assert 0 < (rig.status().memory_bytes or 0) < limit


async def test_a_killed_container_is_seen_at_once_and_started_again(rig: Rig, image: str) -> None:
    await rig.fleet.create(workload(image), "w-1")
    before = await rig.phase(Phase.READY)
    made = (await rig.inspect())["Id"]
    begun = time.monotonic()
    assert await rig.fleet.kill("w-1") == before.pid
    died_s = next(at for at, change in rig.changes if change.phase is Phase.NOT_READY) - begun
    after = await rig.ready_again(before)
    ready_s = time.monotonic() - begun
    print(f"a death was seen {died_s * 1000:.0f} ms after the order to kill, Ready again after {ready_s:.2f} s")
    assert died_s < 5.0, "told by the engine, at once"
    assert (after.restarts, after.port) == (1, before.port)
    assert after.last_exit is not None
    assert (after.last_exit.signal, after.last_exit.pid, after.last_exit.reason) == (9, before.pid, "Killed")
    assert rig.rows.events("died")[0].attributes["counted"] is False, "our own kill is no crash"
    assert (await rig.inspect())["Id"] == made, "the same container, started again"


async def test_the_output_of_every_life_is_kept(rig: Rig, image: str) -> None:
    await rig.fleet.create(workload(image), "w-1")
    before = await rig.phase(Phase.READY)
    await get(before.port or 0, "/say?lines=3&size=20000", before.host)
    await rig.fleet.restart("w-1", reason="test")
    ended = (await rig.ready_again(before)).last_exit
    assert ended is not None
    assert ended.reason == "Stopped"
    folder = rig.paths.replica_log_dir("w-1")
    await until(lambda: (folder / "current.log").read_text().count("serving as") == 2, "the second life's line")
    lines = (folder / "current.log").read_text().splitlines()
    assert sum(line.count("x") for line in lines) == 3 * 20000, "whole lines, none twice"
    assert [number for number, _ in read_notes((folder / STARTS).read_bytes())] == [1, 2]


async def test_each_bad_end_says_why(rig: Rig, image: str) -> None:
    await rig.fleet.create(workload(image, "--fail", "no model file", "--code", "3"), "fails")
    await rig.fleet.create(workload("127.0.0.1:9/nothing:1"), "lacks")
    await rig.fleet.create(workload(image, memory_limit_bytes=64 * 2**20), "eats")
    before = await rig.phase(Phase.READY, "eats")
    asking = asyncio.create_task(get(before.port or 0, "/eat?mb=200", before.host))
    after = await rig.ready_again(before)
    await asyncio.wait([asking])
    asking.exception()
    assert after.last_exit is not None
    assert after.last_exit.reason == "OOMKilled"
    assert [event.subject for event in rig.rows.events("oom_killed")] == ["eats"]
    fails = await rig.phase(Phase.CRASH_LOOP, "fails")
    assert fails.reason == "exit code 3: error: no model file"
    assert fails.next_start_ts is not None
    assert (
        next(event.attributes["delay_s"] for event in rig.rows.events("crashloop") if event.subject == "fails") == 1.0
    )
    lacks = await rig.phase(Phase.CRASH_LOOP, "lacks")
    assert "has no image 127.0.0.1:9/nothing:1" in lacks.reason
    assert "connection refused" in lacks.reason, "the registry's own words"
    with pytest.raises(TrinityError, match="has no process now"):
        await rig.fleet.kill("lacks")


async def test_held_it_stays_down_until_it_is_released_and_takes_another_port_where_its_own_is_taken(
    rig: Rig, image: str
) -> None:
    await rig.fleet.create(workload(image), "w-1")
    before = await rig.phase(Phase.READY)
    await rig.fleet.hold("w-1", held=True)
    await rig.fleet.kill("w-1")
    status = await rig.phase(Phase.FAILED)
    assert "held" in status.reason
    assert (await rig.inspect())["State"]["Running"] is False
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief.bind(("127.0.0.1", before.port or 0))
        thief.listen()
        await rig.fleet.hold("w-1", held=False)
        after = await rig.ready_again(before)
    assert after.port != before.port
    assert await rig.containers() == [f"/trinity-{rig.paths.digest}-w-1"]


async def test_paused_it_is_not_ready_and_no_probe_ends_it(rig: Rig, image: str) -> None:
    probe = ProbeSpec(path="/pid", period_s=0.1, timeout_s=1.0, failure_threshold=4)
    await rig.fleet.create(workload(image, probes=ProbesSpec(startup=PATIENT, readiness=probe, liveness=probe)), "w-1")
    before = await rig.phase(Phase.READY)
    await rig.fleet.pause("w-1")
    assert (await rig.phase(Phase.NOT_READY)).reason == "paused"
    assert (await rig.inspect())["State"]["Paused"] is True
    # By then it would have ended.
    await asyncio.sleep(1.5 * probe.failure_threshold * (probe.period_s + probe.timeout_s))
    assert rig.status().pid == before.pid
    await rig.fleet.unpause("w-1")
    await rig.fleet.unpause("w-1")
    assert (await rig.phase(Phase.READY)).pid == before.pid
    await rig.fleet.pause("w-1")
    await rig.fleet.remove("w-1", reason="a paused one can be removed")


async def test_a_tcp_probe_does_not_take_the_engines_port_for_the_program(rig: Rig, image: str) -> None:
    probes = ProbesSpec(readiness=ProbeSpec(kind="tcp", period_s=0.1, failure_threshold=1))
    await rig.fleet.create(workload(image, "--slow-start", "1.0", probes=probes), "w-1")
    status = await rig.phase(Phase.READY)
    assert status.started_ts is not None
    assert rig.rows.events("ready")[0].ts - status.started_ts > 1.0


async def test_a_new_daemon_takes_over_what_runs_and_starts_what_died_meanwhile(rig: Rig, image: str) -> None:
    await rig.fleet.create(workload(image), "w-1")
    await rig.fleet.create(workload(image, health_port=True), "w-2")
    first, second = await rig.phase(Phase.READY), await rig.phase(Phase.READY, "w-2")
    await rig.detach()
    os.kill(second.pid or 0, signal.SIGKILL) if os.getuid() == 0 else None
    rig.open()
    await rig.client.call(lambda api: api.kill(f"trinity-{rig.paths.digest}-w-2")) if os.getuid() else None
    adopted = await rig.fleet.adopt()
    assert {status.name for status in adopted} == {"w-1", "w-2"}
    again = await rig.phase(Phase.READY)
    assert (again.pid, again.restarts, again.adopted, again.port) == (first.pid, 0, True, first.port)
    restarted = await rig.ready_again(second)
    assert restarted.restarts == 1
    assert [event.attributes["missed"] for event in rig.rows.events("died")] == [True]
    await rig.detach()
    rig.open()
    await rig.fleet.adopt()
    assert len(rig.rows.events("died")) == 1, "an end is told once"


async def test_one_that_somebody_removed_is_made_anew(rig: Rig, image: str) -> None:
    await rig.fleet.create(workload(image), "w-1")
    before = await rig.phase(Phase.READY)
    made = (await rig.inspect())["Id"]
    await rig.client.call(lambda api: api.remove_container(made, force=True))
    await rig.ready_again(before)
    assert (await rig.inspect())["Id"] != made


async def test_daemons_of_two_states_leave_each_others_containers_alone(
    rig: Rig, base: Path, engine: Engine, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.fleet.create(workload(image), "w-1")
    before = await rig.phase(Phase.READY)
    async with running(base / "other", engine.host, monkeypatch) as other:
        await other.fleet.create(workload(image), "w-1")
        await other.phase(Phase.READY)
        assert len(other.fleet.observe()) == len(rig.fleet.observe()) == 1
    assert rig.status().pid == before.pid
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))


async def test_when_the_engine_is_killed_and_back_containers_are_started_again(
    rig: Rig, engine: Engine, image: str
) -> None:
    await rig.fleet.create(workload(image), "w-1")
    await rig.fleet.create(workload(image), "w-2")
    before = [await rig.phase(Phase.READY, name) for name in ("w-1", "w-2")]
    engine.kill()
    await rig.fleet.hold("w-1", held=True)
    await rig.fleet.hold("w-1", held=False)
    with pytest.raises(Unreachable, match="Docker engine"):
        await rig.fleet.restart("w-1", reason="nobody can do that now")
    trouble = rig.fleet.trouble(0.0)
    assert trouble is not None
    assert trouble.kind == "unreachable"
    assert trouble.next_step
    with pytest.MonkeyPatch.context() as without:  # what carries our folder in its environment is ended with it
        without.delenv("XDG_RUNTIME_DIR")
        engine.start()
    for status in before:
        after = await rig.ready_again(status)
        assert after.last_exit is not None
    assert rig.fleet.trouble(0.0) is None
    assert len(await rig.containers()) == 2
