"""Every verb on a container does what it says: restart, kill, pause, exec, dial, logs, describe."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from backend.contract.errors import Refused, Unreachable, UsageError
from backend.contract.fleet import Fleet, Killable, Restartable, Spliceable
from backend.contract.log_lines import stamp_of
from backend.contract.log_notes import STARTS, read_notes
from backend.contract.platform import (
    Describable,
    Executable,
    Forwardable,
    HasNodes,
    HasPorts,
    Limited,
    Loggable,
    Pausable,
    PlatformOwned,
    Reversible,
)
from backend.contract.words import Phase
from tests.docker.engine import Engine
from tests.docker.fleet_rig import SERVE, FleetRig, fleet_on, until

_CAPABILITIES = (
    *(Killable, Restartable, Spliceable, Describable, Executable, Forwardable, HasNodes, HasPorts, Limited, Loggable),
    *(Pausable, PlatformOwned, Reversible),
)


async def output(rig: FleetRig, replica: str, *argv: str, tty: bool = False, data: bytes = b"") -> tuple[bytes, int]:
    program = await rig.fleet.exec(replica, argv, tty=tty, columns=101, rows=33)
    if data:
        await program.write(data)
    if not tty:
        await program.end()
    said = b""
    while piece := await program.read():
        said += piece
    code = await program.exit_code()
    await program.close()
    return said, code


async def test_a_container_is_killed_restarted_and_paused(engine: Engine, busybox: str, tmp_path: Path) -> None:
    async with fleet_on(tmp_path, engine, busybox, label="verbs") as rig:
        fleet: Fleet = rig.fleet
        assert all(isinstance(fleet, capability) for capability in _CAPABILITIES)
        await asyncio.gather(
            rig.run("v-kept", restart_policy={"Name": "always"}), rig.run("v-plain"), rig.run("v-off", start=False)
        )
        before = await rig.phase("v-kept", Phase.READY)
        await rig.phase("v-plain", Phase.READY)

        assert await rig.fleet.kill("v-kept") == before.pid
        await until(
            lambda: (now := rig.status("v-kept")) is not None and now.restarts == 1, "its policy starts it again"
        )
        again = await rig.phase("v-kept", Phase.READY)
        assert again.pid != before.pid
        assert again.last_exit is not None and again.last_exit.signal == 9

        await rig.fleet.kill("v-plain", signal=15)
        plain = await rig.phase("v-plain", Phase.COMPLETED)
        assert plain.last_exit is not None and plain.last_exit.code == 0
        await rig.fleet.restart("v-plain", reason="test")
        assert (await rig.phase("v-plain", Phase.READY)).restarts == 1

        await rig.fleet.pause("v-plain")
        frozen = rig.status("v-plain")
        assert frozen is not None and (frozen.phase, frozen.reason) == (Phase.NOT_READY, "paused")
        await rig.fleet.unpause("v-plain")
        await rig.fleet.unpause("v-plain")
        thawed = rig.status("v-plain")
        assert thawed is not None and thawed.phase == Phase.READY

        with pytest.raises(Refused, match="does not run"):
            await rig.fleet.kill("v-off")
        with pytest.raises(UsageError, match="nothing called nobody"):
            await rig.fleet.pause("nobody")
        with pytest.raises(Refused, match="single container"):
            await rig.fleet.scale("v-plain", 2)


async def test_a_kill_through_the_engine_leaves_a_kept_container_kept(
    engine: Engine, busybox: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.fleet.docker_engine.deeds._signal_process", lambda *args: False)
    async with fleet_on(tmp_path, engine, busybox, label="far") as rig:
        await rig.run("k-kept", restart_policy={"Name": "always"})
        before = await rig.phase("k-kept", Phase.READY)
        await rig.fleet.kill("k-kept")
        await until(
            lambda: (now := rig.status("k-kept")) is not None and now.pid not in (None, before.pid), "it is back"
        )
        await rig.phase("k-kept", Phase.READY)


async def test_programs_run_in_containers(engine: Engine, busybox: str, tmp_path: Path) -> None:
    async with fleet_on(tmp_path, engine, busybox, label="exec") as rig:
        await asyncio.gather(rig.run("e-1"), rig.run("e-off", start=False))
        await rig.phase("e-1", Phase.READY)
        said, code = await output(rig, "e-1", "sh", "-c", "cat; echo problem >&2; exit 7", data=b"hello\n")
        assert sorted(said.split()) == [b"hello", b"problem"] and code == 7
        said, code = await output(rig, "e-1", "sh", tty=True, data=b"stty size; exit 3\n")
        assert b"33 101" in said and code == 3
        big = os.urandom(300_000).hex().encode()
        said, code = await output(rig, "e-1", "cat", data=big)
        assert said == big and code == 0
        said, code = await output(rig, "e-1", "/no/such/program")
        assert code == 126 and b"no such file" in said
        program = await rig.fleet.exec("e-1", ["sleep", "1000"], tty=False)
        await program.close()
        assert await program.read() == b""
        with pytest.raises(Refused, match="does not run"):
            await rig.fleet.exec("e-off", ["sh"], tty=False)


async def test_ports_are_dialled_published_or_not(engine: Engine, busybox: str, tmp_path: Path) -> None:
    async with fleet_on(tmp_path, engine, busybox, label="dial") as rig:
        await asyncio.gather(
            rig.run("d-open", *SERVE, ports={"8080/tcp": ("127.0.0.1", 0)}), rig.run("d-inside", *SERVE)
        )
        await rig.phase("d-open", Phase.READY)
        await rig.phase("d-inside", Phase.READY)

        async def page(replica: str) -> bytes:
            stream = await rig.fleet.dial(replica, 8080)
            await stream.write(b"GET / HTTP/1.0\r\n\r\n")
            await stream.end()
            said = b""
            while piece := await stream.read():
                said += piece
            await stream.close()
            return said

        assert b"hello from a container" in await page("d-open")
        assert b"hello from a container" in await page("d-inside"), "an engine on this machine is reached directly"
        with pytest.raises(Unreachable, match="cannot be reached"):
            await rig.fleet.dial("d-inside", 9)
        views = {view.source: view for view in rig.fleet.ports() if view.container_port == 8080}
        status = rig.status("d-open")
        assert status is not None and views["container d-open"].node_port == status.port
        assert views["container d-open"].url == f"http://127.0.0.1:{status.port}"


async def test_logs_are_stored_without_gap_or_double_over_restarts_and_new_containers(
    engine: Engine, busybox: str, tmp_path: Path
) -> None:
    script = "echo begin $N; trap 'echo end; exit 0' TERM; i=0; while :; do i=$((i+1)); echo line $i; sleep 0.02; done"
    async with fleet_on(tmp_path, engine, busybox, label="logs") as rig:
        await rig.run("l-1", "sh", "-c", script, environment={"N": "1"})
        await rig.run("l-tty", "sh", "-c", "echo to a terminal; sleep 1000", tty=True)
        await rig.phase("l-1", Phase.READY)
        await rig.phase("l-tty", Phase.READY)
        await rig.fleet.want_logs(["l-1", "l-tty"])
        assert rig.messages("l-1")[0] == "begin 1", "what was there before is stored on return"
        await until(lambda: rig.messages("l-tty") == ["to a terminal"], "a terminal's output is stored too")
        await until(lambda: "line 30" in rig.messages("l-1"), "it is followed")
        await rig.fleet.restart("l-1", reason="test")
        await until(lambda: rig.messages("l-1").count("begin 1") == 2, "the second life is followed")
        await rig.fleet.close()

        rig.fleet = rig.open()  # a new daemon goes on where the stored lines end
        await rig.fleet.adopt()
        await rig.fleet.want_logs(["l-1"])
        await asyncio.to_thread(lambda: engine.sdk.containers.get("l-1").stop(timeout=60))
        await until(lambda: rig.messages("l-1").count("end") == 2, "the last words are stored")
        kept = await asyncio.to_thread(lambda: engine.sdk.containers.get("l-1").logs().decode().splitlines())
        assert rig.messages("l-1") == kept, "exactly what the engine has"
        await asyncio.to_thread(lambda: engine.sdk.containers.get("l-1").remove())
        await rig.gone("l-1")

        await rig.run("l-1", "sh", "-c", script, environment={"N": "2"})
        await until(lambda: "begin 2" in rig.messages("l-1"), "the new container of that name is followed")
        assert rig.messages("l-1")[: len(kept)] == kept, "the former one's logs are kept"
        stamps = [stamp_of(line.encode()) for line in rig.stored("l-1").splitlines()]
        assert None not in stamps and stamps == sorted(stamps, key=lambda stamp: stamp or 0.0)
        starts = rig.paths.replica_log_dir("l-1") / STARTS
        # A container's first lines may be read before it is known when it began.
        await until(lambda: [n for n, _ in read_notes(starts.read_bytes())] == [1, 2, 3], "each life is noted")


async def test_the_last_words_of_a_container_are_kept_though_nobody_asked(
    engine: Engine, busybox: str, tmp_path: Path
) -> None:
    async with fleet_on(tmp_path, engine, busybox, label="words") as rig:
        await rig.run("w-1", "sh", "-c", "sleep 0.3; echo the disk is full; exit 5")
        await rig.phase("w-1", Phase.FAILED, "exit code 5: the disk is full")
        await asyncio.to_thread(lambda: engine.sdk.containers.get("w-1").remove())
        await rig.gone("w-1")
        assert rig.messages("w-1") == ["the disk is full"]


async def test_a_description_tells_everything_but_secrets(engine: Engine, busybox: str, tmp_path: Path) -> None:
    async with fleet_on(tmp_path, engine, busybox, label="describe") as rig:
        secrets = {"DB_PASSWORD": "hunter2", "DSN": "x", "URL": "redis://me:hunter2@cache/0", "MODE": "fast"}
        await rig.run("t-1", environment=secrets, mem_limit="64m")
        await rig.phase("t-1", Phase.READY)
        await rig.fleet.pause("t-1")
        described = await rig.fleet.describe("t-1")
        text = "\n".join(line for title, lines in described.sections for line in (title, *lines))
        assert "hunter2" not in text + described.source
        assert "MODE=fast" in text and "redis://me:<masked>@cache/0" in text
        assert "phase: NotReady (paused)" in text and "memory limit: 64 MiB" in text
        assert "docker.paused" in text
        with pytest.raises(UsageError, match="nothing called nobody"):
            await rig.fleet.describe("nobody")
