"""Forwards over real sockets: bytes arrive whole, the next Ready replica takes over, what was open is open again."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.contract.control import ActionRequest
from backend.contract.errors import PortTaken, Unreachable, UsageError
from backend.contract.fleet import WorkloadSpec
from backend.contract.platform import ByteStream, ForwardView, PortView
from backend.contract.words import Risk, Severity, Verb
from backend.daemon.forward import ForwardOrder, is_loopback, urls
from backend.daemon.forwards import Forwards, order_of
from backend.fleet.tcp_stream import connect
from tests.fakes.fleet import FakeFleet


class Platform(FakeFleet):
    """Replicas that answer at a port: each its own name first, then whatever it is sent."""

    def __init__(self) -> None:
        super().__init__("docker:test")
        self.ready_after_s = 0.0
        self.servers: dict[str, asyncio.Server] = {}
        self.table: list[PortView] = []
        self.declared: list[WorkloadSpec] = []
        self.open: set[asyncio.StreamWriter] = set()

    async def run(self, workload: str, replica: str) -> None:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.open.add(writer)
            with contextlib.suppress(ConnectionError):
                writer.write(f"{replica}\n".encode())
                while data := await reader.read(65536):
                    writer.write(data)
                    await writer.drain()
            self.open.discard(writer)
            writer.close()

        self.servers[replica] = await asyncio.start_server(echo, "127.0.0.1", 0)
        await self.create(WorkloadSpec(name=workload, command=()), replica)
        await until(lambda: self.statuses[replica].phase == "Ready")

    def ports(self) -> Sequence[PortView]:
        return self.table

    async def dial(self, replica: str, port: int) -> ByteStream:
        if port not in (0, 8080):
            raise Unreachable(f"{replica} does not listen at {port}.")
        return await connect(replica, "127.0.0.1", self.servers[replica].sockets[0].getsockname()[1])

    async def lose(self, replica: str) -> None:
        """As a node that goes away: no more server, no more replica."""
        self.servers.pop(replica).close()
        for writer in self.open:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        await self.remove(replica, reason="test")

    def end(self) -> None:
        for server in self.servers.values():
            server.close()


async def until(met: Callable[[], bool], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not met():  # noqa: ASYNC110 - conditions of several parts
            await asyncio.sleep(0.005)


@asynccontextmanager
async def room(path: Path) -> AsyncIterator[tuple[Platform, Forwards, list[tuple[str, Severity]]]]:
    told: list[tuple[str, Severity]] = []
    platform = Platform()
    forwards = Forwards(
        platform,
        lambda: platform.declared,
        path,
        lambda kind, severity, _subject, _words: told.append((kind, severity)),
        lambda: None,
    )
    await forwards.open()
    try:
        yield platform, forwards, told
    finally:
        await forwards.close()
        platform.end()


def order(target: str = "web", port: int = 8080, **more: object) -> ForwardOrder:
    return ForwardOrder(id=f"{random.getrandbits(32):08x}", target=target, port=port, **more)  # type: ignore[arg-type]


async def said(view: ForwardView, data: bytes = b"") -> tuple[str, bytes]:
    """Who answers there, and what comes back of `data`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", view.local_port)
    try:
        who = (await reader.readline()).decode().strip()
        writer.write(data)
        writer.write_eof()
        return who, await reader.read()
    finally:
        writer.close()


async def test_bytes_go_both_ways_whole_and_are_counted(tmp_path: Path) -> None:
    data = random.Random(5).randbytes(3_000_000)
    async with room(tmp_path / "f.json") as (platform, forwards, _):
        await platform.run("web", "web-0")
        view = await forwards.add(order())
        assert (view.state, view.replica, view.urls) == (
            "listening",
            "web-0",
            (f"http://127.0.0.1:{view.local_port}",),
        )
        answers = await asyncio.gather(*(said(view, data) for _ in range(4)))
        assert answers == [("web-0", data)] * 4
        (now,) = forwards.views()
        assert (now.connections, now.bytes_in) == (4, 4 * len(data))
        assert now.bytes_out == 4 * (len(data) + len(b"web-0\n"))


