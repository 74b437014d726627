"""Containers as the workloads of a fleet: who belongs together, how many of them are wanted. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from backend.contract.fleet import WorkloadSpec
from backend.contract.platform import PlatformWorkload
from backend.fleet.docker_engine.labels import ROLE, release_of
from backend.fleet.docker_engine.roster import Container, at_rest

_MAX_REPLICAS: Final = 64
_GRACE_S: Final = 10.0


def group_workloads(containers: Sequence[Container]) -> list[PlatformWorkload]:
    """One for each group of containers, in their order."""
    groups: dict[str, list[Container]] = {}
    for container in containers:
        groups.setdefault(container.member.workload, []).append(container)
    return [_workload(name, group) for name, group in groups.items()]


def _workload(name: str, group: list[Container]) -> PlatformWorkload:
    pattern = max(group, key=lambda container: container.facts.created_ts).facts
    replicas = sum(1 for container in group if not at_rest(container))
    member = group[0].member
    spec = WorkloadSpec(
        name=name,
        command=pattern.command,
        replicas=replicas,
        routes=(),
        kind=member.kind,
        memory_limit_bytes=pattern.memory_limit_bytes,
        stop_grace_s=_GRACE_S if pattern.stop_grace_s is None else pattern.stop_grace_s,
        max_replicas=max(_MAX_REPLICAS, replicas),
        role=pattern.labels.get(ROLE, ""),
        release=release_of(pattern.labels),
        revision=pattern.image_id.removeprefix("sha256:")[:12],
    )
    scalable = member.grouped and member.kind != "service"
    return PlatformWorkload(spec=spec, kind=member.kind, scalable=scalable)
