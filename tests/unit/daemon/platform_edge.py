"""A platform that runs an edge of ours, in memory: workloads, replicas, stored logs, a metrics page, lines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from backend.config.paths import StatePaths
from backend.contract.errors import Unreachable
from backend.contract.fleet import ReplicaStatus, WorkloadSpec
from backend.contract.platform import PlatformWorkload, Trouble
from backend.contract.rows import RequestRow
from backend.contract.words import Phase
from backend.daemon.observed.edge import ObservedEdge
from backend.shim.notes import write_note
from backend.shim.output import LogWriter
from tests.fakes.clock import FakeClock
from tests.fakes.ledger import MemoryLedger
from tests.unit.edge.test_join import END, FIRST

T0 = 1_800_000_000.0


def spec(name: str, role: str = "", release: str = "shop") -> PlatformWorkload:
    made = WorkloadSpec(name=name, command=(), routes=(), kind="Deployment", role=role, release=release)
    return PlatformWorkload(spec=made, kind="Deployment")


def status(name: str, workload: str, host: str = "", **changes: Any) -> ReplicaStatus:
    known: dict[str, Any] = {"phase": Phase.READY, "created_ts": T0 - 600, "pid": 7, "owner": f"Deployment/{workload}"}
    return ReplicaStatus(name=name, fleet="shop", workload=workload, host=host, **(known | changes))


class Page:
    """A ByteStream with HAProxy's page behind it, chunked as HAProxy sends it."""

    def __init__(self, platform: Platform) -> None:
        self._platform, self._out = platform, b""

    async def write(self, data: bytes) -> None:
        assert data.startswith(b"GET /metrics?scope=backend HTTP/1.1\r\n")
        page = self._platform.page.encode()
        half = len(page) // 2
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (page[:half], page[half:]) if part)
        self._out += b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
        self._out += chunks + b"0\r\n\r\n"

    async def read(self) -> bytes:
        if self._platform.hangs_up:
            self._platform.hangs_up = False
            return b""
        part, self._out = self._out[:7], self._out[7:]
        return part

    async def end(self) -> None: ...

    async def close(self) -> None: ...


class Platform:
    """A fleet whose edge logs into stored files."""

    name = "shop"

    def __init__(self, state: Path) -> None:
        self.paths = StatePaths(state).create()
        self.found: Sequence[PlatformWorkload] = (
            spec("shop-edge", "edge"),
            spec("shop-llm", "llm"),
            spec("other-llm", "llm", "other"),
        )
        self.replicas: list[ReplicaStatus] = [
            status("edge-a", "shop-edge", "10.0.0.1"),
            status("llm-x", "shop-llm", "10.0.0.8"),
            status("llm-y", "shop-llm", "10.0.0.9"),
        ]
        self.down: Trouble | None = None
        self.barred: dict[str, str] = {}
        self.page = ""
        self.hangs_up = False
        self.dialled: list[str] = []
        self.wished: list[Sequence[str] | None] = []
        self._writers: dict[str, LogWriter] = {}
        self._ns = 0

    def say(self, replica: str, *records: Mapping[str, object] | str, max_bytes: int = 2**20) -> None:
        """Lines of an edge's replica, stored as drivers store them, a millisecond apart."""
        writer = self._writers.get(replica)
        if writer is None:
            directory = self.paths.replica_log_dir(replica)
            writer = LogWriter(directory, max_bytes=max_bytes, backups=9, now_ns=lambda: self._ns)
            self._writers[replica] = writer
        for record in records:
            self._ns = max(self._ns, int(T0 * 1e9)) + 1_000_000
            text = record if isinstance(record, str) else json.dumps(record)
            writer.write("stdout", [(text.encode(), True)])

    def restarted(self, replica: str, number: int) -> None:
        """Its container's next life begins."""
        self._ns = max(self._ns, int(T0 * 1e9)) + 1_000_000
        directory = self.paths.replica_log_dir(replica)
        directory.mkdir(parents=True, exist_ok=True)
        write_note(directory / "starts.list", number, self._ns)

    # -- Fleet, PlatformOwned, Loggable, Forwardable, Limited

    def observe(self) -> Sequence[ReplicaStatus]:
        return list(self.replicas)

    def on_change(self, listener: Any) -> Any: ...

    async def create(self, spec: WorkloadSpec, replica: str) -> None: ...

    async def remove(self, replica: str, *, reason: str) -> None: ...

    def workloads(self) -> Sequence[PlatformWorkload]:
        return self.found

    def declare(self, specs: Sequence[WorkloadSpec]) -> None: ...

    async def scale(self, workload: str, replicas: int) -> int:
        return 0

    async def rollout(self, workload: str, progress: Any) -> str:
        return ""

    async def want_logs(self, replicas: Sequence[str] | None) -> None:
        self.wished.append(replicas)

    async def dial(self, replica: str, port: int) -> Page:
        assert port == 9090
        self.dialled.append(replica)
        if not self.page:
            raise Unreachable("Nothing listens.", "Wait.")
        return Page(self)

    def limits(self) -> Mapping[str, str]:
        return self.barred

    def trouble(self) -> Trouble | None:
        return self.down


class Rig:
    """A daemon's edge over it; `again` is the next daemon's."""

    def __init__(self, state: Path, *, barred: Mapping[str, str] | None = None, **changes: Any) -> None:
        self.platform, self.ledger, self.clock = Platform(state), MemoryLedger(), FakeClock()
        self.clock.wall = T0 + 10
        self.platform.barred = dict(barred or {})
        self.edge = self._made(**changes)

    def _made(self, **changes: Any) -> ObservedEdge:
        async def flush() -> None: ...

        edge = ObservedEdge(self.platform, self.platform.paths, self.ledger, self.clock, **({"flush": flush} | changes))
        edge.look()
        return edge

    def again(self, **changes: Any) -> None:
        self.edge = self._made(**changes)

    async def read(self) -> None:
        """As its loops do it, a second later."""
        self.clock.advance(1.1)
        self.edge.look()
        await self.edge.read_all()

    def rows(self, vantage: str = "edge") -> list[RequestRow]:
        return [row for row in self.ledger.rows if isinstance(row, RequestRow) and row.vantage == vantage]

    def seen(self) -> list[tuple[str, str]]:
        return [(row.request_id, row.termination) for row in self.rows()]


def request(name: str, u: str, address: str = "10.0.0.8", **changes: object) -> tuple[dict[str, object], ...]:
    """Both lines of a request that an engine in a container answered."""
    both = {"u": u, "id": name, "rep": address, **changes}
    return FIRST | both, END | both
