"""Containers that we keep ourselves: workloads with an `image` in a docker fleet, a container for each replica.

Owns their adoption, their end, and the reading of their statistics. What is true of all supervised replicas is
`supervision`'s: a container lives, dies and comes back like a local process. Decides no counts and knows no edge.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import Final

from backend.config.paths import StatePaths
from backend.contract.clock import Clock
from backend.contract.errors import Refused, TrinityError
from backend.contract.faults import FaultOrder, FaultReport, Holder, StartFault
from backend.contract.fleet import ReplicaStatus, WorkloadSpec
from backend.contract.ledger import RowSink
from backend.contract.platform import Trouble
from backend.fleet.docker_engine.client import EngineClient
from backend.fleet.docker_engine.errors import EngineTrouble, NotThere
from backend.fleet.docker_engine.facts import ContainerFacts
from backend.fleet.docker_engine.labels import OUR_STATE
from backend.fleet.docker_engine.own_engine import OwnEngine
from backend.fleet.docker_engine.own_faults import OwnFaults
from backend.fleet.docker_engine.own_process import own_exit
from backend.fleet.docker_engine.own_records import OwnRecord, read_record, write_record
from backend.fleet.docker_engine.own_shape import is_ours, seed_of
from backend.fleet.docker_engine.own_starter import ContainerStarter
from backend.fleet.docker_engine.usage import Counters, parse_counters, rates
from backend.fleet.supervision.fleet import SupervisedFleet
from backend.fleet.supervision.incarnation import Usage
from backend.fleet.supervision.seed import ReplicaSeed

_ADOPT_ANSWER_S: Final = 1.0
"""How long adoption waits for a replica's first readiness answer."""
_MEASURED_AT_ONCE: Final = 16
"""Containers whose statistics are read in one sampling interval; of more, some each time."""
_AFTERMATH_S: Final = 5.0
"""How long after a fault was healed a probe may still fail because of it."""
_SAME_END_S: Final = 1e-3


