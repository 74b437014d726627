"""The shim with real processes: detached, one exit record whatever happens, nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from backend.contract.errors import PortTaken, TrinityError, Unreachable
from backend.contract.fleet import ExitRecord
from backend.contract.shim import ListenSocket
from backend.shim.client import ShimClient
from backend.shim.record import read_exit, read_record
from backend.shim.stop_all import stop_all
from tests.integration.shim_rig import (
    alive,
    free_port,
    get,
    listens,
    log_text,
    processes_about,
    server,
    short_dir,
    spec,
    until,
)

base = pytest.fixture(short_dir, name="base")


@pytest.fixture(autouse=True)
def no_zombies() -> Iterator[None]:
    """No test leaves this process a zombie child."""
    yield
    children = psutil.Process().children()
    assert [child for child in children if child.status() == psutil.STATUS_ZOMBIE] == []


async def test_the_program_runs_detached_from_its_launcher(base: Path) -> None:
    client = await ShimClient.launch(spec(base, *server("--port", str(free_port())), cwd=str(base), nice=7))
    record = client.record
    shim, program = psutil.Process(record.shim_pid), psutil.Process(record.pid)
    assert os.getsid(record.shim_pid) == record.shim_pid
    assert os.getpgid(program.pid) == program.pid
    assert shim.ppid() != os.getpid()
    assert (shim.terminal(), program.terminal()) == (None, None)
    assert program.ppid() == shim.pid
    assert program.cwd() == str(base)
    assert program.nice() == 7
    assert program.environ()["SHIM_TEST"] == str(base)
    for number in (0, 1, 2):
        assert (Path(f"/proc/{shim.pid}/fd") / str(number)).readlink() == Path("/dev/null")
    assert stat.S_IMODE(Path(record.spec.socket_path).stat().st_mode) == 0o600
    assert stat.S_IMODE(Path(record.spec.record_path).stat().st_mode) == 0o600
    assert await client.status() == record == read_record(record.spec.record_path)
    await client.stop(20.0)


async def test_a_killed_program_is_told_and_written_down(base: Path) -> None:
    client = await ShimClient.launch(spec(base, *server("--port", str(free_port()))))
    await until(lambda: "serving" in log_text(base), "the program serves")
    told: asyncio.Future[ExitRecord] = asyncio.get_running_loop().create_future()
    client.on_exit(told.set_result)
    pid = client.record.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    record = await asyncio.wait_for(told, 30.0)
    assert (record.signal, record.code, record.reason, record.pid) == (9, None, "Killed", pid)
    assert record.last_lines == (f"serving as {pid}",)
    assert (record.max_rss_bytes or 0) > 1_000_000
    await asyncio.wait_for(client.closed(), 30.0)
    assert read_exit(base / "r-1.exit.json") == record
    assert read_record(base / "r-1.json") is not None, "a missed exit must stay findable"
    assert processes_about(base) == []
    with pytest.raises(Unreachable):
        await client.status()


@pytest.mark.parametrize(("code", "reason"), [(0, "Completed"), (3, "Error")])
async def test_exit_codes_are_kept(base: Path, code: int, reason: str) -> None:
    told: asyncio.Future[ExitRecord] = asyncio.get_running_loop().create_future()
    client = await ShimClient.launch(spec(base, "sh", "-c", f"echo out; echo err >&2; exit {code}"))
    client.on_exit(told.set_result)
    record = await asyncio.wait_for(told, 30.0)
    assert (record.code, record.signal, record.reason) == (code, None, reason)
    assert set(record.last_lines) == {"out", "err"}
    await client.closed()


async def test_a_program_that_ends_before_anyone_listens_is_still_told(base: Path) -> None:
    for number in range(10):
        told: asyncio.Future[ExitRecord] = asyncio.get_running_loop().create_future()
        client = await ShimClient.launch(spec(base, "true", name=f"r-{number}"))
        await asyncio.wait_for(client.closed(), 30.0)
        client.on_exit(told.set_result)
        assert (await asyncio.wait_for(told, 30.0)).code == 0


async def test_a_killed_shim_takes_its_program_with_it(base: Path) -> None:
    client = await ShimClient.launch(spec(base, *server("--port", str(free_port()), "--child")))
    await until(lambda: "serving" in log_text(base), "the program serves")
    told: asyncio.Future[ExitRecord] = asyncio.get_running_loop().create_future()
    client.on_exit(told.set_result)
    os.kill(client.record.shim_pid, signal.SIGKILL)
    record = await asyncio.wait_for(told, 30.0)
    assert record.reason == "Unknown"
    assert record.pid == client.record.pid
    await client.closed()
    await until(lambda: not processes_about(base), "program and its child are gone")
    assert await ShimClient.adopt(base / "r-1.json") is None
    assert [path.name for path in base.iterdir()] == ["logs"]


async def test_a_shim_that_ends_while_it_is_adopted_is_gone(base: Path) -> None:
    client = await ShimClient.launch(spec(base, *server("--port", str(free_port()))))
    os.kill(client.record.shim_pid, signal.SIGSTOP)
    adoption = asyncio.ensure_future(ShimClient.adopt(base / "r-1.json"))
    await asyncio.sleep(0.2)
    assert not adoption.done()
    os.kill(client.record.shim_pid, signal.SIGKILL)
    assert await adoption is None
    await client.closed()


async def test_a_killed_shim_takes_its_program_with_it_even_if_nobody_watches(base: Path) -> None:
    client = await ShimClient.launch(spec(base, *server("--ignore-term")))
    await until(lambda: "serving" in log_text(base), "the program serves")
    await client.close()
    os.kill(client.record.shim_pid, signal.SIGKILL)
    await until(lambda: not alive(client.record.pid), "the program is gone")


LAUNCHER = """
import asyncio, sys, msgspec
from backend.contract.shim import ShimSpec
from backend.shim.client import ShimClient
async def main():
    client = await ShimClient.launch(msgspec.json.decode(sys.argv[1], type=ShimSpec))
    print(client.record.shim_pid, client.record.pid, flush=True)
    await client.closed()
