"""A respawning shim (the edge's): held listening sockets, reload, hold, back-off."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from backend.contract.errors import TrinityError
from backend.contract.fleet import ExitRecord
from backend.contract.log_notes import STARTS, read_notes
from backend.contract.shim import InheritedFile, ListenSocket
from backend.shim.client import ShimClient
from backend.shim.record import ShimRecord
from tests.integration.shim_rig import alive, free_port, get, listens, processes_about, server, short_dir, spec, until

base = pytest.fixture(short_dir, name="base")


class Heard:
    """What a client was told, in order."""

    def __init__(self, client: ShimClient) -> None:
        self.exits: list[ExitRecord] = []
        self.starts: list[ShimRecord] = []
        self.order: list[str] = []
        self.running: list[int | None] = []
        """At each exit: the program that runs when it is told."""
        client.on_exit(lambda record: (self.exits.append(record), self.order.append("exit")))  # type: ignore[func-returns-value]
        client.on_exit(lambda _record: self.running.append(client.record.pid))
        client.on_start(lambda record: (self.starts.append(record), self.order.append("start")))  # type: ignore[func-returns-value]


@asynccontextmanager
async def edge(base: Path, port: int, *options: str, **changes: object) -> AsyncIterator[tuple[ShimClient, Heard]]:
    """The tiny server on an inherited socket, respawned by its shim."""
    client = await ShimClient.launch(
        spec(
            base,
            *server("--fd", "3", "--log-fd", "7", *options),
            respawn=True,
            listen=(ListenSocket(name="public", host="127.0.0.1", port=port, fd=3),),
            files=(InheritedFile(path=str(base / "access" / "{start}.log"), fd=7),),
            **changes,
        )
    )
    try:
        yield client, Heard(client)
    finally:
        await client.stop(20.0)
        assert processes_about(base) == []
        assert not listens(port)


async def connect_forever(port: int, seen: list[str], refused: list[str], stop: asyncio.Event) -> None:
    """Open connections one after the other; a reset of one in flight is allowed, a refusal is not."""
    while not stop.is_set():
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError as error:
            refused.append(str(error))
            continue
        try:
            writer.write(b"GET /pid HTTP/1.0\r\n\r\n")
            answer = await asyncio.wait_for(reader.read(), 60.0)
            if answer.startswith(b"HTTP") and b"\r\n\r\n" in answer and not answer.endswith(b"\r\n"):
                seen.append(answer.rsplit(b"\r\n", 1)[1].decode())
        except OSError:
            pass  # the connection was in the killed program's hands
        finally:
            writer.transport.abort()


@pytest.mark.timeout(300)
async def test_no_connection_is_refused_over_twenty_kills(base: Path) -> None:
    port = free_port()
    async with edge(base, port) as (client, heard):
        seen: list[str] = []
        refused: list[str] = []
        stop = asyncio.Event()
        load = [asyncio.create_task(connect_forever(port, seen, refused, stop)) for _ in range(3)]
        for round_number in range(20):
            pid = client.record.pid
            await until(lambda pid=pid: str(pid) in seen, f"pid {pid} of round {round_number} answers")  # type: ignore[misc]
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await until(lambda pid=pid: client.record.pid not in (None, pid), "it is started again")  # type: ignore[misc]
        last = str(client.record.pid)
        await until(lambda: last in seen, "the last one answers")
        stop.set()
        await asyncio.gather(*load)
        assert refused == []
        await until(lambda: len(heard.starts) == 20, "the last start is told")
        assert len(heard.exits) == 20
        assert client.record.starts == 21
        assert len(set(seen)) == 21


async def test_a_killed_program_is_replaced_at_once(base: Path) -> None:
    async with edge(base, free_port()) as (client, heard):
        pid = client.record.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await until(lambda: heard.starts, "it is started again")
        assert heard.order == ["exit", "start"]
        assert heard.running == [client.record.pid], "the next one runs before its end is told"
        assert (heard.exits[0].pid, heard.exits[0].signal) == (pid, 9)
        assert heard.starts[0].pid == client.record.pid != pid


async def test_each_start_gets_a_new_file_and_the_number_outlives_the_shim(base: Path) -> None:
    port = free_port()
    for expected in ([1, 2], [1, 2, 3, 4]):
        async with edge(base, port) as (client, heard):
            await get(port, "/pid")
            os.kill(client.record.pid or 0, signal.SIGKILL)
            await until(lambda heard=heard: heard.starts, "it is started again")  # type: ignore[misc]
            await get(port, "/pid")
            assert client.record.start_number == expected[-1]
            last_pid = client.record.pid
        numbers = sorted(int(path.stem) for path in (base / "access").iterdir())
        assert numbers == expected
        starts = read_notes((base / "logs" / "r-1" / STARTS).read_bytes())
        assert [number for number, _ in starts] == expected, "readers of its log can tell its lives apart"
        last = base / "access" / f"{expected[-1]:08d}.log"
        assert last.read_text() == f"start {last_pid}\n"


async def test_a_program_that_cannot_live_is_tried_ever_more_slowly(base: Path) -> None:
    argv = ("sh", "-c", "echo error: bad configuration >&2; exit 1")
    async with edge(base, free_port(), argv=argv) as (client, heard):

        def ever_more_slowly() -> bool:
            gaps = [b.ts - a.ts for a, b in pairwise(heard.exits)]
            return any(a >= 0.1 and b >= 0.2 and c >= 0.4 for a, b, c in zip(gaps, gaps[1:], gaps[2:], strict=False))

        await until(ever_more_slowly, "three delays that grow")
        assert client.record.starts >= 8, "the first are followed at once"
        assert heard.exits[0].last_lines[-1] == "error: bad configuration"
        assert alive(client.record.shim_pid)


async def test_reload_starts_beside_the_old_one_which_is_reaped_at_its_end(base: Path) -> None:
    port = free_port()
    async with edge(base, port, reload_argv=("--replaces", "{pid}")) as (client, heard):
        await get(port, "/pid")
        old = client.record.pid
        after = await client.reload()
        assert after.pid != old
        assert alive(old)
        command = Path(f"/proc/{after.pid}/cmdline").read_bytes().split(b"\0")
        assert command[command.index(b"--replaces") + 1] == str(old).encode()
        os.kill(old or 0, signal.SIGTERM)
        await until(lambda: not Path(f"/proc/{old}").exists(), "the old one is reaped")
        assert (await client.status()).pid == after.pid
        assert heard.order == ["start"]


async def test_a_reload_that_fails_keeps_the_old_program(base: Path) -> None:
    port = free_port()
    async with edge(base, port, reload_argv=("--fail", "line 3: unknown keyword")) as (client, heard):
        await get(port, "/pid")
        old = client.record.pid
        await client.reload()
        await until(lambda: heard.exits, "the new one ends")
        assert heard.exits[0].code == 1
        assert heard.exits[0].last_lines[-1] == "error: line 3: unknown keyword"
        assert (await client.status()).pid == old
        assert await get(port, "/pid") == str(old)


async def test_stop_during_a_reload_ends_both(base: Path) -> None:
    port = free_port()
    async with edge(base, port) as (client, _):
        await get(port, "/pid")
        old = client.record.pid
        new = (await client.reload()).pid
        await client.stop(20.0)
        assert not alive(old)
        assert not alive(new)


async def test_a_held_program_stays_dead_and_its_callers_wait(base: Path) -> None:
    port = free_port()
    async with edge(base, port) as (client, heard):
        await get(port, "/pid")
        await client.hold(True)
        os.kill(client.record.pid or 0, signal.SIGKILL)
        await until(lambda: heard.exits, "it is dead")
        assert (await client.status()).pid is None
        assert client.record.held
        with pytest.raises(TrinityError, match="not running"):
            await client.signal(15)
        waiting = asyncio.create_task(get(port, "/pid"))
        adopted = await ShimClient.adopt(base / "r-1.json")
        assert adopted is not None
        assert adopted.record.pid is None
        await adopted.close()
        await client.hold(False)
        assert await waiting == str(client.record.pid)


async def test_a_held_dead_program_can_be_reaped(base: Path) -> None:
    client = await ShimClient.launch(spec(base, *server(), respawn=True))
    heard = Heard(client)
    await client.hold(True)
    await client.signal(9)
    await until(lambda: heard.exits, "it is dead")
    await client.reap()
    assert not (base / "r-1.json").exists()
    assert processes_about(base) == []