async def test_the_next_ready_replica_takes_over_and_it_is_counted(tmp_path: Path) -> None:
    async with room(tmp_path / "f.json") as (platform, forwards, told):
        await platform.run("web", "web-0")
        await platform.run("web", "web-1")
        view = await forwards.add(order())
        assert (await said(view))[0] == "web-0"
        reader, writer = await asyncio.open_connection("127.0.0.1", view.local_port)
        await reader.readline()
        await platform.lose("web-0")
        with pytest.raises(ConnectionError):  # what was under way ends as visibly as it would without a forward
            await reader.read()
        writer.close()
        assert (await said(view))[0] == "web-1"
        (now,) = forwards.views()
        assert (now.replica, now.restarts, now.state) == ("web-1", 1, "listening")
        await platform.lose("web-1")
        (now,) = forwards.views()
        assert (now.state, now.detail) == ("broken", "No replica of web is Ready.")
        with pytest.raises(ConnectionError):
            await said(view)
        await platform.run("web", "web-2")
        (now,) = forwards.views()
        assert (now.state, now.replica, now.restarts, now.detail) == ("listening", "web-2", 2, "")
        assert (await said(view))[0] == "web-2"
        assert told == [("forward.broken", Severity.WARNING), ("forward.mended", Severity.INFO)]


async def test_what_goes_through_is_cut_when_the_forward_ends(tmp_path: Path) -> None:
    async with room(tmp_path / "f.json") as (platform, forwards, _):
        await platform.run("web", "web-0")
        view = await forwards.add(order())
        reader, writer = await asyncio.open_connection("127.0.0.1", view.local_port)
        await reader.readline()
        async with asyncio.timeout(60):
            await forwards.remove(view.id)
            with pytest.raises(ConnectionError):
                await reader.read()
        writer.close()
        await until(lambda: not platform.open)


async def test_a_port_where_nobody_listens_is_broken_with_the_cause(tmp_path: Path) -> None:
    async with room(tmp_path / "f.json") as (platform, forwards, _):
        await platform.run("web", "web-0")
        view = await forwards.add(order(port=9))
        reader, writer = await asyncio.open_connection("127.0.0.1", view.local_port)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        await until(lambda: forwards.views()[0].state == "broken")
        assert "web-0 does not listen at 9." in forwards.views()[0].detail


