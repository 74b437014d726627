"""Programs and connections in pods through the API server: every byte, every end, one sentence for what cannot be."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from backend.contract.errors import Refused, TrinityError, Unreachable
from backend.fleet.kube import forward
from tests.integration.kube.rig import until, watching
from tests.kube_emulator import Emulator
from tests.kube_emulator.access import Rule, reader
from tests.kube_emulator.certificates import Authority
from tests.kube_emulator.scenes import running_pod

BIG = bytes(range(256)) * 2048
"""Half a mebibyte: more than one message."""


async def all_of(stream: Any) -> bytes:
    parts = []
    while data := await stream.read():
        parts.append(data)
    return b"".join(parts)


async def test_a_program_gives_what_it_writes_and_its_exit_code(tmp_path: Path) -> None:
    async with Emulator() as cluster, watching(cluster, tmp_path) as rig:
        cluster.add("Pod", running_pod("web-1"))
        await rig.sees("web-1")
        stream = await rig.fleet.exec("web-1", ["sh", "-c", "echo out; echo err >&2; exit 3"], tty=False)
        assert await all_of(stream) == b"out\nerr\n"
        assert await stream.exit_code() == 3
        assert await stream.read() == b""
        again = await rig.fleet.exec("web-1", ["true"], tty=False)
        assert await again.exit_code() == 0
        missing = await rig.fleet.exec("web-1", ["nothing"], tty=False)
        assert await missing.exit_code() == 127
        assert await all_of(missing) == b"There is no program nothing in web-1.\n"
        for one in (stream, again, missing):
            await one.close()
            await one.close()
        await until(lambda: not cluster.streams.open_streams, "no stream is left open")


async def test_a_server_that_closes_right_behind_its_last_word_has_ended_well(tmp_path: Path) -> None:
    """As API servers do it: over TLS nothing more can be sent to them then, not even that their end was heard."""
    authority = Authority(tmp_path)
    tls = authority.server_context(authority.server())
    async with Emulator(tls=tls, authority=authority.pair.certificate) as cluster, watching(cluster, tmp_path) as rig:
        cluster.add("Pod", running_pod("web-1"))
        await rig.sees("web-1")
        for _ in range(3):
            stream = await rig.fleet.exec("web-1", ["sh", "-c", "echo out; exit 3"], tty=False)
            assert await all_of(stream) == b"out\n"
            assert await stream.exit_code() == 3
            await stream.close()


async def test_what_is_written_while_the_code_is_awaited_is_kept(tmp_path: Path) -> None:
    async with Emulator() as cluster, watching(cluster, tmp_path) as rig:
        cluster.add("Pod", running_pod("web-1"))
        await rig.sees("web-1")
        stream = await rig.fleet.exec("web-1", ["echo", "kept"], tty=False)
        assert await stream.exit_code() == 0
        assert await all_of(stream) == b"kept\n"
        await stream.close()


async def test_standard_input_arrives_whole_and_its_end_is_told(tmp_path: Path) -> None:
    async with Emulator() as cluster, watching(cluster, tmp_path) as rig:
        cluster.add("Pod", running_pod("web-1"))
        await rig.sees("web-1")
        stream = await rig.fleet.exec("web-1", ["cat"], tty=False)
        reading = asyncio.create_task(all_of(stream))
        await stream.write(BIG)
        await stream.end()
        assert await asyncio.wait_for(reading, 60.0) == BIG
        assert await stream.exit_code() == 0
        await stream.close()


async def test_a_terminal_has_a_size_that_changes(tmp_path: Path) -> None:
    async with Emulator() as cluster, watching(cluster, tmp_path) as rig:
        cluster.add("Pod", running_pod("web-1"))
        await rig.sees("web-1")
        stream = await rig.fleet.exec("web-1", ["sh"], tty=True, columns=100, rows=30)
        seen = b""

        async def shown(words: bytes) -> None:
            nonlocal seen
            async with asyncio.timeout(60.0):
                while words not in seen:
                    seen += await stream.read()

        await shown(b"$ ")
        await stream.write(b"stty\n")
        await shown(b"30 100")
        await stream.resize(120, 40)
        await stream.write(b"stty\n")
        await shown(b"40 120")
        await stream.write(b"exit 7\n")
        assert await stream.exit_code() == 7
        await stream.close()


async def test_a_stream_that_is_cut_is_told_from_one_that_ended(tmp_path: Path) -> None:
    async with Emulator() as cluster, watching(cluster, tmp_path) as rig:
        cluster.add("Pod", running_pod("web-1"))
        await rig.sees("web-1")
        stream = await rig.fleet.exec("web-1", ["sleep", "1000"], tty=False)
        code = asyncio.create_task(stream.exit_code())
        await until(cluster.streams.drop, "it is open")
        with pytest.raises(Unreachable):
            await asyncio.wait_for(code, 60.0)
        await stream.close()
        silent = await asyncio.start_server(lambda reader, writer: reader.read(), "127.0.0.1", 0)
        cluster.streams.ports["default", "web-1", 8080] = silent.sockets[0].getsockname()[:2]
        connection = await rig.fleet.dial("web-1", 8080)
        reading = asyncio.create_task(connection.read())
        await until(cluster.streams.drop, "it is open")
        with pytest.raises(Unreachable):
            await asyncio.wait_for(reading, 60.0)
        await connection.close()
        silent.close()


async def test_a_connection_to_a_port_carries_bytes_both_ways(tmp_path: Path) -> None:
    async def upper(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data.upper())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(upper, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Emulator() as cluster, watching(cluster, tmp_path) as rig:
        cluster.add("Pod", running_pod("web-1"))
        cluster.streams.ports["default", "web-1", 8080] = ("127.0.0.1", port)
        await rig.sees("web-1")
        streams = [await rig.fleet.dial("web-1", 8080) for _ in range(3)]

        async def spoken(number: int) -> bytes:
            stream, got = streams[number], b""
            await stream.write(f"hello {number} ".encode() * 20_000)
            async with asyncio.timeout(60.0):
                while len(got) < 160_000:
                    got += await stream.read()
            return got

        answers = await asyncio.gather(*(spoken(number) for number in range(3)))
        assert answers == [f"HELLO {number} ".encode() * 20_000 for number in range(3)]
        for stream in streams:
            await stream.close()
        await until(lambda: not cluster.streams.open_streams, "no stream is left open")


async def test_the_far_end_is_heard_and_so_is_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "_DOUBT_S", 30.0)

    async def bye(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"bye")
        writer.close()

    server = await asyncio.start_server(bye, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Emulator() as cluster, watching(cluster, tmp_path) as rig:
        cluster.add("Pod", running_pod("web-1"))
        cluster.streams.ports["default", "web-1", 8080] = ("127.0.0.1", port)
        await rig.sees("web-1")
        stream = await rig.fleet.dial("web-1", 8080)
        assert await all_of(stream) == b"bye"
        await stream.close()
        with pytest.raises(Unreachable, match="Nothing listens at port 81 of web-1"):
            await rig.fleet.dial("web-1", 81)
        # Who listened before is taken at its word; then reading tells.
        cluster.streams.ports["default", "web-1", 8080] = ("127.0.0.1", 1)
        stream = await rig.fleet.dial("web-1", 8080)
        with pytest.raises(Unreachable, match="Nothing listens"):
            await stream.read()
        await stream.close()


async def test_what_keeps_a_stream_from_opening_is_one_sentence(tmp_path: Path) -> None:
    async with Emulator() as cluster:
        cluster.add("Pod", running_pod("web-1"))
        gone = running_pod("gone")
        gone["status"] |= {"phase": "Succeeded"}
        cluster.add("Pod", gone)
        async with watching(cluster, tmp_path) as rig:
            with pytest.raises(TrinityError, match=r"Could not run sh in gone: .*may not run"):
                await rig.fleet.exec("gone", ["sh"], tty=False)
            with pytest.raises(TrinityError, match="Could not reach port 80 of gone"):
                await rig.fleet.dial("gone", 80)
            with pytest.raises(TrinityError, match="has another name"):
                await rig.fleet.exec("web-1", ["sh"], tty=False, container="nobody")


async def test_a_missing_right_is_named_before_anything_runs(tmp_path: Path) -> None:
    async with Emulator() as cluster:
        cluster.add("Pod", running_pod("web-1"))
        got = Rule(verbs=("get",), resources=("pods/exec", "pods/portforward"), groups=("",))
        cluster.account("reader", "reader-token", (*reader(), got))
        config = cluster.write_kubeconfig(tmp_path / "reader", token="reader-token")
        async with watching(cluster, tmp_path, kubeconfig=str(config)) as rig:
            await until(lambda: "exec" in rig.fleet.limits(), "rights are known")
            assert rig.fleet.limits()["exec"] == "needs `create` on `pods/exec` in namespace default"
            with pytest.raises(Refused, match="needs `get` and `create` on `pods/exec` in namespace default"):
                await rig.fleet.exec("web-1", ["sh"], tty=False)
            with pytest.raises(Refused, match="`pods/portforward`"):
                await rig.fleet.dial("web-1", 80)
