"""The local fleet: replicas as processes of this machine, each under its shim.

Owns the set of replicas, their listeners and the sampling of CPU and memory. Decides nothing about how many
there should be, and knows no edge.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import Callable, Sequence
from typing import Final

from backend.config.paths import StatePaths
from backend.contract.clock import Clock
from backend.contract.errors import Unreachable, UsageError
from backend.contract.faults import FaultOrder, FaultReport, Holder, StartFault
from backend.contract.fleet import ExitRecord, ReplicaListener, ReplicaStatus, WorkloadSpec
from backend.contract.ledger import RowSink
from backend.contract.rows import SampleRow
from backend.fleet.local.context import ReplicaContext
from backend.fleet.local.launching import ReplicaSeed, seed_of
from backend.fleet.local.ports import PortAllocator
from backend.fleet.local.process import Splice
from backend.fleet.local.replica import Replica
from backend.fleet.local.usage import UsageMeter
from backend.shim.client import ShimClient, wait_gone
from backend.shim.record import ShimRecord, read_exit, shim_alive
from backend.shim.stop_all import recorded_shims

_SAMPLE_PERIOD_S: Final = 1.0
_ADOPT_ANSWER_S: Final = 1.0
"""How long adoption waits for a replica's first readiness answer."""


class LocalFleet:
    """A Fleet that is also Killable, Restartable, Holdable, Maintainable, Spliceable and Faultable.

    `fault_switches` lets programs arm theirs: never in production.
    Call `adopt` once before anything else; end with `close` (replicas go on) or `stop_all` (they end).
    """

    def __init__(
        self,
        paths: StatePaths,
        sink: RowSink,
        clock: Clock,
        name: str = "local",
        *,
        rng: random.Random | None = None,
        fault_switches: bool = False,
    ) -> None:
        self._name = name
        self._sink, self._clock = sink, clock
        self._replicas: dict[str, Replica] = {}
        self._maintained: set[str] = set()
        self._listeners: list[ReplicaListener] = []
        self._meter = UsageMeter()
        self._sampler: asyncio.Task[None] | None = None
        ports = PortAllocator(rng or random.Random())  # noqa: S311 - not a secret
        self._context = ReplicaContext(paths, sink, clock, ports, self._changed, self._removed, fault_switches)

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

    def holder(self, replica: str) -> Holder:
        """Its present shim. Raises TrinityError while it has no process, UsageError for an unknown one."""
        return self._get(replica).drill.holder()

    async def fault(self, replica: str, order: FaultOrder) -> FaultReport:
        """Let its shim apply a fault. Raises TrinityError where that cannot be."""
        return await self._get(replica).drill.fault(order)

    async def heal(self, replica: str, fault_id: str) -> FaultReport | None:
        """Let its shim take a fault away; null where there is none (any more)."""
        found = self._replicas.get(replica)
        return None if found is None else await found.drill.heal(fault_id)

    async def faults(self, replica: str) -> Sequence[FaultReport]:
        """What its present shim holds, and the last it held."""
        return await self._get(replica).drill.faults()

    async def set_start_fault(self, replica: str, fault: StartFault | None) -> None:
        """Spoil its next starts, or stop doing so. Raises UsageError for values that cannot be."""
        self._get(replica).drill.set_start_fault(fault)

    async def exit(self, replica: str, code: int) -> None:
        """Throw its program's fault switch. Raises Refused where that is not allowed or there is none."""
        await self._get(replica).drill.exit(code)

    async def set_maintenance(self, workload: str, *, on: bool) -> None:
        """No probes acting and no restarts for a workload. May be called before its replicas exist or are adopted."""
        (self._maintained.add if on else self._maintained.discard)(workload)
        for replica in self._replicas.values():
            if replica.seed.workload.name == workload:
                replica.maintain(on=on)

    async def adopt(self) -> Sequence[ReplicaStatus]:
        """Take over what a former daemon left: running replicas keep their pids, others are started again."""
        found = []
        for record in await asyncio.to_thread(recorded_shims, self._context.paths.run_dir):
            seed = seed_of(record, self._name)
            if seed is not None and seed.name not in self._replicas:
                found.append((self._add(seed), record))
        await asyncio.gather(*(self._adopt_one(replica, record) for replica, record in found))
        self._ensure_sampling()
        return [replica.status() for replica, _ in found]

    async def close(self) -> None:
        """Detach: replicas go on under their shims."""
        await self._stop_sampling()
        await asyncio.gather(*(replica.detach() for replica in self._replicas.values()))
        self._replicas.clear()

    async def stop_all(self, *, reason: str = "shutdown") -> None:
        """End every replica; none of their processes is left on return."""
        await self._stop_sampling()
        await asyncio.gather(*(self.remove(replica, reason=reason) for replica in list(self._replicas)))

    def _add(self, seed: ReplicaSeed) -> Replica:
        replica = Replica(seed, self._context)
        if seed.workload.name in self._maintained:
            replica.maintain(on=True)
        self._replicas[seed.name] = replica
        self._context.ports.claim(seed.port)
        self._context.ports.claim(seed.health_port)
        return replica

    async def _adopt_one(self, replica: Replica, record: ShimRecord) -> None:
        exit_record = read_exit(record.spec.exit_path)
        try:
            client = await ShimClient.adopt(self._context.paths.shim_record(replica.seed.name), clock=self._clock)
        except Unreachable:
            # A shim that does not answer cannot be supervised: it is ended, which ends its program too.
            if shim_alive(record):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(record.shim_pid, signal.SIGKILL)
                await wait_gone(record.shim_pid, record.shim_start, 2.0)
            client = None
        if client is not None and client.record.pid is not None:
            await replica.begin_adopted(client, answer_s=_ADOPT_ANSWER_S)
            return
        noted = replica.seed.last_exit if record.pid is None else None
        told = noted is not None and exit_record in (None, noted)
        missed = exit_record or ExitRecord(ts=self._clock.now(), reason="Unknown", pid=record.pid)
        replica.begin_missed(record, None if told else missed)

    def _get(self, replica: str) -> Replica:
        found = self._replicas.get(replica)
        if found is None:
            raise UsageError(f"There is no replica {replica} in {self._name}.", "See `trinity ps`.")
        return found

    def _changed(self, status: ReplicaStatus) -> None:
        for listener in list(self._listeners):
            listener(status)

    def _removed(self, name: str) -> None:
        self._changed(self._replicas.pop(name).status())

    def _ensure_sampling(self) -> None:
        if self._sampler is None:
            self._sampler = asyncio.create_task(self._sample(), name="fleet-sampler")

    async def _stop_sampling(self) -> None:
        if self._sampler is not None:
            self._sampler.cancel()
            await asyncio.wait([self._sampler])
            self._sampler = None

    async def _sample(self) -> None:
        """Measure CPU and memory of each replica once a second, off the loop."""
        while True:
            pids = {replica.pid: replica for replica in self._replicas.values() if replica.pid is not None}
            usage = await asyncio.to_thread(self._meter.measure, [pid for pid in pids if pid is not None])
            for pid, replica in pids.items():
                if replica.pid != pid or pid not in usage:
                    continue
                replica.measured(usage[pid])
                self._append_sample(replica, "memory_bytes", float(usage[pid].memory_bytes))
                if (percent := usage[pid].cpu_percent) is not None:
                    self._append_sample(replica, "cpu_percent", percent)
            await asyncio.sleep(_SAMPLE_PERIOD_S)

    def _append_sample(self, replica: Replica, metric: str, value: float) -> None:
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
