"""A real edge over tiny engines, for the edge's integration tests: start, ask, wait, clean up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import msgspec

from backend.config.paths import StatePaths
from backend.contract.clock import SystemClock
from backend.contract.fleet import ProbeSpec, ProbesSpec, WorkloadSpec
from backend.contract.rows import EventRow, RequestRow, Row
from backend.contract.words import Vantage
from backend.edge.haproxy import HaproxyEdge
from backend.edge.settings import EdgeSettings

ENGINE = Path(__file__).parent / "programs" / "edge_engine.py"
ROOT = Path(__file__).parents[2]


def free_port() -> int:
    """A port that nobody has, among those that the system gives to nobody of its own accord: what connects somewhere
    or asks for any port never gets it between this look and its use."""
    while True:
        port = random.SystemRandom().randrange(10_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Rows:
    """A RowSink that keeps what it gets."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def append(self, row: Row) -> None:
        self.rows.append(row)

    async def append_durable(self, row: Row) -> None:
        self.rows.append(row)

    def requests(self, vantage: Vantage = Vantage.EDGE) -> list[RequestRow]:
        return [r for r in self.rows if isinstance(r, RequestRow) and r.vantage is vantage]

    def events(self, kind: str) -> list[EventRow]:
        return [r for r in self.rows if isinstance(r, EventRow) and r.kind == kind]


class Engine:
    """One fake replica process."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, port: int) -> None:
        self.name, self.process, self.port = name, process, port

    @classmethod
    async def start(cls, name: str, port: int = 0) -> Engine:
        """Where it may choose its port, one that it can have again after its death."""
        while True:
            process = await asyncio.create_subprocess_exec(
                sys.executable, str(ENGINE), name, str(port or free_port()), stdout=asyncio.subprocess.PIPE
            )
            assert process.stdout is not None
            if said := await process.stdout.readline():
                return cls(name, process, int(said))
            await process.wait()
            assert not port, f"port {port} is taken"

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)

    async def end(self) -> None:
        self.kill()
        await self.process.wait()


class Bench:
    """One state directory, its edge and its engines."""

    def __init__(self, paths: StatePaths, settings: EdgeSettings) -> None:
        self.paths, self.settings = paths, settings
        self.sink = Rows()
        self.edge = self.new_edge()
        self.engines: dict[str, Engine] = {}
        self.specs: list[WorkloadSpec] = [workload("llm")]
        self._go = paths.edge_dir.parent / "go"

    def new_edge(self, **changes: object) -> HaproxyEdge:
        settings = msgspec.structs.replace(self.settings, **changes)
        return HaproxyEdge(self.paths, settings, self.sink, SystemClock(), "local")

    @property
    def url(self) -> str:
        return f"{self.edge.public_url}/v1/completions"

    @property
    def held(self) -> str:
        """What requests wait for that wish so (`go`, `hold`), until `release`."""
        return str(self._go)

    def release(self) -> None:
        self._go.touch()

    async def up(self, replicas: int = 2, slots: int = 4) -> None:
        await self.edge.start()
        await self.edge.configure(self.specs)
        for number in range(replicas):
            await self.add(f"llm-{number}", slots=slots)

    async def add(self, name: str, slots: int = 4, port: int = 0, workload_name: str = "llm") -> Engine:
        engine = await Engine.start(name, port)
        self.engines[name] = engine
        await self.fill(name, slots, workload_name)
        return engine

    async def fill(self, name: str, slots: int = 4, workload_name: str = "llm") -> None:
        port = self.engines[name].port
        await self.edge.fill(workload_name, name, host="127.0.0.1", port=port, check_port=port, maxconn=slots)

    async def down(self) -> None:
        await self.edge.stop()
        for engine in self.engines.values():
            await engine.end()


def workload(name: str, **changes: object) -> WorkloadSpec:
    spec = WorkloadSpec(
        name=name,
        command=("none",),
        max_replicas=4,
        slots=4,
        routes=("/v1",),
        probes=ProbesSpec(readiness=ProbeSpec(path="/health")),
        request_deadline_s=100.0,
    )
    return msgspec.structs.replace(spec, **changes)


@contextlib.asynccontextmanager
async def bench(**changes: object) -> AsyncIterator[Bench]:
    """A fresh state directory; everything that was started is ended."""
    with tempfile.TemporaryDirectory(prefix="te-") as directory:
        before = os.environ.get("XDG_RUNTIME_DIR")
        os.environ["XDG_RUNTIME_DIR"] = directory
        os.environ["PYTHONPATH"] = str(ROOT)
        paths = StatePaths(Path(directory) / "state").create()
        # Patient: no replica counts as dead because the machine was busy when its health was asked for.
        settings = EdgeSettings(
            port=free_port(), stats_port=free_port(), stats_password="secret-word", max_body_bytes=1024 * 1024,
            auto_port=True, check_timeout_s=100.0,
        )  # fmt: skip
        made = Bench(paths, msgspec.structs.replace(settings, **changes))
        try:
            yield made
        finally:
            await made.down()
            if before is None:
                del os.environ["XDG_RUNTIME_DIR"]
            else:
                os.environ["XDG_RUNTIME_DIR"] = before


async def until(condition: Callable[[], bool], timeout_s: float = 60.0, what: str = "condition") -> None:
    """Wait for a condition. Raises TimeoutError naming it."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        await asyncio.sleep(0.01)


def client() -> httpx.AsyncClient:
    """Many connections, no proxy of the environment."""
    limits = httpx.Limits(max_connections=500, max_keepalive_connections=100)
    return httpx.AsyncClient(timeout=100, limits=limits, trust_env=False)
