"""A real fault proxy in front of a tiny real server, for tests: start both, order faults, look, end both."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec

from backend.contract.faults import FaultOrder, FaultReport, HolderAnswer, HolderRequest, ProxyTarget
from backend.drills import processes
from backend.drills.proxy.spec import ProxyPorts, ProxySpec
from tests.integration.edge_bench import free_port

SERVER = Path(__file__).parent / "programs" / "proxied_server.py"
ROOT = Path(__file__).parents[2]


class Replica:
    """The tiny server's process."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, health_port: int) -> None:
        self.process, self.port, self.health_port = process, port, health_port

    @classmethod
    async def start(cls, port: int = 0, health_port: int = 0) -> Replica:
        """Where it may choose its ports, such that it can have again after its death."""
        while True:
            wanted = [port or free_port(), health_port or free_port()]
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-S", str(SERVER), *map(str, wanted), stdout=asyncio.subprocess.PIPE
            )
            assert process.stdout is not None
            if ports := (await process.stdout.readline()).split():
                return cls(process, int(ports[0]), int(ports[1]))
            await process.wait()
            assert not port, f"port {port} or {health_port} is taken"

    def target(self) -> ProxyTarget:
        mark = processes.start_mark(self.process.pid) or ""
        return ProxyTarget(port=self.port, health_port=self.health_port, pid=self.process.pid, mark=mark)

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


class Rig:
    """The proxy's process, its ports and its control socket."""

    def __init__(self, directory: Path, replica: Replica) -> None:
        self.directory, self.replica = directory, replica
        self.control = str(directory / "faults.sock")
        self._ids = itertools.count(1)
        self.process: asyncio.subprocess.Process
        self.ports: ProxyPorts

    async def start(self) -> None:
        spec = ProxySpec(
            name="r-0",
            control_path=self.control,
            ports_path=str(self.directory / "ports"),
            target=self.replica.target(),
            health_paths=("/health",),
        )
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "backend.drills.proxy", "--spec", msgspec.json.encode(spec).decode()),
            cwd=ROOT,
        )
        await until(lambda: Path(spec.ports_path).exists(), "the proxy's ports")
        self.ports = msgspec.json.decode(Path(spec.ports_path).read_bytes(), type=ProxyPorts)

    async def ask(self, **request: Any) -> HolderAnswer:
        reader, writer = await asyncio.open_unix_connection(self.control)
        writer.write(msgspec.json.encode(HolderRequest(id=next(self._ids), **request)) + b"\n")
        answer = msgspec.json.decode(await reader.readline(), type=HolderAnswer)
        writer.close()
        return answer

    async def fault(self, kind: str, **keys: Any) -> FaultOrder:
        order = FaultOrder(**{"id": f"f{next(self._ids)}", "kind": kind, "ttl_s": 600.0, **keys})
        answer = await self.ask(op="fault", order=order)
        assert not answer.error and answer.faults[0].active, answer
        return order

    async def touched(self, order: FaultOrder, count: int) -> None:
        """Wait until so many requests were."""
        async with asyncio.timeout(60.0):
            while (await self.report(order)).affected < count:  # noqa: ASYNC110 - another process has no event
                await asyncio.sleep(0.01)

    async def report(self, order: FaultOrder) -> FaultReport:
        return next(report for report in (await self.ask(op="faults")).faults if report.id == order.id)

    async def heal(self, order: FaultOrder) -> FaultReport:
        return (await self.ask(op="heal", fault_id=order.id)).faults[0]

    def url(self, path: str = "/", *, health: bool = False) -> str:
        return f"http://127.0.0.1:{self.ports.health_port if health else self.ports.port}{path}"

    async def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
        await self.replica.kill()


@contextlib.asynccontextmanager
async def proxied() -> AsyncIterator[tuple[Rig, httpx.AsyncClient]]:
    """A proxy over a living replica, and a client that keeps its connections."""
    with tempfile.TemporaryDirectory(prefix="tp-", dir="/tmp") as directory:
        rig = Rig(Path(directory), await Replica.start())
        try:
            await rig.start()
            async with httpx.AsyncClient(trust_env=False, timeout=100) as http:
                yield rig, http
        finally:
            await rig.end()


async def until(condition: Any, what: str, timeout_s: float = 60.0) -> None:
    """Wait until `condition()` is true."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        await asyncio.sleep(0.005)
