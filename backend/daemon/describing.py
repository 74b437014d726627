"""A description of a replica or a workload from what the daemon itself knows, for drivers that have none of their own.

Pure: from a snapshot, the specs and some events to sections of lines.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from backend.actions.executor import unknown
from backend.contract.control import ReplicaView, Snapshot, WorkloadView
from backend.contract.fleet import ExitRecord, ProbeSpec, WorkloadSpec
from backend.contract.platform import Description
from backend.contract.rows import EventRow

MASK: Final = "…"
"""Instead of each value of an environment: any of them may be a secret."""
Section = tuple[str, tuple[str, ...]]


def describe(
    name: str, snapshot: Snapshot, specs: Sequence[WorkloadSpec], events: Sequence[EventRow], raw: Mapping[str, Any]
) -> Description:
    """`events` are those about it, oldest first; `raw` what is known of a replica. Raises UsageError for a name that is
    neither a replica nor a workload."""
    views = {view.status.name: view for view in snapshot.replicas}
    declared = {spec.name: spec for spec in specs}
    if name in views:
        spec = declared.get(views[name].status.workload)
        return _replica(views[name], spec, snapshot.ts, events, raw)
    for workload in snapshot.workloads:
        if workload.name == name:
            ours = [view for view in snapshot.replicas if view.status.workload == name]
            return _workload(workload, declared.get(name), ours, events)
    raise unknown("replica or workload", name, sorted({*views, *(each.name for each in snapshot.workloads)}))


def _replica(
    view: ReplicaView, spec: WorkloadSpec | None, now: float, events: Sequence[EventRow], raw: Mapping[str, Any]
) -> Description:
    status = view.status
    started = None if status.started_ts is None else f"{_at(status.started_ts)} ({now - status.started_ts:.0f} s ago)"
    sections = [
        _section(
            "Replica",
            {
                "Workload": status.workload,
                "Phase": status.phase,
                "Reason": status.reason,
                "Owner": status.owner,
                "Node": status.node,
                "Image": status.image,
                "Revision": status.revision,
                "Restarts": status.restarts,
                "Created": _at(status.created_ts),
                "Started": started,
                "Pid": status.pid,
                "Address": f"{status.host}:{status.port}" if status.port else None,
                "Health port": status.health_port if status.health_port != status.port else None,
                "CPU": None if status.cpu_percent is None else f"{status.cpu_percent:.1f} % of a core",
                "Memory": None if status.memory_bytes is None else f"{status.memory_bytes / 2**20:.1f} MiB",
                "Memory limit": status.memory_limit_bytes and f"{status.memory_limit_bytes / 2**20:.1f} MiB",
            },
        ),
        ("Probes", tuple(_probe_line(probe.name, probe.ok, probe.detail) for probe in status.probes)),
        ("Last exit", _exit_lines(status.last_exit)),
        _section("Edge", {} if view.edge is None else msgspec.to_builtins(view.edge)),
        *_spec_sections(spec),
        _events(events),
    ]
    source = msgspec.json.format(msgspec.json.encode(_masked(dict(raw))), indent=2).decode()
    return Description(name=status.name, kind="replica", sections=_filled(sections), source=source)


def _workload(
    view: WorkloadView, spec: WorkloadSpec | None, ours: Sequence[ReplicaView], events: Sequence[EventRow]
) -> Description:
    replicas = tuple(f"{each.status.name}  {each.status.phase}  {each.status.reason}".rstrip() for each in ours)
    sections = [
        _section(
            "Workload",
            {
                "Replicas": f"{view.ready} ready of {view.wanted} wanted, {view.total} in all",
                "Slots": view.slots,
                "In flight": view.in_flight,
                "Queued": view.queued,
                "Worked on by": view.lease,
                "Maintenance": "on" if view.maintenance else None,
                "Autoscaler": "on" if view.autoscale else None,
            },
        ),
        ("Replicas", replicas),
        *_spec_sections(spec),
        _events(events),
    ]
    known = {} if spec is None else _masked(msgspec.to_builtins(spec))
    source = msgspec.json.format(msgspec.json.encode(known), indent=2).decode() if spec is not None else ""
    return Description(name=view.name, kind="workload", sections=_filled(sections), source=source)


def _spec_sections(spec: WorkloadSpec | None) -> list[Section]:
    if spec is None:
        return []
    probes = {"startup": spec.probes.startup, "readiness": spec.probes.readiness, "liveness": spec.probes.liveness}
    return [
        _section(
            "Program",
            {
                "Command": " ".join(spec.command),
                "Directory": spec.cwd,
                "Routes": ", ".join(spec.routes),
                "Engine": spec.engine if spec.engine != "none" else None,
                "Model": spec.model_alias,
                "Stop grace": f"{spec.stop_grace_s:g} s",
                "Drain deadline": f"{spec.drain_deadline_s:g} s",
            },
        ),
        ("Environment", tuple(f"{name}={MASK}" for name in sorted(spec.env))),
        ("Declared probes", tuple(_declared(name, probe) for name, probe in probes.items() if probe is not None)),
    ]


def _section(title: str, values: Mapping[str, object]) -> Section:
    """A line for each value that there is."""
    shown = {name: value for name, value in values.items() if value not in (None, "", ())}
    width = max((len(name) for name in shown), default=0) + 1
    return title, tuple(f"{f'{name}:':<{width}}  {value}" for name, value in shown.items())


def _filled(sections: Sequence[Section]) -> tuple[Section, ...]:
    return tuple(section for section in sections if section[1])


def _events(events: Sequence[EventRow]) -> Section:
    return "Events", tuple(f"{_at(row.ts)}  {row.severity}  {row.kind}  {row.message}" for row in events)


def _probe_line(name: str, ok: bool | None, detail: str) -> str:
    return f"{name}: {'not asked yet' if ok is None else 'passes' if ok else 'fails'}  {detail}".rstrip()


def _declared(name: str, probe: ProbeSpec) -> str:
    what = {"http": f"GET {probe.path}", "tcp": "connects", "command": " ".join(probe.command)}[probe.kind]
    return (
        f"{name}: {what} ({probe.port} port) every {probe.period_s:g} s, {probe.timeout_s:g} s at most, "
        f"fails after {probe.failure_threshold}"
    )


def _exit_lines(record: ExitRecord | None) -> tuple[str, ...]:
    if record is None:
        return ()
    how = f"signal {record.signal}" if record.signal else f"exit code {record.code}"
    how = "unknown" if record.signal is None and record.code is None else how
    return (f"{_at(record.ts)}  {record.reason}  {how}", *(f"  {line}" for line in record.last_lines))


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: dict.fromkeys(part, MASK) if name == "env" and isinstance(part, dict) else _masked(part)
            for name, part in value.items()
        }
    return value


def _at(ts: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ts))
