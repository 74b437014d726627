"""A fleet of supervised replicas: the verbs of the contract that need no more than that, and sampling once a second.

Owns the set of replicas and their listeners. Decides nothing about how many there should be, and knows no edge. What
a replica runs in is the driver's that extends it.
"""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Generic, TypeVar

from backend.contract.clock import Clock
from backend.contract.errors import UsageError
from backend.contract.fleet import ReplicaListener, ReplicaStatus, WorkloadSpec
from backend.contract.ledger import RowSink
from backend.contract.rows import SampleRow
from backend.fleet.supervision.context import ReplicaContext
from backend.fleet.supervision.incarnation import Starter, Usage
from backend.fleet.supervision.marks import Splice
from backend.fleet.supervision.ports import PortAllocator
from backend.fleet.supervision.replica import Replica
from backend.fleet.supervision.seed import ReplicaSeed

_SAMPLE_PERIOD_S: Final = 1.0
S = TypeVar("S", bound=Starter)


class SupervisedFleet(ABC, Generic[S]):
    """A Fleet that is also Killable, Restartable, Holdable, Maintainable and Spliceable."""

    def __init__(self, sink: RowSink, clock: Clock, name: str, *, rng: random.Random | None = None) -> None:
        self._name = name
        self._sink, self._clock = sink, clock
        self._replicas: dict[str, Replica[S]] = {}
        self._maintained: set[str] = set()
        self._listeners: list[ReplicaListener] = []
        self._sampler: asyncio.Task[None] | None = None
        ports = PortAllocator(rng or random.Random())  # noqa: S311 - not a secret
        self._context = ReplicaContext(sink, clock, ports, self._changed, self._removed)

    # -- what a driver brings

    @abstractmethod
    def _starter(self, seed: ReplicaSeed) -> S:
        """What starts that replica's program."""

    @abstractmethod
    async def _measure(self) -> Mapping[str, Usage]:
        """What each replica with a running program uses now."""

    # -- the contract

    @property
    def name(self) -> str:
        return self._name

    def observe(self) -> Sequence[ReplicaStatus]:
        """All replicas, oldest first."""
        replicas = sorted(self._replicas.values(), key=lambda replica: (replica.seed.created_ts, replica.seed.name))
        return [replica.status() for replica in replicas]

    def on_change(self, listener: ReplicaListener) -> Callable[[], None]:
        """Call `listener` at once when a phase or pid changes. Returns what ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    async def create(self, spec: WorkloadSpec, replica: str) -> None:
        """Record a new replica and begin its start. Raises UsageError for a name in use, TrinityError without ports."""
        if replica in self._replicas:
            raise UsageError(f"There is a replica {replica} already.", "Choose another name, or restart it.")
        ports = self._context.ports
        port = spec.port or ports.allocate(spec.host)
        ports.claim(port)
        health_port = ports.allocate(spec.host) if spec.health_port else port
        seed = ReplicaSeed(
            name=replica,
            fleet=self._name,
            workload=spec,
            port=port,
            health_port=health_port,
            created_ts=self._clock.now(),
        )
        added = self._add(seed)
        self._changed(added.status())
        added.begin()
        self._ensure_sampling()

    async def remove(self, replica: str, *, reason: str) -> None:
        """End a replica for good. Raises UsageError for an unknown one."""
        await self._get(replica).remove(reason)

    async def restart(self, replica: str, *, reason: str) -> None:
        """End and start a replica in place. Raises TrinityError when it could not be started again."""
        await self._get(replica).restart(reason)

    async def kill(self, replica: str, *, signal: int = 9, counted: bool = False) -> int:
        """Signal a replica's process; returns its pid."""
        return await self._get(replica).kill(signal, counted=counted)

    async def hold(self, replica: str, *, held: bool) -> None:
        """While held, the replica is not started again after a death."""
        self._get(replica).hold(held=held)

    async def splice(self, replica: str, *, port: int, health_port: int | None) -> None:
        """Lead edge and probes to these ports; a restart keeps it, a new daemon does not know it."""
        self._get(replica).splice(Splice(port=port, health_port=health_port))

    async def unsplice(self, replica: str) -> None:
        """Straight again. Unknown replicas are no error."""
        if replica in self._replicas:
            self._replicas[replica].splice(None)

    async def set_maintenance(self, workload: str, *, on: bool) -> None:
        """No probes acting and no restarts for a workload. May be called before its replicas exist or are adopted."""
        (self._maintained.add if on else self._maintained.discard)(workload)
        for replica in self._replicas.values():
            if replica.seed.workload.name == workload:
                replica.maintain(on=on)

    # -- for drivers

    def _add(self, seed: ReplicaSeed) -> Replica[S]:
        replica = Replica(seed, self._context, self._starter(seed))
        if seed.workload.name in self._maintained:
            replica.maintain(on=True)
        self._replicas[seed.name] = replica
        self._context.ports.claim(seed.port)
        self._context.ports.claim(seed.health_port)
        return replica

    def _get(self, replica: str) -> Replica[S]:
        found = self._replicas.get(replica)
        if found is None:
            raise UsageError(f"There is no replica {replica} in {self._name}.", "See `trinity ps`.")
        return found

    def _living(self) -> Iterable[Replica[S]]:
        """Replicas whose program runs."""
        return [replica for replica in self._replicas.values() if replica.pid is not None]

    async def _detach_all(self) -> None:
        await self._stop_sampling()
        await asyncio.gather(*(replica.detach() for replica in self._replicas.values()))
        self._replicas.clear()

    async def _remove_all(self, reason: str) -> None:
        """End every replica; raises what the first that could not be ended raised, after all were tried."""
        await self._stop_sampling()
        work = (self.remove(replica, reason=reason) for replica in list(self._replicas))
        for result in await asyncio.gather(*work, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    def _changed(self, status: ReplicaStatus) -> None:
        for listener in list(self._listeners):
            listener(status)

    def _removed(self, name: str) -> None:
        self._changed(self._replicas.pop(name).status())

    # -- sampling

    def _ensure_sampling(self) -> None:
        if self._sampler is None:
            self._sampler = asyncio.create_task(self._sample(), name="fleet-sampler")

    async def _stop_sampling(self) -> None:
        if self._sampler is not None:
            self._sampler.cancel()
            await asyncio.wait([self._sampler])
            self._sampler = None

    async def _sample(self) -> None:
        """Measure CPU and memory of each replica once a second."""
        while True:
            pids = {replica.seed.name: replica.pid for replica in self._living()}
            for name, usage in (await self._measure()).items():
                replica = self._replicas.get(name)
                if replica is None or replica.pid is None or replica.pid != pids.get(name):
                    continue
                replica.measured(usage)
                self._append_sample(replica, "memory_bytes", float(usage.memory_bytes))
                if usage.cpu_percent is not None:
                    self._append_sample(replica, "cpu_percent", usage.cpu_percent)
            await asyncio.sleep(_SAMPLE_PERIOD_S)

    def _append_sample(self, replica: Replica[S], metric: str, value: float) -> None:
        self._sink.append(
            SampleRow(
                ts=self._clock.now(),
                fleet=self._name,
                workload=replica.seed.workload.name,
                replica=replica.seed.name,
                metric=metric,
                value=value,
            )
        )
