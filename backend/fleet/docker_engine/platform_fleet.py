"""What a Docker engine keeps by itself as a fleet: containers, compose projects and Swarm services, seen and acted on.

Owns the parts of the driver and which of them does what to which replica. Decides no counts and knows no edge.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from backend.config.fleet_file import DockerFile
from backend.config.paths import StatePaths
from backend.contract.clock import Clock
from backend.contract.errors import Refused, TrinityError, Unreachable, UsageError
from backend.contract.fleet import ReplicaListener, ReplicaStatus, WorkloadSpec
from backend.contract.ledger import RowSink
from backend.contract.platform import (
    ByteStream,
    Description,
    ExecStream,
    NodeStatus,
    PlatformWorkload,
    PortView,
    Progress,
    Trouble,
)
from backend.contract.words import Phase, Verb
from backend.fleet.docker_engine.client import EngineClient
from backend.fleet.docker_engine.deeds import Deeds
from backend.fleet.docker_engine.describing import Describing
from backend.fleet.docker_engine.exec_stream import start_exec
from backend.fleet.docker_engine.logs import MAX_FOLLOWED, LogKeeper, Target, container_log, task_log
from backend.fleet.docker_engine.phases import Reach, reach_of
from backend.fleet.docker_engine.ports import container_ports, service_ports, task_ports
from backend.fleet.docker_engine.remembering import RememberingSink
from backend.fleet.docker_engine.roster import Container, Place, Roster
from backend.fleet.docker_engine.sampling import Sampled, Sampler
from backend.fleet.docker_engine.swarm import SwarmView
from backend.fleet.docker_engine.swarm_deeds import SwarmDeeds
from backend.fleet.docker_engine.swarm_facts import NodeFacts
from backend.fleet.docker_engine.usage import Counters, Rates
from backend.fleet.docker_engine.watch import Rosters, Watch
from backend.fleet.docker_engine.workloads import group_workloads
from backend.fleet.overlay import declared_for, overlay
from backend.fleet.tcp_stream import connect

_FIRST_LIST_S: Final = 3.0
"""How long `adopt` waits for the first list, or the reason why there is none."""


class PlatformFleet:
    """PlatformOwned, Reversible, Killable, Restartable, Pausable, Loggable, Executable, Forwardable, HasPorts,
    Describable, HasNodes and Limited. Call `adopt` once; end with `close` (nothing at the engine changes)."""

    def __init__(
        self,
        paths: StatePaths,
        sink: RowSink,
        clock: Clock,
        name: str,
        settings: DockerFile,
        *,
        client: EngineClient,
        frozen: Callable[[str, bool], None] = lambda replica, paused: None,
    ) -> None:
        self._name, self._clock, self._settings = name, clock, settings
        self._sink = RememberingSink(sink)
        self._client = client
        self._listeners: list[ReplicaListener] = []
        place = Place(fleet=name)
        self._roster = Roster(place, clock, self._changed)
        self._tasks = Roster(place, clock, _nobody)
        self._ours = Roster(place, clock, _nobody)
        self._swarm = SwarmView(settings, place, clock, self._changed)
        rosters = Rosters(self._roster, self._tasks, self._ours)
        self._watch = Watch(
            self._client,
            settings,
            name,
            rosters,
            self._swarm,
            self._sink,
            clock,
            digest=paths.digest,
            frozen=frozen,
            died=self._died,
            connected=self._connected,
        )
        self._describing = Describing(self._client, rosters, self._swarm, self._watch, self._sink, self._unknown)
        self._deeds = Deeds(self._client, self._roster, self._watch, clock, local=self._is_local)
        self._task_deeds = Deeds(self._client, self._tasks, self._watch, clock, local=self._is_local)
        self._swarm_deeds = SwarmDeeds(self._client, self._swarm, self._watch, clock)
        self._logs = LogKeeper(self._client, paths.replica_log_dir, self._log_of, clock)
        self._sampler = Sampler(
            self._client,
            sink,
            clock,
            name,
            chosen=self._measurable,
            measured=self._measured,
            after=self._after_samples,
        )
        self._declared: tuple[WorkloadSpec, ...] = ()
        self._via: dict[str, tuple[int, int | None]] = {}
        """Replica -> the fault proxy's ports in front of it."""
        self._workloads: tuple[PlatformWorkload, ...] | None = None
        self._running: list[asyncio.Task[None]] = []

    # -- life

    @property
    def name(self) -> str:
        return self._name

    @property
    def watch(self) -> Watch:
        """How it keeps itself up to date."""
        return self._watch

    @property
    def deeds(self) -> Deeds:
        """What it does to containers."""
        return self._deeds

    async def adopt(self) -> Sequence[ReplicaStatus]:
        """Begin to watch; waits a little for the first list. Never raises for an engine that cannot be used."""
        self._running = [
            asyncio.create_task(self._watch.run(), name="docker watch"),
            asyncio.create_task(self._sampler.run(), name="docker samples"),
        ]
        settled = asyncio.create_task(self._watch.settled.wait())
        await asyncio.wait([settled, self._running[0]], timeout=_FIRST_LIST_S, return_when=asyncio.FIRST_COMPLETED)
        settled.cancel()
        return self.observe()

    async def close(self) -> None:
        """Detach: everything at the engine goes on as it is."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._running = []
        await self._logs.close()

    # -- seeing

    def observe(self) -> Sequence[ReplicaStatus]:
        """Containers by name, then the replicas of services."""
        seen = [*(container.status for container in self._roster.all()), *self._swarm.statuses()]
        return [self._spliced(status) for status in seen] if self._via else seen

    def knows(self, replica: str) -> bool:
        """Whether it is one of the platform's replicas."""
        return self._roster.get(replica) is not None or self._swarm.get(replica) is not None

    def on_change(self, listener: ReplicaListener) -> Callable[[], None]:
        """Call `listener` at once when a phase, pid, reason or address changes. Returns what ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def workloads(self) -> Sequence[PlatformWorkload]:
        """Groups of containers, then services, each with what was declared of it."""
        if self._workloads is None:
            seen = [*group_workloads(self._roster.all()), *self._swarm.workloads()]
            self._workloads = tuple(
                msgspec.structs.replace(held, spec=overlay(held.spec, self._declared)) for held in seen
            )
        return self._workloads

    def declare(self, specs: Sequence[WorkloadSpec]) -> None:
        """What trinity.yaml says of workloads here; see PlatformOwned."""
        self._declared = tuple(specs)
        self._point_at_ports()
        self._workloads = None

    def nodes(self) -> Sequence[NodeStatus]:
        """Of its Swarm; none outside of one."""
        return self._swarm.nodes()

    def ports(self) -> Sequence[PortView]:
        """Published ports of containers and services, and those that are not."""
        host = self._roster.place.engine
        return [
            *container_ports([*self._roster.all(), *self._ours.all()], host),
            *service_ports(self._swarm.services(), host),
            *task_ports(self._swarm.replicas()),
        ]

    def trouble(self) -> Trouble | None:
        return self._watch.trouble

    def limits(self) -> Mapping[str, str]:
        """Verb -> why nobody can do it here."""
        found = {Verb.EVICT: "Docker has no evictions; stop or restart the container"}
        if not self._swarm.active:
            why = "needs a Swarm manager, which this engine is not"
            found |= dict.fromkeys((Verb.CORDON, Verb.UNCORDON, Verb.NODE_DRAIN), f"{why}: it has no nodes")
            found[Verb.ROLLBACK] = f"{why}: containers have no former revisions"
        return {str(verb): words for verb, words in found.items()}

    async def describe(self, name: str) -> Description:
        """A replica, a workload or a node. Raises UsageError for an unknown name."""
        return await self._describing.describe(name)

    # -- verbs on replicas

    async def restart(self, replica: str, *, reason: str) -> None:
        """Stop within its grace and start again; a service's task is replaced by Swarm."""
        deeds, container = self._own(replica)
        if deeds is self._task_deeds:
            await deeds.stop(container)
            await self._watch.refresh_swarm()
            return
        await deeds.restart(container)

    async def kill(self, replica: str, *, signal: int = 9, counted: bool = False) -> int:
        """Signal its program; returns its pid. What has a restart policy, or is a service's, is started again."""
        deeds, container = self._own(replica)
        return await deeds.kill(container, signal)

    async def pause(self, replica: str) -> None:
        """Freeze all of its processes."""
        deeds, container = self._own(replica)
        if container.facts.paused:
            return
        await deeds.pause(container)

    async def unpause(self, replica: str) -> None:
        """Let it go on. Idempotent."""
        deeds, container = self._own(replica)
        await deeds.unpause(container)

    def splice(self, replica: str, port: int, health_port: int | None) -> None:
        """Its status carries these as `via_port` and `via_health_port`."""
        if self._roster.get(replica) is None and self._swarm.get(replica) is None:
            raise self._unknown(replica)
        self._via[replica] = (port, health_port)
        self._respliced(replica)

    def unsplice(self, replica: str) -> None:
        """Straight again. Idempotent."""
        if self._via.pop(replica, None) is not None:
            self._respliced(replica)

    async def exec(
        self, replica: str, argv: Sequence[str], *, tty: bool, columns: int = 80, rows: int = 24, container: str = ""
    ) -> ExecStream:
        """Run a program in it. Raises Refused where it does not run."""
        if not argv:
            raise UsageError("No program is named.", "Write it after `--`: `trinity exec web-1 -- sh`.")
        _, held = self._own(replica)
        if not held.facts.running or held.facts.paused:
            state = "is paused" if held.facts.paused else "does not run"
            raise Refused(f"{replica} {state}.", "Unpause it." if held.facts.paused else "Restart it first.")
        if held.facts.restarting:
            raise Refused(
                f"{replica} is between two starts: {held.status.reason}.",
                f"See `trinity logs {replica}`, or try again once it runs.",
            )
        return await start_exec(self._client, held.facts.id, argv, tty=tty, columns=columns, rows=rows)

    async def dial(self, replica: str, port: int) -> ByteStream:
        """Connect to its port: published, or at its own address. Raises Unreachable where neither can be."""
        reach = self._reach(replica, port)
        return await connect(replica, reach.host, reach.port)

    async def want_logs(self, replicas: Sequence[str] | None) -> None:
        """Follow these logs for some minutes (null: the newest replicas)."""
        if replicas is None:
            newest = sorted(self.observe(), key=lambda status: status.created_ts, reverse=True)
            replicas = [status.name for status in newest[:MAX_FOLLOWED]]
        await self._logs.want([name for name in replicas if self._log_of(name) is not None])

    # -- verbs on workloads and nodes

    async def scale(self, workload: str, replicas: int) -> int:
        """Want that many; returns how many were wanted before."""
        if (service := self._swarm.service(workload)) is not None:
            return await self._swarm_deeds.scale(service, replicas)
        group = self._group(workload)
        if not group[0].member.grouped:
            raise Refused(
                f"{workload} is a single container, and Docker does not scale those.",
                "Start it by compose or as a Swarm service, or label containers alike: `trinity.workload=NAME`.",
            )
        if group[0].member.kind == "service":
            raise Refused(f"{workload} is a Swarm service, and this engine is no manager.", "Ask a manager.")
        return await self._deeds.scale(workload, replicas)

    async def rollout(self, workload: str, progress: Progress) -> str:
        """Restart one replica after the other, or let Swarm replace its tasks; to the end, gated by health."""
        if (service := self._swarm.service(workload)) is not None:
            return await self._swarm_deeds.rollout(service, progress)
        self._group(workload)
        return await self._deeds.roll(workload, progress)

    async def rollback(self, workload: str, progress: Progress) -> str:
        """A Swarm service's former specification again. Raises Refused for all else."""
        if (service := self._swarm.service(workload)) is not None:
            return await self._swarm_deeds.rollback(service, progress)
        self._group(workload)
        raise Refused(
            f"Docker keeps no former revision of {workload}.",
            "Only Swarm services have one. Bring up the compose file as it was before.",
        )

    async def cordon(self, node: str, *, on: bool) -> None:
        """Swarm's availability `pause`, or `active` again."""
        await self._swarm_deeds.set_availability(self._node(node), "pause" if on else "active")
        await self._watch.refresh_swarm()

    async def drain_node(self, node: str, progress: Progress, *, deadline_s: float = 600.0) -> str:
        """Swarm's availability `drain`, until this fleet's tasks are gone from there."""
        return await self._swarm_deeds.drain(self._node(node), progress, deadline_s=deadline_s)

    # -- what is where

    def _own(self, replica: str) -> tuple[Deeds, Container]:
        """A replica's container on this engine. Raises UsageError, or Refused where another machine has it."""
        container = self._roster.get(replica)
        if container is not None:
            return self._deeds, container
        ours = self._ours.get(replica)
        if ours is not None:
            return self._deeds, ours
        seen = self._swarm.get(replica)
        if seen is None:
            raise self._unknown(replica)
        held = self._tasks.by_id(seen.task.container) if seen.task.container else None
        if held is None:
            elsewhere = seen.task.node and seen.task.node != self._swarm.node
            if elsewhere:
                where = f"{replica} runs on {seen.status.node or 'another machine'}"
                raise Refused(f"{where}, and only its own engine can do that.", "Add that engine as a fleet.")
            raise Refused(f"{replica} has no container now ({seen.status.reason}).", "Wait until it has one.")
        return self._task_deeds, held

    def _group(self, workload: str) -> list[Container]:
        group = self._roster.of(workload)
        if not group:
            raise self._unknown(workload)
        return group

    def _node(self, name: str) -> NodeFacts:
        if not self._swarm.active:
            raise Refused("This engine is no Swarm manager, it has no nodes.", "Ask a manager's engine.")
        node = self._swarm.node_named(name)
        if node is None:
            raise UsageError(f"There is no node {name} in {self._name}.", "See `docker node ls`.")
        return node

    def _unknown(self, name: str) -> UsageError:
        return UsageError(f"There is nothing called {name} in {self._name}.", "See `trinity ps`.")

    def _reach(self, replica: str, port: int) -> Reach:
        place = self._roster.place
        container = self._roster.get(replica) or self._ours.get(replica)
        seen = self._swarm.get(replica)
        if container is None and seen is None:
            raise self._unknown(replica)
        if seen is not None and seen.task.container:
            container = self._tasks.by_id(seen.task.container)
        if container is not None:
            if not container.facts.running:
                raise Unreachable(f"{replica} does not run.", "Restart it first.")
            found = reach_of(container.facts, port, engine=place.engine, direct=place.direct)
            if found is not None:
                return found
        for published in () if seen is None else (*seen.task.ports, *seen.service.ports):
            if published.port == port and published.host_port is not None:
                return Reach(seen.status.host if seen is not None else place.engine, published.host_port)
        raise Unreachable(
            f"Port {port} of {replica} is not published, and its own address cannot be reached from here.",
            f"Publish it on the engine's machine (`-p 127.0.0.1::{port}`), or run the daemon there.",
        )

    def _log_of(self, replica: str) -> Target | None:
        container, seen = self._roster.get(replica), self._swarm.get(replica)
        if container is None and seen is not None and seen.task.container:
            container = self._tasks.by_id(seen.task.container)
            if container is None:
                return task_log(replica, seen)
        return None if container is None else container_log(replica, container.facts)

    # -- what the parts tell

    def _is_local(self) -> bool:
        return self._client.endpoint.socket_path is not None and sys.platform == "linux"

    def _connected(self) -> None:
        endpoint, info = self._client.endpoint, self._client.info
        own_bridge = endpoint.socket_path is not None and sys.platform == "linux" and not info.rootless
        place = Place(
            fleet=self._name, engine=endpoint.address, direct=own_bridge and "Docker Desktop" not in info.system
        )
        self._roster.place = self._tasks.place = self._ours.place = self._swarm.place = place
        self._roster.refresh_all()

    def _point_at_ports(self) -> None:
        ports: dict[str, int] = {}
        for name, kind in (
            *((c.member.workload, c.member.kind) for c in self._roster.all()),
            *((s.name, "service") for s in self._swarm.services()),
        ):
            said = declared_for(name, kind, self._declared)
            if said is not None and said.port:
                ports[name] = said.port
        if ports != self._roster.ports:
            self._roster.ports = self._swarm.ports = ports
            self._roster.refresh_all()
            self._swarm.refresh(self._tasks)

    def _changed(self, status: ReplicaStatus) -> None:
        self._workloads = None
        if self._declared:
            self._point_at_ports()
        if status.started_ts is not None or status.phase == Phase.READY:
            self._logs.changed(status.name)
        status = self._spliced(status)
        for listener in list(self._listeners):
            listener(status)

    def _spliced(self, status: ReplicaStatus) -> ReplicaStatus:
        via = self._via.get(status.name)
        if via is None:
            return status
        return msgspec.structs.replace(status, via_port=via[0], via_health_port=via[1])

    def _respliced(self, replica: str) -> None:
        status = next((held for held in self.observe() if held.name == replica), None)
        for listener in list(self._listeners):
            if status is not None:
                listener(status)

    async def _died(self, identifier: str, name: str) -> None:
        """Keep what it wrote last: the engine forgets it with the container."""
        if self._roster.by_id(identifier) is None:
            await self._watch.look_at(identifier)
        container = self._roster.by_id(identifier)
        if container is None:
            return
        target = self._log_of(container.facts.name)
        if target is None or target.id != identifier:
            return
        try:
            lines = await self._logs.last_words(target)
        except TrinityError:
            return
        self._roster.lines(identifier, lines)

    def _measurable(self) -> list[Sampled]:
        if self._watch.trouble is not None or not self._watch.settled.is_set():
            return []
        chosen = [
            Sampled(c.facts.id, c.member.workload, c.facts.name)
            for c in self._roster.all()
            if c.facts.running and not c.facts.restarting
        ]
        chosen += [
            Sampled(seen.task.container, seen.service.name, seen.status.name)
            for seen in self._swarm.replicas()
            if seen.task.state == "running" and self._tasks.by_id(seen.task.container) is not None
        ]
        return chosen

    def _measured(self, identifier: str, counters: Counters) -> Rates | None:
        roster = self._tasks if self._tasks.by_id(identifier) is not None else self._roster
        return roster.measured(identifier, counters)

    def _after_samples(self) -> None:
        if self._swarm.active:
            self._swarm.refresh(self._tasks)


def _nobody(status: ReplicaStatus) -> None:
    """Nobody is told of these: somebody else shows them."""