class OwnContainers(SupervisedFleet[ContainerStarter]):
    """A Fleet that is also Killable, Restartable, Holdable, Maintainable, Spliceable, Pausable
    and (for the fault `stop`) Faultable.

    `client` is somebody else's to close. Call `adopt` once before anything else; end with `close` (containers go on)
    or `stop_all` (they are removed). While the engine is away replicas that ended stay Pending, and start thereafter.
    """

    def __init__(
        self,
        client: EngineClient,
        paths: StatePaths,
        sink: RowSink,
        clock: Clock,
        name: str,
        *,
        rng: random.Random | None = None,
    ) -> None:
        super().__init__(sink, clock, name, rng=rng)
        self._engine = OwnEngine(client, paths, clock, self._engine_back)
        self._paths = paths
        self._faults = OwnFaults(self._engine)
        self._adopted = False
        self._late: asyncio.Task[None] | None = None
        self._counters: dict[str, tuple[str, Counters]] = {}
        """Replica -> (container's start, its last reading)."""
        self._turn = 0

    # -- life

    async def adopt(self) -> Sequence[ReplicaStatus]:
        """Take over what a former daemon left; where the engine is away, as soon as it is back."""
        await self._faults.end_leftovers()
        try:
            found = await self._found()
        except EngineTrouble:
            return []
        self._adopted = True
        added = [(facts, self._add(seed)) for facts, seed in found if seed.name not in self._replicas]
        await asyncio.gather(*(self._adopt_one(replica.seed.name, facts) for facts, replica in added))
        self._ensure_sampling()
        return [replica.status() for _, replica in added]

    async def close(self) -> None:
        """Detach: containers go on."""
        await self._stop_waiting()
        await self._faults.close()
        await self._detach_all()

    async def stop_all(self, *, reason: str = "shutdown") -> None:
        """Remove every container of ours. Raises Unreachable where the engine is away: they are removed by whom asks
        when it is back."""
        try:
            await self._faults.end_all()
            await self._remove_all(reason)
            for facts, _ in await self._found():
                await self._engine.remove(facts.id)
        finally:
            await self._stop_waiting()

    def trouble(self, since_ts: float) -> Trouble | None:
        """Why the engine cannot be used now."""
        trouble = self._engine.trouble
        return None if trouble is None else trouble.as_trouble(since_ts)

    def owns(self, facts: ContainerFacts) -> bool:
        """Whether a container is one of ours, this fleet's or another one's of this daemon."""
        return is_ours(facts.labels, self._paths.digest)

    def knows(self, replica: str) -> bool:
        return replica in self._replicas

    # -- verbs beyond those of every supervised fleet

    async def create(self, spec: WorkloadSpec, replica: str) -> None:
        """See Fleet.create. Raises Refused where the engine is on another machine: its loopback is not ours."""
        endpoint = self._engine.client.endpoint
        if not endpoint.is_local:
            raise Refused(
                f"The Docker engine at {endpoint.host} is on another machine: its containers cannot be reached here.",
                "Run the daemon on that machine, or declare what runs there with `of`.",
            )
        await super().create(spec, replica)

    async def pause(self, replica: str) -> None:
        """Freeze it. Raises TrinityError where that cannot be."""
        found = self._get(replica)
        present = found.starter.present
        if present is None or found.pid is None:
            raise TrinityError(f"{replica} has no process now.", "Wait until it is started again.")
        await self._engine.call(lambda api: api.pause(present.facts.id))
        self.was_paused(replica, paused=True)

    async def unpause(self, replica: str) -> None:
        """Idempotent."""
        found = self._get(replica)
        present = found.starter.present
        if present is None or found.pid is None or not present.paused:
            return
        await self._engine.call(lambda api: api.unpause(present.facts.id))
        self.was_paused(replica, paused=False)

    # -- faults

    async def holder(self, replica: str) -> Holder:
        """Of its present start. Raises TrinityError while it has no process, UsageError for an unknown one."""
        return await self._faults.holder(replica, self._get(replica).starter.present)

    async def fault(self, replica: str, order: FaultOrder) -> FaultReport:
        """Only `stop`: everything else is the engine's or the proxy's. Raises TrinityError."""
        marks = self._get(replica).starter.marks
        report = await self._faults.fault(replica, self._get(replica).starter.present, order)
        if not report.ended_by:
            marks.hold(order.id, order.ttl_s + _AFTERMATH_S)
        return report

    async def heal(self, replica: str, fault_id: str) -> FaultReport | None:
        """Take it away; null where there is none (any more)."""
        report = await self._faults.heal(replica, fault_id)
        found = self._replicas.get(replica)
        if found is not None and found.starter.marks.holds(fault_id):
            found.starter.marks.hold(fault_id, _AFTERMATH_S)
        return report

    async def faults(self, replica: str) -> Sequence[FaultReport]:
        """What its present holder says."""
        self._get(replica)
        return await self._faults.faults(replica)

    async def set_start_fault(self, replica: str, fault: StartFault | None) -> None:
        """Raises Refused for a fault: a container's start is its image's."""
        if fault is not None:
            raise Refused(f"The starts of {replica}, a container, cannot be spoiled.", "Use process.kill.")

    async def exit(self, replica: str, code: int) -> None:
        """Raises Refused: a fault switch is a file of this machine."""
        raise Refused(f"{replica}, a container, has no fault switch.", "Use process.kill.")

    def was_paused(self, replica: str, *, paused: bool) -> None:
        """Somebody paused its container, or let it go on."""
        found = self._replicas.get(replica)
        if found is not None and found.starter.present is not None:
            found.starter.present.paused = paused
            found.pause(on=paused)

    # -- adoption

    async def _found(self) -> list[tuple[ContainerFacts, ReplicaSeed]]:
        """This fleet's containers at the engine. Raises EngineTrouble."""
        mine = f"{OUR_STATE}={self._paths.digest}"
        listed = await self._engine.call(lambda api: api.containers(all=True, filters={"label": mine}))
        inspected = await asyncio.gather(*(self._facts(str(one["Id"])) for one in listed))
        found = []
        for facts in inspected:
            seed = None if facts is None else seed_of(facts.labels, self._paths.digest, self.name)
            if facts is not None and seed is not None:
                record = read_record(self._paths.container_record(seed.name))
                same = record is not None and record.seed.created_ts == seed.created_ts
                found.append((facts, record.seed if record is not None and same else seed))
        return found

    async def _facts(self, container: str) -> ContainerFacts | None:
        try:
            return await self._engine.inspect(container)
        except NotThere:
            return None

    async def _adopt_one(self, name: str, facts: ContainerFacts) -> None:
        replica = self._get(name)
        if facts.running:
            incarnation = replica.starter.adopt(facts)
            await replica.begin_adopted(incarnation, answer_s=_ADOPT_ANSWER_S, paused=facts.paused)
            return
        path = self._paths.container_record(name)
        record = read_record(path)
        ended_ts = facts.finished_ts
        told = ended_ts is None or (
            record is not None and record.told_ts is not None and abs(record.told_ts - ended_ts) < _SAME_END_S
        )
        missed = None if told else own_exit(facts, pid=None, now_ts=self._clock.now())
        replica.begin_missed(missed, lambda seed: write_record(path, OwnRecord(seed=seed, told_ts=ended_ts)))

    def _engine_back(self) -> None:
        if not self._adopted:
            self._late = asyncio.create_task(self._adopt_late(), name="late adoption")
        for replica in self._replicas.values():
            replica.reconsider()

    async def _adopt_late(self) -> None:
        for status in await self.adopt():
            self._changed(status)

    async def _stop_waiting(self) -> None:
        await self._engine.close()
        if self._late is not None:
            self._late.cancel()
            await asyncio.wait([self._late])

    # -- what is measured

    def _starter(self, seed: ReplicaSeed) -> ContainerStarter:
        return ContainerStarter(seed.name, self._engine, self._faults)

    async def _measure(self) -> Mapping[str, Usage]:
        if self._engine.trouble is not None:
            return {}
        living = sorted(replica.seed.name for replica in self._living())
        chosen = living
        if len(living) > _MEASURED_AT_ONCE:
            chosen = (living + living)[self._turn : self._turn + _MEASURED_AT_ONCE]
            self._turn = (self._turn + _MEASURED_AT_ONCE) % len(living)
        measured = await asyncio.gather(*(self._measure_one(name) for name in chosen))
        self._counters = {name: held for name, held in self._counters.items() if name in living}
        return {name: usage for name, usage in zip(chosen, measured, strict=True) if usage is not None}

    async def _measure_one(self, name: str) -> Usage | None:
        replica = self._replicas.get(name)
        present = None if replica is None else replica.starter.present
        if present is None:
            return None
        try:
            stats = await self._engine.call(lambda api: api.stats(present.facts.id, stream=False, one_shot=True))
        except TrinityError:
            return None
        now = parse_counters(stats)
        if now is None:
            return None
        start = f"{present.facts.id}{present.started_ts}"
        former = self._counters.get(name)
        self._counters[name] = (start, now)
        found = rates(former[1] if former is not None and former[0] == start else None, now)
        return Usage(found.cpu_percent, found.memory_bytes or 0, found.rx_bytes_per_s, found.tx_bytes_per_s)
