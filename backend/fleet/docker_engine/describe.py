"""All that is known of a container, a service or a node, as sections of lines, with secrets masked. Pure.

Owns the words, and where in the engine's JSON secrets may stand.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from backend.contract.fleet import ReplicaStatus
from backend.contract.platform import Description, NodeStatus
from backend.contract.rows import EventRow
from backend.fleet.docker_engine.facts import ContainerFacts
from backend.fleet.docker_engine.phases import exit_words
from backend.fleet.docker_engine.reading import dig, fields, items, text, texts, whole, words
from backend.fleet.docker_engine.roster import Container
from backend.fleet.docker_engine.swarm import Seen
from backend.fleet.docker_engine.swarm_facts import ServiceFacts, TaskFacts
from backend.fleet.masking import MASK, is_secret, masked_lines, masked_words

Section = tuple[str, tuple[str, ...]]


def masked_source(held: object) -> str:
    """The engine's own JSON, indented, with secrets masked wherever an environment or a command stands."""
    return msgspec.json.format(msgspec.json.encode(masked(held)), indent=2).decode()


def describe_container(
    facts: ContainerFacts, status: ReplicaStatus, inspect: object, events: Sequence[EventRow]
) -> Description:
    """One container."""
    sections: list[Section] = [
        ("Replica", _status_lines(status, facts)),
        ("Container", _container_lines(facts, inspect)),
        ("Ports", tuple(_port_line(facts, n) for n in range(len(facts.ports))) or ("none",)),
        ("Networks", tuple(f"{name}: {address}" for name, address in facts.addresses.items()) or ("none",)),
        ("Mounts", tuple(_mount_line(mount) for mount in items(inspect, "Mounts")) or ("none",)),
        ("Environment", tuple(masked_lines(words(inspect, "Config", "Env"))) or ("none",)),
        ("Labels", tuple(f"{key}={value}" for key, value in sorted(facts.labels.items())) or ("none",)),
    ]
    if facts.health:
        sections.insert(2, ("Health", _health_lines(facts, inspect)))
    if status.last_exit is not None and status.last_exit.last_lines:
        sections.append(("Last lines before its end", status.last_exit.last_lines))
    sections.append(("Events", event_lines(events)))
    return Description(name=facts.name, kind="container", sections=tuple(sections), source=masked_source(inspect))


def describe_task(seen: Seen, held: Container | None, events: Sequence[EventRow]) -> Description:
    """A replica of a service: its tasks, and its container where it runs on our engine."""
    status, tasks = seen.status, (seen.task, *seen.former)
    history = ("Tasks, newest first", tuple(_task_line(status.name, task) for task in tasks))
    if held is not None:
        found = describe_container(held.facts, status, held.inspect, events)
        return msgspec.structs.replace(
            found, name=status.name, kind="task", sections=(found.sections[0], history, *found.sections[1:])
        )
    sections: tuple[Section, ...] = (
        ("Replica", (_replica_line(status), f"image: {status.image}")),
        history,
        ("Events", event_lines(events)),
    )
    return Description(name=status.name, kind="task", sections=sections)


def describe_group(
    name: str, kind: str, statuses: Sequence[ReplicaStatus], events: Sequence[EventRow], source: str
) -> Description:
    """A workload of containers; `source` is shown as it is."""
    ready = sum(1 for status in statuses if status.containers_ready)
    sections: list[Section] = [
        ("Workload", (f"kind: {kind}", f"replicas: {len(statuses)}, {ready} ready")),
        ("Replicas", tuple(_replica_line(status) for status in statuses) or ("none",)),
        ("Events", event_lines(events)),
    ]
    return Description(name=name, kind=kind, sections=tuple(sections), source=source)


def describe_service(
    service: ServiceFacts,
    replicas: Sequence[tuple[ReplicaStatus, TaskFacts, Sequence[TaskFacts]]],
    rollout: str,
    events: Sequence[EventRow],
) -> Description:
    """A Swarm service with its tasks."""
    template = dig(service.spec, "TaskTemplate", "ContainerSpec")
    mode = "global: once on each node" if service.replicas is None else f"{service.replicas} replicas"
    update = [f"{key}: {value}" for key, value in sorted(fields(service.spec, "UpdateConfig").items())]
    if service.update_state:
        update.append(f"last update: {service.update_state}, {service.update_message or 'no message'}")
    history = tuple(_task_line(status.name, task) for status, now, former in replicas for task in (now, *former))
    sections: list[Section] = [
        ("Service", (f"image: {service.image}", f"mode: {mode}", *((f"rollout: {rollout}",) if rollout else ()))),
        ("Replicas", tuple(_replica_line(status) for status, _, _ in replicas) or ("none",)),
        ("Tasks, newest first", history or ("none",)),
        ("Update", tuple(update) or ("Swarm's defaults",)),
        ("Ports", tuple(f"{p.host_port} -> {p.port}/{p.protocol} on every node" for p in service.ports) or ("none",)),
        ("Environment", tuple(masked_lines(words(template, "Env"))) or ("none",)),
        ("Labels", tuple(f"{key}={value}" for key, value in sorted(service.labels.items())) or ("none",)),
        ("Events", event_lines(events)),
    ]
    source = masked_source(service.spec)
    return Description(name=service.name, kind="service", sections=tuple(sections), source=source)


