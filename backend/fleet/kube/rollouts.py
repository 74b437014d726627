"""How many replicas a workload object wants, and how its rollout stands, as `kubectl rollout status` judges. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from backend.fleet.kube.shapes import Condition, WorkloadObject


def wanted(kind: str, found: WorkloadObject) -> int:
    """Replicas that it wants now."""
    spec, status = found.spec, found.status
    if kind == "DaemonSet":
        return status.desired_number_scheduled or 0
    if kind == "Job":
        if spec.suspend or _condition(status.conditions, "Complete") or _condition(status.conditions, "Failed"):
            return 0
        at_once = 1 if spec.parallelism is None else spec.parallelism
        left = at_once if spec.completions is None else max(0, spec.completions - (status.succeeded or 0))
        return min(at_once, left)
    return 1 if spec.replicas is None else spec.replicas


def rollout_words(kind: str, found: WorkloadObject) -> str:
    """`2 of 5 updated`, `stuck: ...`; empty when none is under way."""
    status = found.status
    if kind == "Job":
        return _job(found)
    if found.metadata.generation is not None and (status.observed_generation or 0) < found.metadata.generation:
        return "waiting for the change to be seen"
    if kind == "Deployment":
        return _deployment(found)
    if kind == "StatefulSet":
        return _stateful_set(found)
    if kind == "DaemonSet":
        return _daemon_set(found)
    return ""


def _deployment(found: WorkloadObject) -> str:
    status, count = found.status, wanted("Deployment", found)
    progressing = next((c for c in status.conditions or () if c.type == "Progressing"), None)
    if progressing is not None and progressing.reason == "ProgressDeadlineExceeded":
        return "stuck: past its progress deadline"
    updated, available = status.updated_replicas or 0, status.available_replicas or 0
    words = ""
    if updated < count:
        words = f"{updated} of {count} updated"
    elif (status.replicas or 0) > updated:
        words = f"{(status.replicas or 0) - updated} old to end"
    elif available < updated:
        words = f"{available} of {updated} updated available"
    if found.spec.paused:
        return f"paused: {words}" if words else "paused"
    # A pod that dies long after a rollout makes no new one.
    done = progressing is not None and progressing.reason == "NewReplicaSetAvailable"
    return "" if done and words.endswith("available") else words


def _stateful_set(found: WorkloadObject) -> str:
    spec, status, count = found.spec, found.status, wanted("StatefulSet", found)
    strategy = spec.update_strategy
    if strategy is not None and strategy.type == "OnDelete":
        return ""
    if not status.update_revision or status.update_revision == status.current_revision:
        return ""
    updated = status.updated_replicas or 0
    partition = strategy.rolling_update.partition if strategy is not None and strategy.rolling_update else None
    goal = max(0, count - (partition or 0))
    if updated < goal:
        return f"{updated} of {goal} updated"
    return f"{status.ready_replicas or 0} of {count} ready" if (status.ready_replicas or 0) < count else ""


def _daemon_set(found: WorkloadObject) -> str:
    status, count = found.status, wanted("DaemonSet", found)
    if found.spec.update_strategy is not None and found.spec.update_strategy.type == "OnDelete":
        return ""
    updated = status.updated_number_scheduled or 0
    return f"{updated} of {count} updated" if updated < count else ""


def _job(found: WorkloadObject) -> str:
    status, spec = found.status, found.spec
    if (failed := _condition(status.conditions, "Failed")) is not None:
        return f"stuck: {failed.reason or 'Failed'}"
    if spec.suspend:
        return "suspended"
    if _condition(status.conditions, "Complete") is not None:
        return ""
    return f"{status.succeeded or 0} of {1 if spec.completions is None else spec.completions} completed"


def _condition(conditions: Sequence[Condition] | None, kind: str) -> Condition | None:
    return next((c for c in conditions or () if c.type == kind and c.status == "True"), None)
