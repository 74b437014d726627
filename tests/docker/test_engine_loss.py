"""An engine that cannot be used says why in one sentence with its remedy, and is seen again as soon as it is back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from backend.config.fleet_file import DockerFile
from backend.config.paths import StatePaths
from backend.contract.clock import SystemClock
from backend.contract.platform import Trouble
from backend.contract.words import Phase
from backend.fleet.docker_engine.fleet import DockerFleet
from tests.docker.engine import Engine
from tests.docker.fleet_rig import fleet_on, until
from tests.fakes.ledger import MemoryLedger

_PROGRAM = """
import asyncio, os, sys
from pathlib import Path
from backend.fleet.docker_engine.client import EngineClient
import docker, httpx, msgspec
os.setgid(65534); os.setgroups([]); os.setuid(65534)
async def main():
    client = EngineClient(environ={"DOCKER_HOST": sys.argv[1]})
    try:
        await client.connect()
    except Exception as error:
        print(getattr(error, "trouble", type(error).__name__), error)
asyncio.run(main())
"""


async def trouble_of(base: Path, environ: dict[str, str], context: str = "") -> Trouble:
    """What a fleet says of such an engine. It opens and closes all the same."""
    paths = StatePaths(base / "state").create()
    settings = DockerFile(context=context)
    fleet = DockerFleet(paths, MemoryLedger(), SystemClock(), "docker", settings, environ=environ)
    began = time.monotonic()
    try:
        assert await fleet.adopt() == []
        assert time.monotonic() - began < 50.0
        found = fleet.trouble()
        assert found is not None
        assert found.message.endswith(".") and found.next_step.endswith(".")
        return found
    finally:
        await fleet.close()


async def test_an_engine_killed_and_started_again_is_followed_on(engine: Engine, busybox: str, tmp_path: Path) -> None:
    async with fleet_on(tmp_path, engine, busybox, label="loss") as rig:
        await asyncio.gather(rig.run("x-kept", restart_policy={"Name": "always"}), rig.run("x-plain"))
        before = await rig.phase("x-kept", Phase.READY)
        await rig.phase("x-plain", Phase.READY)
        await rig.fleet.want_logs(["x-kept"])
        engine.kill()
        await until(lambda: rig.fleet.trouble() is not None, "the loss is seen")
        trouble = rig.fleet.trouble()
        assert trouble is not None and trouble.kind == "unreachable" and trouble.message.count(".") <= 3
        assert {status.name for status in rig.fleet.observe()} == {"x-kept", "x-plain"}, "what was seen stays on screen"
        await asyncio.to_thread(engine.start)
        await until(lambda: rig.fleet.trouble() is None, "it is seen again")
        await until(
            lambda: any(s.name == "x-kept" and s.pid not in (None, before.pid) for s in rig.fleet.observe()), "new"
        )
        await rig.phase("x-kept", Phase.READY)
        await rig.phase("x-plain", Phase.FAILED, "stopped with its engine")
        assert [w.spec.replicas for w in rig.fleet.workloads()] == [1, 1], "it is missed: nobody wished that"
        assert rig.fleet.platform.watch.lists == 2, "one list after the break, not one more"
        await rig.run("x-new")
        await rig.phase("x-new", Phase.READY)
        kinds = [row.kind for row in rig.rows.events("docker.") if row.subject == "docker"]
        assert kinds[0] == "docker.trouble" and kinds[-1] == "docker.reachable"
        await until(lambda: rig.messages("x-kept").count("up") == 2, "its log goes on too")


async def test_a_broken_stream_of_events_is_taken_up_where_it_ended(
    engine: Engine, busybox: str, tmp_path: Path
) -> None:
    """Between us and the engine stands a proxy that breaks every connection; what happened meanwhile is told."""
    near = engine.folder / f"near-{os.getpid()}.sock"
    open_now: set[asyncio.Task[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_now.add(task)
        far_reader, far_writer = await asyncio.open_unix_connection(engine.socket)

        async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(65536):
                    target.write(data)
                    await target.drain()
            target.close()

        try:
            await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))
        finally:
            open_now.discard(task)
            writer.transport.abort()
            far_writer.transport.abort()

    server = await asyncio.start_unix_server(carry, near)
    try:
        async with fleet_on(tmp_path, engine, busybox, label="broken") as rig:
            await rig.fleet.close()
            rig.fleet = DockerFleet(
                rig.paths,
                rig.rows,
                SystemClock(),
                "docker",
                rig.settings,
                environ={"DOCKER_HOST": f"unix://{near}"},
            )
            await rig.fleet.adopt()
            await rig.run("r-1")
            await rig.phase("r-1", Phase.READY)
            server.close()
            for task in list(open_now):
                task.cancel()
            await until(lambda: rig.fleet.trouble() is not None, "the loss is seen")
            await asyncio.to_thread(lambda: engine.sdk.containers.get("r-1").kill())
            await asyncio.to_thread(lambda: engine.sdk.containers.get("r-1").wait())
            near.unlink(missing_ok=True)
            again = await asyncio.start_unix_server(carry, near)
            await rig.phase("r-1", Phase.FAILED, "killed by signal 9")
            died = [row for row in rig.rows.events("docker.died") if row.subject == "r-1"]
            assert len(died) == 1, "what happened in the break is told, once"
            await rig.fleet.close()
            again.close()
    finally:
        server.close()


async def test_what_cannot_be_used_says_so_in_one_sentence(engine: Engine, tmp_path: Path) -> None:
    config = {"DOCKER_CONFIG": str(tmp_path / "config")}
    lost = await trouble_of(tmp_path, config, context="prod")
    assert lost.kind == "not-found" and "There is no Docker context `prod`." in lost.message
    gone = await trouble_of(tmp_path, {"DOCKER_HOST": f"unix://{tmp_path}/none.sock"})
    assert gone.kind == "unreachable" and f"no socket at {tmp_path}/none.sock" in gone.message
    refused = await trouble_of(tmp_path, {"DOCKER_HOST": "tcp://127.0.0.1:9"})
    assert refused.kind == "unreachable" and "not running" in refused.message
    empty = await trouble_of(tmp_path, config | {"DOCKER_HOST": "tcp://127.0.0.1:9", "DOCKER_TLS_VERIFY": "1"})
    assert empty.kind == "misconfigured" and "ca.pem" in empty.message


async def test_a_socket_without_rights_names_the_group_to_join(engine: Engine) -> None:
    engine.folder.chmod(0o755)
    engine.socket.chmod(0o660)
    program = await asyncio.to_thread(
        lambda: subprocess.run(
            [sys.executable, "-c", _PROGRAM, engine.host], capture_output=True, text=True, timeout=60
        )
    )
    assert program.stdout.startswith("forbidden You may not use the Docker socket"), program.stderr
    assert "usermod -aG" in program.stdout


async def test_an_engine_that_never_answers_is_told_apart_from_none(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backend.fleet.docker_engine.client import EngineClient
    from backend.fleet.docker_engine.errors import EngineTrouble

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    path = engine.folder / "silent.sock"
    server = await asyncio.start_unix_server(silent, path)
    client = EngineClient(environ={"DOCKER_HOST": f"unix://{path}"}, call_s=1.0)
    try:
        with pytest.raises(EngineTrouble, match="does not answer") as found:
            await client.connect()
        assert found.value.trouble == "unreachable"
    finally:
        await client.close()
        server.close()
