"""A Swarm as a fleet: services as workloads, the newest task of each slot as a replica, and its nodes.

Owns what was last seen of them and who is told of changes. It is fed by the watch and asks the engine nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from backend.config.fleet_file import DockerFile
from backend.contract.clock import Clock
from backend.contract.fleet import ExitRecord, ReplicaStatus, WorkloadSpec
from backend.contract.platform import NodeStatus, PlatformWorkload
from backend.contract.words import Phase
from backend.fleet.docker_engine.facts import exit_record
from backend.fleet.docker_engine.labels import release_of, selects
from backend.fleet.docker_engine.phases import CRASHES, STEADY_S, Beyond, reach_of, readiness
from backend.fleet.docker_engine.roster import Container, Place, Roster
from backend.fleet.docker_engine.swarm_facts import (
    AHEAD,
    NodeFacts,
    ServiceFacts,
    TaskFacts,
    node_facts,
    service_facts,
    task_facts,
)

_MAX_REPLICAS: Final = 64


class Seen(msgspec.Struct, frozen=True):
    """A replica of a service: its task now, and those before it in its slot, newest first."""

    service: ServiceFacts
    task: TaskFacts
    former: tuple[TaskFacts, ...]
    status: ReplicaStatus


class SwarmView:
    """`told` hears each status that changed, and a last one of what is gone."""

    def __init__(self, settings: DockerFile, place: Place, clock: Clock, told: Callable[[ReplicaStatus], None]) -> None:
        self.place = place
        self.active = False
        """Whether services are part of the fleet: wished for, and the engine is a manager."""
        self.ports: dict[str, int] = {}
        """Workload -> the container port that serves it, where somebody said so."""
        self._settings, self._clock, self._told = settings, clock, told
        self._services: dict[str, ServiceFacts] = {}
        self._tasks: list[TaskFacts] = []
        self._nodes: dict[str, NodeFacts] = {}
        self._node = ""
        self._seen: dict[str, Seen] = {}

    @property
    def moving(self) -> bool:
        """Whether some task is not yet where it is wanted."""
        return any(
            (seen.task.state in AHEAD and seen.task.desired in ("running", "ready"))
            or (not seen.task.is_final and seen.task.desired in ("shutdown", "remove"))
            for seen in self._seen.values()
        ) or any(service.update_state in ("updating", "rollback_started") for service in self._services.values())

    @property
    def spread(self) -> bool:
        """Whether tasks run on machines other than the engine's."""
        return any(node.id != self._node for node in self._nodes.values())

    @property
    def node(self) -> str:
        """The engine's own node's id."""
        return self._node

    def put(self, services: object, tasks: object, nodes: object, node: str, containers: Roster) -> None:
        """What the engine lists now. `containers`: those of tasks on its own node."""
        found = [service for entry in _list(services) if (service := service_facts(entry)) is not None]
        self._services = {s.id: s for s in found if selects(self._settings, s.labels)}
        self._tasks = [task for entry in _list(tasks) if (task := task_facts(entry)) is not None]
        self._nodes = {held.id: held for entry in _list(nodes) if (held := node_facts(entry)) is not None}
        self._node = node
        self.refresh(containers)

    def clear(self) -> None:
        """The engine is no manager (any more)."""
        self._services, self._tasks, self._nodes = {}, [], {}
        for name in list(self._seen):
            self._forget(name)

    def refresh(self, containers: Roster) -> None:
        """Make all statuses anew."""
        now: dict[str, Seen] = {}
        for service in sorted(self._services.values(), key=lambda s: (s.created_ts, s.name)):
            for seen in self._replicas(service, containers):
                now[seen.status.name] = seen
        before, self._seen = self._seen, now
        for name in before:
            if name not in now:
                self._tell_gone(before[name].status)
        for name, seen in now.items():
            if name not in before or _told_apart(before[name].status, seen.status):
                self._told(seen.status)

    def statuses(self) -> list[ReplicaStatus]:
        return [seen.status for seen in self._seen.values()]

    def replicas(self) -> list[Seen]:
        return list(self._seen.values())

    def get(self, replica: str) -> Seen | None:
        return self._seen.get(replica)

    def service(self, workload: str) -> ServiceFacts | None:
        """A service by its name."""
        return next((s for s in self._services.values() if s.name == workload), None)

    def services(self) -> list[ServiceFacts]:
        return sorted(self._services.values(), key=lambda s: (s.created_ts, s.name))

    def of(self, workload: str) -> list[Seen]:
        """A service's replicas."""
        return [seen for seen in self._seen.values() if seen.service.name == workload]

    def node_named(self, name: str) -> NodeFacts | None:
        """A node by its name or id."""
        return next((n for n in self._nodes.values() if name in (n.name, n.id)), None)

    def nodes(self) -> list[NodeStatus]:
        """Managers first."""
        ordered = sorted(self._nodes.values(), key=lambda n: (n.role != "manager", n.name, n.id))
        return [self._node_status(node) for node in ordered]

    def workloads(self) -> list[PlatformWorkload]:
        return [self._workload(service) for service in self.services()]

    # -- making them

    def _replicas(self, service: ServiceFacts, containers: Roster) -> list[Seen]:
        slots: dict[tuple[int, str], list[TaskFacts]] = {}
        for task in self._tasks:
            if task.service == service.id:
                slots.setdefault((task.slot, "" if task.slot else task.node), []).append(task)
        found = []
        for (slot, node), tasks in sorted(slots.items()):
            tasks.sort(key=lambda task: task.created_ts, reverse=True)
            newest = tasks[0]
            ends = newest.desired in ("shutdown", "remove")
            if ends and newest.is_final and (service.replicas is None or slot > service.replicas):
                continue
            if ends and newest.is_final and newest.state in ("shutdown", "remove"):
                continue
            suffix = str(slot) if slot else (self._nodes[node].name if node in self._nodes else node[:12])
            name = f"{service.name}.{suffix}"
            status = self._status(name, service, newest, tuple(tasks[1:]), containers)
            found.append(Seen(service, newest, tuple(tasks[1:]), status))
        return found

    def _status(
        self, name: str, service: ServiceFacts, task: TaskFacts, former: tuple[TaskFacts, ...], containers: Roster
    ) -> ReplicaStatus:
        held = containers.by_id(task.container) if task.container else None
        phase, reason = _phase(task, former, self._clock.now())
        if phase == Phase.READY and held is not None and held.facts.paused:
            phase, reason = Phase.NOT_READY, "paused"
        rates = (held.beyond if held is not None else Beyond()).rates
        node = self._nodes.get(task.node)
        host, port = self._reach(service, task, node, held)
        started = held.facts.started_ts if held is not None else task.changed_ts
        return ReplicaStatus(
            name=name,
            fleet=self.place.fleet,
            workload=service.name,
            phase=phase,
            revision=str(service.version),
            reason=reason,
            restarts=len(former),
            created_ts=task.created_ts,
            started_ts=started if task.state == "running" else None,
            pid=(task.pid or (held.facts.pid if held is not None else None)) if task.state == "running" else None,
            host=host,
            port=port,
            cpu_percent=rates.cpu_percent if rates is not None else None,
            memory_bytes=rates.memory_bytes if rates is not None else None,
            memory_limit_bytes=task.memory_limit_bytes,
            net_rx_bytes_per_s=rates.rx_bytes_per_s if rates is not None else None,
            net_tx_bytes_per_s=rates.tx_bytes_per_s if rates is not None else None,
            last_exit=_last_exit((task, *former)),
            probes=readiness(held.facts) if held is not None else (),
            node=node.name if node is not None else "",
            image=task.image or service.image,
            owner=f"service {service.name}",
            containers_ready=1 if phase == Phase.READY else 0,
            addresses=task.addresses if task.state == "running" else (),
        )

    def _reach(
        self, service: ServiceFacts, task: TaskFacts, node: NodeFacts | None, held: Container | None
    ) -> tuple[str, int | None]:
        wanted = self.ports.get(service.name)
        if held is not None:  # it knows which of its published ports is for which family of addresses
            found = reach_of(held.facts, wanted, engine=self.place.engine, direct=False)
            if found is not None:
                return found.host, found.port
        for published in (*task.ports, *service.ports):
            if published.host_port is None or published.protocol != "tcp":
                continue
            if wanted is not None and published.port != wanted:
                continue
            own = task.node == self._node or published in service.ports
            host = self.place.engine if own or node is None or not node.address else node.address
            return host, published.host_port
        return "127.0.0.1", None

    def _workload(self, service: ServiceFacts) -> PlatformWorkload:
        replicas = service.replicas
        if replicas is None:
            replicas = sum(1 for seen in self.of(service.name) if seen.task.desired in ("running", "ready"))
        spec = WorkloadSpec(
            name=service.name,
            command=service.command,
            replicas=replicas,
            routes=(),
            kind="service",
            stop_grace_s=service.stop_grace_s,
            role=service.role,
            release=release_of(service.labels),
            max_replicas=max(_MAX_REPLICAS, replicas),
            revision=str(service.version),
        )
        return PlatformWorkload(
            spec=spec, kind="service", scalable=service.replicas is not None, rollout=self.rollout_words(service)
        )

    def rollout_words(self, service: ServiceFacts) -> str:
        """How its update stands; empty where none is under way."""
        if service.update_state in ("paused", "rollback_paused"):
            return f"stuck: {service.update_message or 'the update was paused'}"
        if service.update_state not in ("updating", "rollback_started"):
            return ""
        started = [seen for seen in self.of(service.name) if seen.task.created_ts >= service.update_started_ts]
        ready = sum(1 for seen in started if seen.status.phase == Phase.READY)
        back = " (rolling back)" if service.update_state == "rollback_started" else ""
        return f"{ready} of {service.replicas or len(self.of(service.name))} updated{back}"

    def _node_status(self, node: NodeFacts) -> NodeStatus:
        own = [seen for seen in self._seen.values() if seen.task.node == node.id and not seen.task.is_final]
        ready = node.state == "ready"
        roles = tuple(role for role in (node.role, "leader" if node.leader else "") if role)
        return NodeStatus(
            name=node.name,
            ready=ready,
            schedulable=node.availability == "active",
            roles=roles,
            version=node.engine,
            address=node.address,
            replicas=len(own),
            memory_capacity_bytes=node.memory_bytes,
            reason="" if ready else node.message or node.state,
            created_ts=node.created_ts,
        )

    def _forget(self, name: str) -> None:
        seen = self._seen.pop(name)
        self._tell_gone(seen.status)

    def _tell_gone(self, status: ReplicaStatus) -> None:
        self._told(msgspec.structs.replace(status, phase=Phase.TERMINATING, pid=None, reason="gone"))


