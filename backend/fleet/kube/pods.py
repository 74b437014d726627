"""A pod as a ReplicaStatus. Pure: pod, owner, measurements and probe failures in, one struct out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from backend.contract.fleet import ExitRecord, ProbeStatus, ReplicaStatus
from backend.contract.words import Phase
from backend.fleet.kube.exits import last_exit, number_of
from backend.fleet.kube.pod_phase import LIVENESS_FRESH_S, ProbeFailure, sidecars, standing
from backend.fleet.kube.quantities import quantity
from backend.fleet.kube.shapes import Container, ContainerStatus, Pod

_KILLED_WITHIN_S: Final = 90.0
"""A container that ends so soon after its liveness probe failed was ended for that: the grace of most is shorter."""
_NO_FAILURES: Final[Mapping[str, ProbeFailure]] = {}


class Usage(msgspec.Struct, frozen=True, gc=False):
    """What a pod was measured to use."""

    cpu_percent: float
    """Of one core."""
    memory_bytes: int


def replica_of(
    pod: Pod,
    *,
    fleet: str,
    workload: str,
    owner: str,
    port: int | None = None,
    usage: Usage | None = None,
    failing: Mapping[str, ProbeFailure] = _NO_FAILURES,
    now: float = 0.0,
) -> ReplicaStatus:
    """`port`: where its program is declared to listen; else its first container port. `failing`: see `standing`."""
    metadata, status = pod.metadata, pod.status
    stands = standing(pod, failing)
    main = _main(pod)
    name = main.name if main is not None else ""
    statuses = status.container_statuses or ()
    seen = next((s for s in statuses if s.name == name), None)
    runs = seen.state.running if seen is not None and seen.state is not None else None
    containers = pod.spec.containers or ()
    restarts, ready, beside = 0, 0, 0
    for found in statuses:
        restarts += found.restart_count or 0
        ready += bool(found.ready)
    if pod.spec.init_containers:
        names = {c.name for c in sidecars(pod)}
        beside = len(names)
        for found in status.init_container_statuses or ():
            if found.name in names:
                restarts += found.restart_count or 0
                ready += bool(found.ready)
    ended = last_exit(pod)
    if ended is not None and "liveness" in failing and _by_liveness(ended, failing["liveness"]):
        ended = msgspec.structs.replace(ended, reason="LivenessFailed")
    return ReplicaStatus(
        name=metadata.name,
        fleet=fleet,
        workload=workload,
        phase=stands.phase,
        revision=metadata.label("pod-template-hash") or metadata.label("controller-revision-hash"),
        reason=stands.reason,
        restarts=restarts,
        created_ts=metadata.created_ts,
        started_ts=runs.started_at.timestamp() if runs is not None and runs.started_at is not None else None,
        pid=number_of(seen.container_id) if seen is not None and runs is not None else None,
        host=status.pod_ip or "",
        port=port if port is not None else _first_port(main),
        cpu_percent=usage.cpu_percent if usage is not None else None,
        memory_bytes=usage.memory_bytes if usage is not None else None,
        memory_limit_bytes=memory_limit(containers),
        last_exit=ended,
        probes=_probes(main, seen, stands.phase, failing, now),
        next_start_ts=stands.next_start_ts,
        node=pod.spec.node_name or "",
        image=main.image if main is not None else "",
        owner=owner,
        containers=len(containers) + beside,
        containers_ready=ready,
    )


def _main(pod: Pod) -> Container | None:
    """The container that a pod is there for: the one it names as default, else the first."""
    containers = pod.spec.containers or ()
    named = pod.metadata.annotations.default_container if pod.metadata.annotations is not None else None
    if named:
        for container in containers:
            if container.name == named:
                return container
    return containers[0] if containers else None


def main_container(pod: Pod) -> str:
    """Its name; empty where it has none."""
    found = _main(pod)
    return found.name if found is not None else ""


def _first_port(container: Container | None) -> int | None:
    return container.ports[0].container_port or None if container is not None and container.ports else None


def memory_limit(containers: tuple[Container, ...]) -> int | None:
    """Of all containers together; None where one of them has none."""
    total = 0.0
    for container in containers:
        limits = container.resources.limits if container.resources is not None else None
        limit = quantity(limits.get("memory")) if limits else None
        if limit is None:
            return None
        total += limit
    return int(total) if containers else None


def _by_liveness(ended: ExitRecord, failure: ProbeFailure) -> bool:
    return ended.reason != "OOMKilled" and -5.0 <= ended.ts - failure.last_ts <= _KILLED_WITHIN_S


def _probes(
    main: Container | None,
    seen: ContainerStatus | None,
    phase: Phase,
    failing: Mapping[str, ProbeFailure],
    now: float,
) -> tuple[ProbeStatus, ...]:
    """Of its main container. The kubelet tells of failures by events only; what passed shows in the status."""
    if main is None:
        return ()
    made = []
    runs = seen is not None and seen.state is not None and seen.state.running is not None
    if main.startup_probe is not None:
        ok = bool(seen.started) if seen is not None and runs and seen.started is not None else None
        made.append(_probe("startup", ok, failing))
    if main.readiness_probe is not None:
        made.append(_probe("readiness", bool(seen.ready) if seen is not None and runs else None, failing))
    if main.liveness_probe is not None:
        failure = failing.get("liveness")
        fresh = failure is not None and now - failure.last_ts < LIVENESS_FRESH_S
        made.append(_probe("liveness", not fresh if runs and phase != Phase.STARTING else None, failing))
    return tuple(made)


def _probe(name: str, ok: bool | None, failing: Mapping[str, ProbeFailure]) -> ProbeStatus:
    failure = failing.get(name)
    if ok or failure is None:
        return ProbeStatus(name=name, ok=ok)  # type: ignore[arg-type]  # one of the three
    return ProbeStatus(
        name=name,  # type: ignore[arg-type]
        ok=False if ok is not None else None,
        detail=failure.detail,
        last_ts=failure.last_ts,
        failures=failure.count,
    )