def describe_node(node: NodeStatus, replicas: Sequence[ReplicaStatus], raw: object) -> Description:
    """A Swarm node."""
    labels = texts(raw, "Spec", "Labels")
    lines = (
        f"ready: {'yes' if node.ready else f'no, {node.reason}'}",
        f"takes new tasks: {'yes' if node.schedulable else 'no'}",
        f"roles: {', '.join(node.roles) or 'none'}",
        f"address: {node.address or 'unknown'}",
        f"engine: {node.version or 'unknown'}",
    )
    sections: tuple[Section, ...] = (
        ("Node", lines),
        ("Replicas", tuple(_replica_line(status) for status in replicas) or ("none",)),
        ("Labels", tuple(f"{key}={value}" for key, value in sorted(labels.items())) or ("none",)),
    )
    return Description(name=node.name, kind="node", sections=sections, source=masked_source(raw))


def event_lines(events: Sequence[EventRow]) -> tuple[str, ...]:
    """Newest last."""
    return tuple(f"{_time(event.ts)}  {event.kind}  {event.message}" for event in events) or ("none seen",)


def _status_lines(status: ReplicaStatus, facts: ContainerFacts) -> tuple[str, ...]:
    phase = f"{status.phase}" + (f" ({status.reason})" if status.reason else "")
    lines = [
        f"workload: {status.workload}",
        f"phase: {phase}",
        f"restarts: {status.restarts}"
        + (f", policy {facts.restart_policy}" if facts.restart_policy else ", no policy"),
        f"created: {_time(status.created_ts)}",
    ]
    if status.started_ts is not None:
        lines.append(f"started: {_time(status.started_ts)}")
    if status.pid is not None:
        lines.append(f"pid: {status.pid}")
    if status.port is not None:
        lines.append(f"reached at: {status.host}:{status.port}")
    if status.last_exit is not None:
        lines.append(f"last end: {_time(status.last_exit.ts)}, {exit_words(status.last_exit)}")
    return tuple(lines)


def _container_lines(facts: ContainerFacts, inspect: object) -> tuple[str, ...]:
    limit = facts.memory_limit_bytes
    cpus = whole(inspect, "HostConfig", "NanoCpus")
    return (
        f"id: {facts.id[:12]}",
        f"image: {facts.image} ({facts.image_id.removeprefix('sha256:')[:12]})",
        f"command: {' '.join(masked_words(facts.command)) or '(the image has none)'}",
        f"user: {text(inspect, 'Config', 'User') or 'root'}",
        f"memory limit: {'none' if limit is None else f'{limit / 2**20:.0f} MiB'}",
        f"cpu limit: {'none' if not cpus else f'{cpus / 1e9:g} cores'}",
        f"log driver: {facts.log_driver or 'unknown'}",
        f"OOM killed: {'yes' if facts.oom_killed else 'no'}",
    )


def _health_lines(facts: ContainerFacts, inspect: object) -> tuple[str, ...]:
    test = " ".join(masked_words(words(inspect, "Config", "Healthcheck", "Test")))
    head = f"{facts.health}, {facts.health_failures} failures in a row; check: {test or 'unknown'}"
    answers = [
        f"{_time(answer.ts) if answer.ts is not None else 'never'}  {'ok' if answer.ok else 'failed'}  {answer.output}"
        for answer in facts.health_log
    ]
    return (head, *answers)


def _port_line(facts: ContainerFacts, index: int) -> str:
    port = facts.ports[index]
    if port.host_port is None:
        return f"{port.port}/{port.protocol}, not published"
    return f"{port.port}/{port.protocol} published at {port.host_ip or '*'}:{port.host_port}"


def _mount_line(mount: object) -> str:
    source = text(mount, "Name") or text(mount, "Source")
    mode = "read and write" if dig(mount, "RW") is True else "read only"
    return f"{text(mount, 'Destination')} from {text(mount, 'Type')} {source[:80]}, {mode}"


def _replica_line(status: ReplicaStatus) -> str:
    why = f", {status.reason}" if status.reason else ""
    node = f", on {status.node}" if status.node else ""
    return f"{status.name}: {status.phase}{why}, {status.restarts} restarts{node}"


def _task_line(replica: str, task: TaskFacts) -> str:
    when = _time(task.changed_ts if task.changed_ts is not None else task.created_ts)
    said = task.error or task.message
    return f"{when}  {replica}  {task.state} (wanted {task.desired})" + (f"  {said}" if said else "")


def _time(ts: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(max(0.0, min(ts, 4e9)))) + " UTC"


def masked(held: Any) -> Any:
    """A copy of the engine's JSON for reading."""
    if isinstance(held, dict):
        return {key: _masked_field(str(key), value) for key, value in held.items()}
    return [masked(item) for item in held] if isinstance(held, list) else held


def _masked_field(key: str, value: Any) -> Any:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        if key == "Env":
            return masked_lines(value)
        if key in ("Cmd", "Args", "Entrypoint", "Command", "Test"):
            return masked_words(value)
    if isinstance(value, str) and value and key not in ("Id", "ID") and is_secret(key, value):
        return MASK
    return masked(value)