def _phase(task: TaskFacts, former: tuple[TaskFacts, ...], now: float) -> tuple[Phase, str]:
    """Of a task, with those before it in its slot."""
    said = task.error or task.message
    failed = 0
    for old in former:
        if old.state not in ("failed", "rejected"):
            break
        failed += 1
    recent = bool(former) and now - (former[0].changed_ts or former[0].created_ts) < 60.0
    if not task.is_final and task.desired in ("shutdown", "remove"):
        return Phase.TERMINATING, "stopping"
    if task.state == "running":
        up_s = now - (task.changed_ts if task.changed_ts is not None else task.created_ts)
        if failed >= CRASHES and recent and up_s < STEADY_S:
            return Phase.CRASH_LOOP, f"failed {failed} times, {_why(former[0])}"
        return Phase.READY, ""
    if task.state in AHEAD:
        if failed >= CRASHES and recent:
            return Phase.CRASH_LOOP, f"failed {failed} times, {_why(former[0])}"
        if task.state == "starting":
            return Phase.STARTING, said or "starting"
        return Phase.PENDING, said or task.state
    if task.state == "complete":
        return Phase.COMPLETED, ""
    if task.state in ("failed", "rejected", "orphaned"):
        return Phase.FAILED, _why(task)
    return Phase.TERMINATING, said or task.state


def _why(task: TaskFacts) -> str:
    return (task.error or task.message or task.state).strip()[:160]


def _last_exit(tasks: tuple[TaskFacts, ...]) -> ExitRecord | None:
    for task in tasks:
        if task.is_final:
            ts = task.changed_ts if task.changed_ts is not None else task.created_ts
            wished = task.state in ("shutdown", "remove")
            oom = "oom" in task.error.lower() or "out of memory" in task.error.lower()
            return exit_record(ts, task.exit_code, oom=oom, stopped=wished, pid=task.pid)
    return None


def _told_apart(before: ReplicaStatus, now: ReplicaStatus) -> bool:
    return (before.phase, before.pid, before.port, before.host, before.reason) != (
        now.phase,
        now.pid,
        now.port,
        now.host,
        now.reason,
    )


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