asyncio.run(main())
"""


async def test_a_killed_daemon_changes_nothing_and_the_next_adopts(base: Path) -> None:
    wanted = msgspec.json.encode(spec(base, *server("--port", str(port := free_port())))).decode()
    daemon = subprocess.Popen(  # noqa: ASYNC220 - a blocking fork is fine in a test
        [sys.executable, "-c", LAUNCHER, wanted], stdout=subprocess.PIPE, text=True
    )
    assert daemon.stdout is not None
    shim_pid, pid = (int(word) for word in (await asyncio.to_thread(daemon.stdout.readline)).split())
    await until(lambda: "serving" in log_text(base), "the program serves")
    daemon.kill()
    daemon.wait()
    daemon.stdout.close()
    assert await get(port, "/pid") == str(pid)
    client = await ShimClient.adopt(base / "r-1.json")
    assert client is not None
    assert (client.record.shim_pid, client.record.pid) == (shim_pid, pid)
    await client.close()
    assert alive(pid)
    again = await ShimClient.adopt(base / "r-1.json")
    assert again is not None
    assert (await again.stop(20.0)).reason == "Stopped"
    assert not alive(pid)


async def test_memory_over_the_limit_is_oom_killed(base: Path) -> None:
    port = free_port()
    limit = 120 * 1024 * 1024
    client = await ShimClient.launch(spec(base, *server("--port", str(port)), memory_limit_bytes=limit))
    await until(lambda: "serving" in log_text(base), "the program serves")
    told: asyncio.Future[ExitRecord] = asyncio.get_running_loop().create_future()
    client.on_exit(told.set_result)
    await get(port, "/eat?mb=20")
    assert not told.done()
    with contextlib.suppress(OSError):
        for _ in range(20):
            await get(port, "/eat?mb=40")
    record = await asyncio.wait_for(told, 30.0)
    assert (record.reason, record.signal) == ("OOMKilled", 9)
    assert (record.max_rss_bytes or 0) > limit
    await client.closed()


async def test_output_is_rotated_by_the_shim(base: Path) -> None:
    port = free_port()
    client = await ShimClient.launch(spec(base, *server("--port", str(port)), log_max_bytes=20_000, log_backups=1))
    await until(lambda: "serving" in log_text(base), "the program serves")
    await get(port, "/say?lines=2000&size=40")
    await until(lambda: "1999 " + "x" * 40 in log_text(base), "the last line is written")
    files = list((base / "logs" / "r-1").glob("*.log"))
    assert len(files) == 2
    assert all(path.stat().st_size <= 20_000 + 65_536 * 2 for path in files)
    numbers = [int(line.split(" ")[3]) for line in log_text(base).splitlines() if "xxx" in line]
    assert numbers == list(range(numbers[0], 2000))
    await client.stop(20.0)


async def test_a_full_disk_does_not_stop_the_program(base: Path) -> None:
    port = free_port()
    (base / "logs" / "r-1").mkdir(parents=True)
    (base / "logs" / "r-1" / "current.log").symlink_to("/dev/full")
    client = await ShimClient.launch(spec(base, *server("--port", str(port))))
    await until(lambda: listens(port), "the program serves")
    assert await get(port, "/say?lines=500&size=1000") == "ok"
    (base / "logs" / "r-1" / "current.log").unlink()
    await get(port, "/say?lines=1")
    await until(lambda: "lines were lost here (No space left on device)" in log_text(base), "the loss is told")
    await client.stop(20.0)


async def test_a_taken_port_names_its_owner(base: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        listen = (ListenSocket(name="public", host="127.0.0.1", port=port, fd=3),)
        with pytest.raises(PortTaken) as caught:
            await ShimClient.launch(spec(base, *server("--fd", "3"), listen=listen))
    assert f"(pid {os.getpid()})" in caught.value.owner
    assert f"Port {port} on 127.0.0.1 (public)" in str(caught.value)
    assert list(base.iterdir()) == []


@pytest.mark.parametrize(
    ("argv", "cwd", "sentence"),
    [
        (("no-such-engine", "--x"), None, "There is no program no-such-engine."),
        (("true",), "/no/such/place", "There is no directory /no/such/place."),
        (("/dev/null",), None, "/dev/null cannot be started: Permission denied."),
    ],
)
async def test_what_cannot_be_started_is_said(
    base: Path, argv: tuple[str, ...], cwd: str | None, sentence: str
) -> None:
    with pytest.raises(TrinityError, match=sentence.replace(".", r"\.")):
        await ShimClient.launch(spec(base, *argv, cwd=cwd))
    assert [path.name for path in base.iterdir()] == ["logs"]
    await until(lambda: not processes_about(base), "its shim is gone")


async def test_a_shim_that_starts_too_late_leaves_nothing(base: Path) -> None:
    """Nobody waits for it any more: it may be at any line of its start, and must not stay on its own."""
    with pytest.raises(TrinityError, match="did not start within"):
        await ShimClient.launch(spec(base, *server()), timeout_s=0.01)
    for number in range(1, 12):
        with contextlib.suppress(TrinityError):
            client = await ShimClient.launch(spec(base, *server(), name=f"r-{number}"), timeout_s=0.01 + number * 0.01)
            await client.stop(20.0)
    await until(lambda: not processes_about(base), "none of them stays")


async def test_a_shim_that_cannot_be_spoken_to_is_not_left_running(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise TimeoutError

    with monkeypatch.context() as patch:
        patch.setattr(asyncio, "open_unix_connection", refuse)
        with pytest.raises(Unreachable, match="does not answer"):
            await ShimClient.launch(spec(base, *server()))
    await until(lambda: not processes_about(base), "it is gone with its program")
    client = await ShimClient.launch(spec(base, *server()))
    await client.stop(20.0)


async def test_a_name_in_use_is_refused(base: Path) -> None:
    client = await ShimClient.launch(spec(base, *server()))
    with pytest.raises(TrinityError, match="already runs"):
        await ShimClient.launch(spec(base, *server()))
    assert alive(client.record.pid)
    await client.stop(20.0)


async def test_stop_ends_what_ignores_it_after_the_grace(base: Path) -> None:
    client = await ShimClient.launch(spec(base, *server("--ignore-term", "--child")))
    await until(lambda: "serving" in log_text(base), "the program serves")
    begun = time.monotonic()
    record = await client.stop(0.3)
    assert time.monotonic() - begun >= 0.3
    assert (record.reason, record.signal) == ("Stopped", 9)
    assert processes_about(base) == []
    assert not (base / "r-1.json").exists()
    assert not (base / "r-1.sock").exists()


@pytest.mark.parametrize("ends_by", ["itself", "stop"])
async def test_descendants_that_left_the_session_are_ended_too(base: Path, ends_by: str) -> None:
    script = "setsid sleep 1000 & (setsid sh -c 'sleep 1001 & sleep 1002' &) ; echo forked; "
    script += "exit 3" if ends_by == "itself" else "exec sleep 1003"
    client = await ShimClient.launch(spec(base, "sh", "-c", script))
    await until(lambda: "forked" in log_text(base), "it forked")
    if ends_by == "stop":
        await until(lambda: len(processes_about(base)) == 6, "all run")
        await client.stop(20.0)
    else:
        await asyncio.wait_for(client.closed(), 30.0)
    assert processes_about(base) == []


async def test_a_frozen_program_can_be_stopped(base: Path) -> None:
    client = await ShimClient.launch(spec(base, *server()))
    await until(lambda: "serving" in log_text(base), "the program serves")
    await client.signal(signal.SIGSTOP)
    await until(lambda: psutil.Process(client.record.pid).status() == psutil.STATUS_STOPPED, "it is frozen")
    assert (await client.stop(30.0)).code == 0


async def test_sigterm_to_the_shim_stops_both(base: Path) -> None:
    client = await ShimClient.launch(spec(base, *server()))
    await until(lambda: "serving" in log_text(base), "the program serves")
    os.kill(client.record.shim_pid, signal.SIGTERM)
    await asyncio.wait_for(client.closed(), 30.0)
    assert processes_about(base) == []
    assert read_record(base / "r-1.json") is None


async def test_requests_that_are_none_do_not_harm_the_shim(base: Path) -> None:
    client = await ShimClient.launch(spec(base, *server()))
    for line in (
        b"\n",
        b"{}\n",
        b'{"id": 1, "op": "destroy"}\n',
        b"\xff\xfe\n",
        b'{"id":1,"op":"signal","signum":999}\n',
    ):
        reader, writer = await asyncio.open_unix_connection(client.record.spec.socket_path)
        writer.write(line)
        answer = json.loads(await asyncio.wait_for(reader.readline(), 30.0))
        assert answer["error"]
        writer.close()
    with pytest.raises(TrinityError, match="still running"):
        await client.reap()
    assert (await client.status()).pid == client.record.pid
    await client.stop(20.0)


async def test_stop_all_works_without_a_daemon_and_on_frozen_shims(base: Path) -> None:
    clients = [await ShimClient.launch(spec(base, *server("--child"), name=f"r-{number}")) for number in range(3)]
    await until(lambda: all("serving" in log_text(base, f"r-{number}") for number in range(3)), "all serve")
    for client in clients:
        await client.close()
    os.kill(clients[1].record.shim_pid, signal.SIGSTOP)
    gone = clients[2].record
    os.kill(gone.shim_pid, signal.SIGKILL)
    await until(lambda: not alive(gone.shim_pid), "that shim is gone")
    assert await asyncio.to_thread(stop_all, base, 1.0) == ["r-0", "r-1"]
    assert processes_about(base) == []
    assert [path.name for path in base.glob("*.json") if "exit" not in path.name] == []


async def test_stop_all_leaves_a_stranger_with_a_recycled_pid_alone(base: Path) -> None:
    client = await ShimClient.launch(spec(base, "sleep", "1000"))
    record = client.record
    await client.stop(1.0)
    stranger = subprocess.Popen(["sleep", "1000"], start_new_session=True)  # noqa: ASYNC220
    try:
        forged = msgspec.structs.replace(
            record,
            shim_pid=stranger.pid,
            shim_start=record.shim_start - 100,
            pid=stranger.pid,
            pid_start=record.shim_start - 99,
        )
        (base / "r-1.json").write_bytes(msgspec.json.encode(forged))
        assert stop_all(base, 0.2) == []
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
