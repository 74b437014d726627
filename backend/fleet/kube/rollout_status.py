"""How far a rollout is, in the words of `kubectl rollout status`, and why the replicas that hold it up do not come.

Pure functions over API objects.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from backend.fleet.kube.objects import Object, name_of, number, objects, part, text

ROLLING_KINDS = ("Deployment", "StatefulSet", "DaemonSet")


class RolloutStatus(msgspec.Struct, frozen=True):
    """One look at a rollout."""

    message: str
    done: bool = False
    failed: bool = False
    """The platform gave up (its progress deadline passed)."""


def refusal(kind: str, obj: Object) -> str:
    """Why a new template replaces no replica of it by itself; empty where it does."""
    name = name_of(obj)
    if kind not in ROLLING_KINDS:
        return f"{kind} {name} has no rollouts: its pods are not replaced in turn."
    if part(obj, "spec", "paused") is True:
        return f"The rollout of {kind} {name} is paused."
    if kind != "Deployment" and (strategy := text(obj, "spec", "updateStrategy", "type")) not in ("", "RollingUpdate"):
        return f"{kind} {name} replaces pods only when they are deleted (updateStrategy {strategy})."
    return ""


def status_of(kind: str, obj: Object) -> RolloutStatus:
    """How far it is. `kind` is Deployment, StatefulSet or DaemonSet."""
    if kind == "Deployment":
        return _deployment(obj)
    return _stateful_set(obj) if kind == "StatefulSet" else _daemon_set(obj)


def _observed(obj: Object) -> bool:
    return number(obj, "metadata", "generation") <= number(obj, "status", "observedGeneration")


def _deployment(obj: Object) -> RolloutStatus:
    name = name_of(obj)
    if not _observed(obj):
        return RolloutStatus("Waiting for deployment spec update to be observed...")
    for condition in objects(obj, "status", "conditions"):
        if condition.get("type") == "Progressing" and condition.get("reason") == "ProgressDeadlineExceeded":
            return RolloutStatus(f'deployment "{name}" exceeded its progress deadline', failed=True)
    wanted = number(obj, "spec", "replicas", default=1)
    updated, replicas = number(obj, "status", "updatedReplicas"), number(obj, "status", "replicas")
    available = number(obj, "status", "availableReplicas")
    waiting = f'Waiting for deployment "{name}" rollout to finish: '
    if updated < wanted:
        return RolloutStatus(f"{waiting}{updated} out of {wanted} new replicas have been updated...")
    if replicas > updated:
        return RolloutStatus(f"{waiting}{replicas - updated} old replicas are pending termination...")
    if available < updated:
        return RolloutStatus(f"{waiting}{available} of {updated} updated replicas are available...")
    return RolloutStatus(f'deployment "{name}" successfully rolled out', done=True)


def _daemon_set(obj: Object) -> RolloutStatus:
    name = name_of(obj)
    if not _observed(obj):
        return RolloutStatus("Waiting for daemon set spec update to be observed...")
    wanted = number(obj, "status", "desiredNumberScheduled")
    updated, available = number(obj, "status", "updatedNumberScheduled"), number(obj, "status", "numberAvailable")
    waiting = f'Waiting for daemon set "{name}" rollout to finish: '
    if updated < wanted:
        return RolloutStatus(f"{waiting}{updated} out of {wanted} new pods have been updated...")
    if available < wanted:
        return RolloutStatus(f"{waiting}{available} of {wanted} updated pods are available...")
    return RolloutStatus(f'daemon set "{name}" successfully rolled out', done=True)


def _stateful_set(obj: Object) -> RolloutStatus:
    if number(obj, "status", "observedGeneration") == 0 or not _observed(obj):
        return RolloutStatus("Waiting for statefulset spec update to be observed...")
    wanted = number(obj, "spec", "replicas", default=1)
    ready, updated = number(obj, "status", "readyReplicas"), number(obj, "status", "updatedReplicas")
    if ready < wanted:
        return RolloutStatus(f"Waiting for {wanted - ready} pods to be ready...")
    partition = number(obj, "spec", "updateStrategy", "rollingUpdate", "partition")
    if partition:
        if updated < wanted - partition:
            words = f"{updated} out of {wanted - partition} new pods have been updated..."
            return RolloutStatus(f"Waiting for partitioned roll out to finish: {words}")
        return RolloutStatus(f"partitioned roll out complete: {updated} new pods have been updated...", done=True)
    revision = text(obj, "status", "updateRevision")
    if revision != text(obj, "status", "currentRevision"):
        return RolloutStatus(
            f"waiting for statefulset rolling update to complete {updated} pods at revision {revision}..."
        )
    current = number(obj, "status", "currentReplicas")
    return RolloutStatus(f"statefulset rolling update complete {current} pods at revision {revision}...", done=True)


def pod_trouble(pod: Object) -> str:
    """Why a pod is not Ready: `web-1: container app: ImagePullBackOff (Back-off pulling image "x")`; empty for none."""
    name = name_of(pod)
    statuses = [*objects(pod, "status", "initContainerStatuses"), *objects(pod, "status", "containerStatuses")]
    for status in statuses:
        why = _container_trouble(status)
        if why:
            return f"{name}: container {text(status, 'name')}: {why}"
    if phase := text(pod, "status", "reason"):
        return f"{name}: {phase}{_detail(text(pod, 'status', 'message'))}"
    for condition in objects(pod, "status", "conditions"):
        kind, holds = condition.get("type"), condition.get("status") == "True"
        if kind == "PodScheduled" and not holds:
            return f"{name}: {text(condition, 'reason') or 'not scheduled'}{_detail(text(condition, 'message'))}"
    for condition in objects(pod, "status", "conditions"):
        if condition.get("type") == "Ready" and condition.get("status") != "True":
            return f"{name}: {text(condition, 'reason') or 'not ready'}{_detail(text(condition, 'message'))}"
    return ""


def _container_trouble(status: Object) -> str:
    waiting, ended = part(status, "state", "waiting"), part(status, "state", "terminated")
    last = part(status, "lastState", "terminated")
    if waiting is not None and (reason := text(waiting, "reason")) not in ("", "ContainerCreating", "PodInitializing"):
        cause = f"; it last ended with {exit_words(last)}" if last is not None else ""
        return f"{reason}{_detail(text(waiting, 'message'))}{cause}"
    if ended is not None and number(ended, "exitCode") != 0:
        return f"ended with {exit_words(ended)}"
    return ""


def exit_words(ended: object) -> str:
    """`OOMKilled, exit code 137`."""
    reason = text(ended, "reason")
    signal = number(ended, "signal")
    how = f"signal {signal}" if signal else f"exit code {text(ended, 'exitCode') or '?'}"
    return f"{reason}, {how}" if reason else how


def worst_of(pods: Sequence[Object]) -> str:
    """What the newest pods that are not Ready suffer from, at most three of them."""
    newest = sorted(pods, key=lambda pod: text(pod, "metadata", "creationTimestamp"), reverse=True)
    found = [why for pod in newest if (why := pod_trouble(pod))]
    return "; ".join(found[:3]) + (f"; and {len(found) - 3} more" if len(found) > 3 else "")


def _detail(message: str) -> str:
    return f" ({' '.join(message.split())})" if message else ""