async def test_forwards_are_open_again_with_the_next_daemon_and_ended_ones_are_not(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    async with room(path) as (platform, forwards, _):
        await platform.run("web", "web-0")
        kept, ended = await forwards.add(order()), await forwards.add(order("web-0"))
        assert (await forwards.remove(ended.id)).id == ended.id
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await asyncio.open_connection("127.0.0.1", ended.local_port)
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await asyncio.open_connection("127.0.0.1", kept.local_port)
    async with room(path) as (platform, forwards, _):
        (view,) = forwards.views()
        assert (view.id, view.state, view.local_port) == (kept.id, "broken", kept.local_port), "nothing is there yet"
        await platform.run("web", "web-0")
        await until(lambda: forwards.views()[0].state == "listening")
        assert (await said(forwards.views()[0]))[0] == "web-0"
    path.write_text("[{")
    async with room(path) as (_, forwards, told):
        assert forwards.views() == ()
        assert told == [("forward.unreadable", Severity.ERROR)]


async def test_targets_are_replicas_workloads_and_services_with_their_ports(tmp_path: Path) -> None:
    async with room(tmp_path / "f.json") as (platform, forwards, _):
        await platform.run("web", "web-0")
        await platform.run("web", "web-1")
        platform.table = [
            PortView(workload="web", source="service shop", container_port=8080, service_port=80),
            PortView(workload="web", source="container web-0", container_port=8080),
        ]
        for target, port, replica in (
            ("web-1", 8080, "web-1"),
            ("web", 0, "web-0"),
            ("shop", 80, "web-0"),
            ("service/shop", 0, "web-0"),
            ("pod/web-1", 0, "web-1"),
        ):
            view = await forwards.add(order(target, port))
            assert (view.replica, (await said(view))[0]) == (replica, replica), target
        for target, port, words in (("shp", 80, "Did you mean shop"), ("moon", 1, "There is no replica, workload")):
            with pytest.raises(UsageError, match=words):
                await forwards.add(order(target, port))
        platform.table.append(PortView(workload="web", source="container web-0", container_port=9090))
        with pytest.raises(UsageError, match="has the ports 8080, 9090"):
            await forwards.add(order("web", 0))
        platform.declared = [WorkloadSpec(name="web", command=(), kind="Deployment", port=8080)]
        for target in ("web", "web-1"):
            assert (await forwards.add(order(target, 0))).port == 8080, "the one that trinity.yaml names is meant"
        assert len(forwards.views()) == 7


async def test_a_workload_without_replicas_is_forwarded_as_soon_as_one_comes(tmp_path: Path) -> None:
    async with room(tmp_path / "f.json") as (platform, forwards, told):
        platform.declared = [
            WorkloadSpec(name="web", command=()),
            WorkloadSpec(name="shop", command=(), kind="Deployment"),
            WorkloadSpec(name="till", command=(), kind="Deployment", port=8080),
        ]
        view, _, _ = [await forwards.add(order(*target)) for target in (("web", 0), ("shop", 8080), ("till", 0))]
        assert (view.state, view.detail) == ("broken", "No replica of web is Ready.")
        with pytest.raises(UsageError, match="No port of shop is known"):
            await forwards.add(order("shop", 0))
        with pytest.raises(UsageError, match="Did you mean shop"):
            await forwards.add(order("shp", 0))
        told.clear()
        await platform.run("web", "web-0")
        await platform.run("shop", "shop-0")
        assert [(one.state, one.replica, one.restarts) for one in forwards.views()[:2]] == [
            ("listening", "web-0", 0),
            ("listening", "shop-0", 0),
        ]
        assert await said(view) == ("web-0", b"")
        assert told == [("forward.mended", Severity.INFO)] * 2


async def test_a_local_port_is_the_targets_own_another_free_one_or_the_one_asked_for(tmp_path: Path) -> None:
    async with room(tmp_path / "f.json") as (platform, forwards, _):
        await platform.run("web", "web-0")
        first = await forwards.add(order())
        second = await forwards.add(order(local_port=0))
        assert first.local_port != second.local_port
        with pytest.raises(PortTaken):
            await forwards.add(order(local_port=first.local_port))
        assert len(forwards.views()) == 2


async def test_all_interfaces_come_with_a_warning_and_the_machines_own_addresses(tmp_path: Path) -> None:
    request = ActionRequest(verb=Verb.FORWARD, target="web", args={"port": 8080, "bind": "0.0.0.0"}, actor="cli:ada")
    async with room(tmp_path / "f.json") as (platform, forwards, _):
        await platform.run("web", "web-0")
        forward, unforward = forwards.executors()
        effect = forward.preview(None, request)  # type: ignore[arg-type]  # it looks at the driver only
        assert effect.risk == Risk.LOW
        assert "whoever reaches this machine" in effect.effects[0]
        inner = ActionRequest(verb=Verb.FORWARD, target="web", args={"port": 8080}, actor="cli:ada")
        assert forward.preview(None, inner).effects == ()  # type: ignore[arg-type]
        result = await forward.run(request, print)
        (view,) = forwards.views()
        assert view.id in result
        assert view.urls[-1] == f"http://127.0.0.1:{view.local_port}"
        inverse = forward.inverse(None, request)  # type: ignore[arg-type]
        end = ActionRequest(verb=Verb.UNFORWARD, target="web", args=inverse.args, actor="cli:ada")  # type: ignore[union-attr]
        assert view.id in unforward.preview(None, end).summary  # type: ignore[arg-type]
        assert "has ended" in await unforward.run(end, print)
        assert forwards.views() == ()
        with pytest.raises(UsageError, match="There is no forward"):
            unforward.preview(None, end)  # type: ignore[arg-type]


@pytest.mark.parametrize("args", [{"port": 70000}, {"port": "x"}, {"local_port": -1}, {"bind": "moon"}, {"port": True}])
def test_arguments_that_make_no_sense_are_refused(args: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        order_of(ActionRequest(verb=Verb.FORWARD, target="web", args=args, actor="cli:ada"))  # type: ignore[arg-type]


def test_urls_can_be_opened() -> None:
    assert urls("127.0.0.1", 80) == ("http://127.0.0.1:80",)
    assert urls("::1", 80) == ("http://[::1]:80",)
    assert urls("0.0.0.0", 80)[-1] == "http://127.0.0.1:80"
    assert [is_loopback(bind) for bind in ("localhost", "127.9.9.9", "::1", "0.0.0.0", "::")] == [True] * 3 + [
        False
    ] * 2


@settings(max_examples=20)
@given(pieces=st.lists(st.binary(min_size=1, max_size=5000), max_size=8), early=st.booleans())
async def test_no_byte_is_lost_or_changed_however_it_is_cut(pieces: list[bytes], early: bool) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        async with room(Path(folder) / "f.json") as (platform, forwards, _):
            await platform.run("web", "web-0")
            view = await forwards.add(order())
            reader, writer = await asyncio.open_connection("127.0.0.1", view.local_port)
            for piece in pieces:
                writer.write(piece)
                if early:
                    await writer.drain()
            writer.write_eof()
            assert await reader.read() == b"web-0\n" + b"".join(pieces)
            writer.close()
