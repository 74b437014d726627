"""What the tests of containers of ours share: a driver on a state directory of its own, and proof of no leftovers."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backend.config.paths import StatePaths
from backend.contract.clock import SystemClock
from backend.contract.fleet import ProbeSpec, ProbesSpec, ReplicaStatus, WorkloadSpec
from backend.contract.rows import EventRow, Row
from backend.contract.words import Phase
from backend.fleet.docker_engine.client import EngineClient
from backend.fleet.docker_engine.labels import OUR_STATE
from backend.fleet.docker_engine.ours import OwnContainers
from tests.integration.shim_rig import until

WAIT_S = 90.0
PROGRAM = ("python3", "-S", "/opt/programs/tiny_server.py", "--port", "{port}")


class Rows:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def append(self, row: Row) -> None:
        self.rows.append(row)

    async def append_durable(self, row: Row) -> None:
        self.rows.append(row)

    def events(self, kind: str) -> list[EventRow]:
        return [row for row in self.rows if isinstance(row, EventRow) and row.kind == f"replica.{kind}"]


class Rig:
    """Containers of ours on a state directory, with everything that was said of them."""

    def __init__(self, base: Path, host: str) -> None:
        self.base, self.host = base, host
        self.paths = StatePaths(base / "state").create()
        self.rows = Rows()
        self.changes: list[tuple[float, ReplicaStatus]] = []
        self.open()

    def open(self) -> None:
        """A driver, as a new daemon makes one."""
        self.client = EngineClient(environ={"DOCKER_HOST": self.host})
        self.fleet = OwnContainers(self.client, self.paths, self.rows, SystemClock(), "docker")
        self.fleet.on_change(lambda status: self.changes.append((time.monotonic(), status)))

    async def detach(self) -> None:
        """The end of a daemon; containers go on."""
        await self.fleet.close()
        await self.client.close()

    def status(self, replica: str = "w-1") -> ReplicaStatus:
        return next(status for status in self.fleet.observe() if status.name == replica)

    async def phase(self, phase: Phase, replica: str = "w-1", timeout_s: float = WAIT_S) -> ReplicaStatus:
        await until(lambda: self.status(replica).phase is phase, f"{replica} is {phase}", timeout_s)
        return self.status(replica)

    async def ready_again(self, before: ReplicaStatus) -> ReplicaStatus:
        """Wait until another start than `before`'s is Ready."""

        def again() -> bool:
            now = self.status(before.name)
            return now.phase is Phase.READY and now.pid != before.pid

        await until(again, f"{before.name} is Ready again", WAIT_S)
        return self.status(before.name)

    async def inspect(self, replica: str = "w-1") -> Any:
        """What the engine says of its container."""
        return await self.client.call(lambda api: api.inspect_container(f"trinity-{self.paths.digest}-{replica}"))

    async def containers(self) -> list[str]:
        """Names of all containers of this state directory."""
        mine = {"label": f"{OUR_STATE}={self.paths.digest}"}
        found = await self.client.call(lambda api: api.containers(all=True, filters=mine))
        return [one["Names"][0] for one in found]


def workload(image: str, *options: str, **changes: Any) -> WorkloadSpec:
    """The tiny server as a workload with all three probes."""
    probe = ProbeSpec(path="/ok", period_s=0.2, timeout_s=5.0, failure_threshold=2)
    return WorkloadSpec(
        **{
            "name": "w",
            "image": image,
            "command": (*PROGRAM, *options),
            "probes": ProbesSpec(
                startup=msgspec.structs.replace(probe, failure_threshold=100),
                readiness=probe,
                liveness=msgspec.structs.replace(probe, path="/pid", failure_threshold=5),
            ),
            "stop_grace_s": 2.0,
            **changes,
        }
    )


@asynccontextmanager
async def running(base: Path, host: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    """A rig that has adopted nothing; at the end nothing of it is left at the engine or in the run directory."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))
    rig = Rig(base, host)
    await rig.fleet.adopt()
    try:
        yield rig
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            await rig.fleet.stop_all()
        assert rig.fleet.observe() == []
        assert await rig.containers() == []
        assert list(rig.paths.run_dir.iterdir()) == []
        await rig.detach()
