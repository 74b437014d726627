"""An edge that runs by itself over replicas found by DNS: a name server, replicas on loopback addresses, HAProxy.

Every replica has the same port and an address of its own (127.0.0.2, ...), as pods and containers do.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import struct
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx

from backend.edge.records import EndRecord, FirstRecord, parse_line
from tests.integration.edge_bench import free_port, until

ROOT = Path(__file__).parents[2]
NAME = "llm.test"


class NameServer(asyncio.DatagramProtocol):
    """Answers every A query with `addresses`, and nothing at all while `silent`."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.silent = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        if self.silent:
            return
        end = data.index(b"\0", 12) + 5
        kind = struct.unpack(">H", data[end - 4 : end - 2])[0]
        found = self.addresses if kind == 1 else []
        head = data[:2] + struct.pack(">HHHHH", 0x8180, 1, len(found), 0, 0)
        records = b"".join(
            b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 5, 4) + socket.inet_aton(found_one) for found_one in found
        )
        self.transport.sendto(head + data[12:end] + records, address)


class Replica:
    """A tiny engine at one address. `health` is the status of its health endpoint."""

    def __init__(self, address: str, port: int) -> None:
        self.address, self.port = address, port
        self.health = 200
        self.go = asyncio.Event()
        """Requests with `wait` are answered once it is set."""
        self.waiting = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self) -> Replica:
        self._server = await asyncio.start_server(self._serve, self.address, self.port)
        return self

    def die(self) -> None:
        """At once: no listener, every connection broken."""
        if self._server is not None:
            self._server.close()
        for writer in self._open:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                lengths = [line for line in head.lower().split("\r\n") if line.startswith("content-length:")]
                body = await reader.readexactly(int(lengths[0].split(":")[1]) if lengths else 0)
                await self._answer(head.split(" ")[1], json.loads(body or b"{}"), writer)
        self._open.discard(writer)
        writer.close()

    async def _answer(self, path: str, wish: dict[str, bool], writer: asyncio.StreamWriter) -> None:
        if path.startswith("/health"):
            writer.write(f"HTTP/1.1 {self.health} Health\r\nContent-Length: 0\r\n\r\n".encode())
            return
        if wish.get("stream"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            writer.write(_chunk(b"data: the first of the tokens\n\n"))
            await self._wait(wish)
            writer.write(_chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
            return
        await self._wait(wish)
        answer = json.dumps({"replica": self.address}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)

    async def _wait(self, wish: dict[str, bool]) -> None:
        if wish.get("wait"):
            self.waiting += 1
            await self.go.wait()
            self.waiting -= 1


class Rig:
    """What a test has in its hands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names = NameServer()
        self.replicas: dict[str, Replica] = {}
        self.process: asyncio.subprocess.Process
        ports: set[int] = set()
        while len(ports) < 5:
            ports.add(free_port())
        self.port, *others = ports
        self.ports = dict(zip(("public", "health", "metrics", "stats"), others, strict=True))
        self.url = f"http://127.0.0.1:{self.ports['public']}/v1/completions"

    async def add(self, number: int) -> Replica:
        """A replica that the name has from now on."""
        address = f"127.0.0.{number}"
        self.replicas[address] = await Replica(address, self.port).start()
        self.names.addresses.append(address)
        return self.replicas[address]

    def at(self, name: str, path: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}{path}"

    def records(self) -> list[FirstRecord | EndRecord]:
        """The access log so far."""
        lines = (self.folder / "out").read_bytes().splitlines()
        return [r for line in lines if isinstance(r := parse_line(line), FirstRecord | EndRecord)]

    async def takes(self, http: httpx.AsyncClient, *addresses: str) -> None:
        """Wait until requests go to exactly those."""

        async def taken() -> set[str]:
            answers = await asyncio.gather(*(http.post(self.url, json={}) for _ in range(12)))
            return {answer.headers.get("x-trinity-replica", "") for answer in answers if answer.status_code == 200}

        deadline = asyncio.get_running_loop().time() + 60
        while (seen := await taken()) != set(addresses):
            if asyncio.get_running_loop().time() > deadline:
                raise TimeoutError(f"requests go to {seen}, not to {set(addresses)}")
            await asyncio.sleep(0.05)


PATIENT = """
import msgspec
from backend.edge import discovery, standalone
settings_of = discovery.settings_of
discovery.settings_of = lambda *given, **named: msgspec.structs.replace(
    settings_of(*given, **named), check_timeout_s=100.0
)
standalone.main()
"""
"""The same program, for which no replica is dead because the machine was busy when its health was asked for."""


def command(rig: Rig, program: tuple[str, str] = ("-m", "backend.edge.standalone")) -> list[str]:
    """The container's program."""
    ports = [word for name, port in rig.ports.items() for word in (f"--{name}-port", str(port))]
    place = ["--file", str(rig.folder / "edge.yaml"), "--run", str(rig.folder / "run")]
    return [sys.executable, "-P", *program, *place, *ports]


def edge_yaml(rig: Rig, nameserver: int, more: str) -> str:
    return f"""\
trinity: 1
listen: 127.0.0.1
nameservers: ["127.0.0.1:{nameserver}"]
{more}
workloads:
  llm: {{dns: {NAME}, port: {rig.port}, routes: [/v1], slots: 8, max_replicas: 4, deadline: 100s}}
"""


@contextlib.asynccontextmanager
async def rig(folder: Path, *numbers: int, more: str = "", **environment: str) -> AsyncIterator[Rig]:
    """A running edge with replicas at 127.0.0.<number>; everything is ended afterwards."""
    made = Rig(folder)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: made.names, local_addr=("127.0.0.1", 0))
    for number in numbers:
        await made.add(number)
    (folder / "edge.yaml").write_text(edge_yaml(made, transport.get_extra_info("sockname")[1], more))
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    with (folder / "out").open("wb") as out:
        made.process = await asyncio.create_subprocess_exec(
            *command(made, ("-c", PATIENT)), stdout=out, stderr=out, env=env
        )
    try:
        await until(lambda: _listens(made.ports["public"]) or made.process.returncode is not None, what="edge")
        assert made.process.returncode is None, (folder / "out").read_text()
        yield made
    finally:
        if made.process.returncode is None:
            made.process.send_signal(signal.SIGTERM)
        await made.process.wait()
        for replica in made.replicas.values():
            replica.die()
        transport.close()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
