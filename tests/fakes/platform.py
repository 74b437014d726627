"""A platform in memory: it keeps the counts of its workloads itself, and gives each new replica a name of its own."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence

import msgspec

from backend.contract.errors import Refused
from backend.contract.fleet import ReplicaStatus, WorkloadSpec
from backend.contract.platform import PlatformWorkload, Progress
from backend.contract.words import Phase
from backend.fleet.overlay import overlay
from tests.fakes.fleet import FakeFleet


class FakePlatform(FakeFleet):
    """A FakeFleet that is PlatformOwned. `put` is what its users do behind our back."""

    def __init__(self, name: str = "k8s:test") -> None:
        super().__init__(name)
        self.wanted: dict[str, int] = {}
        self.declared: Sequence[WorkloadSpec] = ()
        self.hurt: str = ""
        """Why the next rollout fails."""
        self._found: tuple[PlatformWorkload, ...] | None = None
        self._names = itertools.count()

    def put(self, workload: str, replicas: int) -> None:
        """Want that many; the platform sees to it at once."""
        self.wanted[workload] = replicas
        self._found = None
        here = [status.name for status in self.statuses.values() if status.workload == workload]
        for name in here[replicas:]:
            self._tell(msgspec.structs.replace(self.statuses.pop(name), phase=Phase.TERMINATING, pid=None))
        for _ in range(replicas - len(here)):
            self._make(workload)

    def workloads(self) -> Sequence[PlatformWorkload]:
        if self._found is None:
            specs = [
                WorkloadSpec(name=name, command=(), routes=(), kind="Deployment", replicas=count, max_replicas=10_000)
                for name, count in self.wanted.items()
            ]
            self._found = tuple(
                PlatformWorkload(spec=overlay(spec, self.declared), kind="Deployment", rollout="") for spec in specs
            )
        return self._found

    def declare(self, specs: Sequence[WorkloadSpec]) -> None:
        self.declared, self._found = specs, None

    async def scale(self, workload: str, replicas: int) -> int:
        self.calls.append(("scale", workload))
        before = self.wanted[workload]
        self.put(workload, replicas)
        return before

    async def rollout(self, workload: str, progress: Progress) -> str:
        if self.hurt:
            raise Refused(self.hurt)
        for name in [status.name for status in self.statuses.values() if status.workload == workload]:
            await self.restart(name, reason="rollout")
            progress(f"{name} replaced")
        return f"{workload} was rolled out."

    async def restart(self, replica: str, *, reason: str) -> None:
        """As a controller does: the replica goes and another comes."""
        self.calls.append(("restart", replica))
        status = self.statuses.pop(replica)
        self._tell(msgspec.structs.replace(status, phase=Phase.TERMINATING, pid=None))
        await asyncio.sleep(0)
        self._make(status.workload)

    def _make(self, workload: str) -> None:
        name = f"{workload}-{next(self._names):05x}"
        self._set(
            ReplicaStatus(
                name=name,
                fleet=self.name,
                workload=workload,
                phase=Phase.PENDING,
                owner=f"Deployment/{workload}",
                created_ts=time.time(),
            )
        )
        self._start(name)
