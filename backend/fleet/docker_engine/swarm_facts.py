"""Swarm's services, tasks and nodes as the engine describes them, as typed facts. Pure; no input raises."""

from __future__ import annotations

from typing import Final

import msgspec

from backend.fleet.docker_engine.facts import Published
from backend.fleet.docker_engine.labels import ROLE
from backend.fleet.docker_engine.reading import dig, fields, instant, items, text, texts, whole, words

FINAL: Final = ("complete", "shutdown", "failed", "rejected", "remove", "orphaned")
"""States that a task never leaves."""
AHEAD: Final = ("new", "allocated", "pending", "assigned", "accepted", "preparing", "ready", "starting")
"""States on its way to running."""


class ServiceFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A Swarm service."""

    id: str
    name: str
    labels: dict[str, str] = {}
    role: str = ""
    """By its own label, or that of its containers: a compose file's `labels` become those."""
    image: str = ""
    replicas: int | None = None
    """Wanted; null for a global service."""
    version: int = 0
    created_ts: float = 0.0
    ports: tuple[Published, ...] = ()
    """Published on every node (`ingress`), host_port the published one."""
    update_state: str = ""
    """`updating`, `paused`, `completed`, `rollback_started`, ...; empty where it was never updated."""
    update_message: str = ""
    update_started_ts: float = 0.0
    has_former: bool = False
    """Whether there is a former specification to roll back to."""
    stop_grace_s: float = 10.0
    command: tuple[str, ...] = ()
    parallelism: int = 1
    spec: object = None


class TaskFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A Swarm task: one attempt at a replica."""

    id: str
    service: str
    slot: int
    """0 for a global service's."""
    node: str
    state: str
    desired: str
    message: str = ""
    error: str = ""
    created_ts: float = 0.0
    changed_ts: float | None = None
    container: str = ""
    pid: int | None = None
    exit_code: int | None = None
    image: str = ""
    memory_limit_bytes: int | None = None
    ports: tuple[Published, ...] = ()
    """Published on its own node (`mode=host`)."""
    addresses: tuple[str, ...] = ()

    @property
    def is_final(self) -> bool:
        return self.state in FINAL


class NodeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A Swarm node."""

    id: str
    name: str
    state: str = ""
    message: str = ""
    availability: str = ""
    """`active`, `pause` or `drain`."""
    role: str = ""
    leader: bool = False
    address: str = ""
    engine: str = ""
    memory_bytes: int | None = None
    created_ts: float | None = None


def service_facts(service: object) -> ServiceFacts | None:
    """The facts in a service of a list; null where it is none."""
    identifier, name = text(service, "ID"), text(service, "Spec", "Name")
    if not identifier or not name:
        return None
    template = dig(service, "Spec", "TaskTemplate", "ContainerSpec")
    labels = texts(service, "Spec", "Labels")
    grace_ns = whole(template, "StopGracePeriod")
    return ServiceFacts(
        id=identifier,
        name=name,
        labels=labels,
        role=labels.get(ROLE) or texts(template, "Labels").get(ROLE, ""),
        image=text(template, "Image").partition("@")[0],
        replicas=_replicas(dig(service, "Spec", "Mode")),
        version=whole(service, "Version", "Index") or 0,
        created_ts=instant(service, "CreatedAt") or 0.0,
        ports=_ports(items(service, "Endpoint", "Ports"), mode="ingress"),
        update_state=text(service, "UpdateStatus", "State"),
        update_message=text(service, "UpdateStatus", "Message"),
        update_started_ts=instant(service, "UpdateStatus", "StartedAt") or 0.0,
        has_former=bool(fields(service, "PreviousSpec")),
        stop_grace_s=grace_ns / 1e9 if grace_ns is not None and grace_ns >= 0 else 10.0,
        command=(*words(template, "Command"), *words(template, "Args")),
        parallelism=max(0, whole(service, "Spec", "UpdateConfig", "Parallelism") or 0),
        spec=dig(service, "Spec"),
    )


def task_facts(task: object) -> TaskFacts | None:
    """The facts in a task of a list; null where it is none."""
    identifier, service = text(task, "ID"), text(task, "ServiceID")
    if not identifier or not service:
        return None
    status = dig(task, "Status")
    container = dig(status, "ContainerStatus")
    pid = whole(container, "PID")
    limit = whole(task, "Spec", "Resources", "Limits", "MemoryBytes")
    state = text(status, "State")
    addresses = [
        address.partition("/")[0]
        for attachment in items(task, "NetworksAttachments")
        for address in words(attachment, "Addresses")
    ]
    return TaskFacts(
        id=identifier,
        service=service,
        slot=max(0, whole(task, "Slot") or 0),
        node=text(task, "NodeID"),
        state=state,
        desired=text(task, "DesiredState"),
        message=text(status, "Message"),
        error=text(status, "Err"),
        created_ts=instant(task, "CreatedAt") or 0.0,
        changed_ts=instant(status, "Timestamp"),
        container=text(container, "ContainerID"),
        pid=pid if pid is not None and pid > 0 else None,
        exit_code=whole(container, "ExitCode") if state in FINAL else None,
        image=text(task, "Spec", "ContainerSpec", "Image").partition("@")[0],
        memory_limit_bytes=limit if limit is not None and limit > 0 else None,
        ports=_ports(items(status, "PortStatus", "Ports"), mode="host"),
        addresses=tuple(addresses),
    )


def node_facts(node: object) -> NodeFacts | None:
    """The facts in a node of a list; null where it is none."""
    identifier = text(node, "ID")
    if not identifier:
        return None
    return NodeFacts(
        id=identifier,
        name=text(node, "Description", "Hostname") or identifier[:12],
        state=text(node, "Status", "State"),
        message=text(node, "Status", "Message"),
        availability=text(node, "Spec", "Availability"),
        role=text(node, "Spec", "Role"),
        leader=dig(node, "ManagerStatus", "Leader") is True,
        address=text(node, "Status", "Addr"),
        engine=text(node, "Description", "Engine", "EngineVersion"),
        memory_bytes=whole(node, "Description", "Resources", "MemoryBytes"),
        created_ts=instant(node, "CreatedAt"),
    )


def _replicas(mode: object) -> int | None:
    if not fields(mode, "Replicated") and "Replicated" not in fields(mode):
        return None
    return max(0, whole(mode, "Replicated", "Replicas") or 0)


def _ports(entries: list[object], *, mode: str) -> tuple[Published, ...]:
    found = []
    for entry in entries:
        target, published = whole(entry, "TargetPort"), whole(entry, "PublishedPort")
        if target is None or text(entry, "PublishMode") not in ("", mode):
            continue
        found.append(Published(target, text(entry, "Protocol") or "tcp", "", published or None))
    return tuple(sorted(found, key=lambda p: (p.protocol != "tcp", p.port)))
