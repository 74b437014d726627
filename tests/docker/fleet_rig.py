"""What the tests of the platform's own containers share: a fleet on a state directory, and words for containers."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from backend.config.fleet_file import DockerFile
from backend.config.paths import StatePaths
from backend.contract.clock import SystemClock
from backend.contract.fleet import ReplicaStatus
from backend.contract.words import Phase
from backend.fleet.docker_engine.fleet import DockerFleet
from tests.docker.engine import Engine
from tests.fakes.ledger import MemoryLedger

WAIT_S = 90.0
SERVE = ("httpd", "-f", "-p", "8080", "-h", "/www")
POLITE = ("sh", "-c", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done")
"""A program that ends when it is asked to."""


class FleetRig:
    """A DockerFleet on an engine, and the tests' own hand on the same engine."""

    def __init__(self, base: Path, engine: Engine, image: str, settings: DockerFile, label: str) -> None:
        self.engine, self.image, self.label = engine, image, label
        self.paths = StatePaths(base / "state").create()
        self.rows = MemoryLedger()
        self.changes: list[ReplicaStatus] = []
        self.settings = settings
        self.fleet = self.open()

    def open(self) -> DockerFleet:
        """A driver, as a new daemon makes one."""
        fleet = DockerFleet(
            self.paths, self.rows, SystemClock(), "docker", self.settings, environ={"DOCKER_HOST": self.engine.host}
        )
        fleet.on_change(self.changes.append)
        return fleet

    async def run(self, name: str, *command: str, start: bool = True, **options: Any) -> str:
        """A container of that name; its id."""

        def make() -> str:
            labels = {"test": self.label, **options.pop("labels", {})}
            found = self.engine.sdk.containers.create(
                self.image, list(command or POLITE), name=name, labels=labels, detach=True, **options
            )
            if start:
                found.start()
            return str(found.id)

        return await asyncio.to_thread(make)

    def status(self, name: str) -> ReplicaStatus | None:
        return next((status for status in self.fleet.observe() if status.name == name), None)

    async def phase(self, name: str, phase: Phase, reason: str = "", timeout_s: float = WAIT_S) -> ReplicaStatus:
        """Wait for it."""

        def there() -> bool:
            status = self.status(name)
            return status is not None and status.phase == phase and reason in status.reason

        await until(there, lambda: f"{name} is {phase} {reason}; it is {self.status(name)}", timeout_s)
        found = self.status(name)
        assert found is not None
        return found

    async def gone(self, name: str) -> None:
        await until(lambda: self.status(name) is None, lambda: f"{name} is gone")

    def stored(self, replica: str) -> str:
        """What is stored of its log."""
        path = self.paths.replica_log_dir(replica) / "current.log"
        return path.read_text() if path.exists() else ""

    def messages(self, replica: str) -> list[str]:
        """The stored lines' texts."""
        return [line.split(" ", 3)[3] for line in self.stored(replica).splitlines()]

    async def remove_all(self) -> None:
        """Every container of this rig's."""

        def remove() -> None:
            for found in self.engine.sdk.containers.list(all=True, filters={"label": f"test={self.label}"}):
                with contextlib.suppress(Exception):  # one that is being removed already
                    found.remove(force=True, v=True)

        await asyncio.to_thread(remove)


@contextlib.asynccontextmanager
async def fleet_on(
    base: Path, engine: Engine, image: str, *, label: str, project: str | None = None, services: bool = False
) -> AsyncIterator[FleetRig]:
    """A fleet of the containers labelled `test=<label>`; they are removed at the end."""
    settings = DockerFile(label=f"test={label}", project=project, services=services)
    rig = FleetRig(base, engine, image, settings, label)
    try:
        await rig.fleet.adopt()
        yield rig
    finally:
        await rig.fleet.close()
        await rig.remove_all()


async def until(met: Callable[[], bool], what: str | Callable[[], str], timeout_s: float = WAIT_S) -> None:
    """Wait for a condition; fails with `what` after `timeout_s`."""
    end = time.monotonic() + timeout_s
    while not met():
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout_s:g} s: {what if isinstance(what, str) else what()}")
        await asyncio.sleep(0.02)


def compose(service: str, number: int, project: str = "shop") -> dict[str, str]:
    """The labels that Compose gives a container."""
    return {
        "com.docker.compose.project": project,
        "com.docker.compose.service": service,
        "com.docker.compose.container-number": str(number),
        "com.docker.compose.oneoff": "False",
    }
