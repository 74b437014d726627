"""The Job controller: pods until enough of them completed, or too many failed."""

from __future__ import annotations

from typing import Any

from tests.kube_emulator.budgets import ready
from tests.kube_emulator.defaults import timestamp
from tests.kube_emulator.events import Recorder
from tests.kube_emulator.pods import condition, is_active, pod_of
from tests.kube_emulator.registry import Registry
from tests.kube_emulator.store import Object

_SOURCE = "job-controller"


def reconcile_job(registry: Registry, recorder: Recorder, namespace: str, name: str) -> None:
    job = registry.get("Job", namespace, name)
    if "deletionTimestamp" in job["metadata"] or _ended(job):
        return
    pods = registry.owned(job["metadata"]["uid"], "Pod")
    active = [pod for pod in pods if is_active(pod)]
    succeeded = sum(pod["status"].get("phase") == "Succeeded" for pod in pods)
    failed = sum(pod["status"].get("phase") == "Failed" for pod in pods)
    spec = job["spec"]
    complete, broken = succeeded >= spec["completions"], failed > spec["backoffLimit"]
    wanted = (
        0 if complete or broken or spec.get("suspend") else min(spec["parallelism"], spec["completions"] - succeeded)
    )
    for _ in range(wanted - len(active)):
        made = registry.create("Pod", pod_of("Job", job, spec["template"]), namespace=namespace)
        recorder.record("Job", job, "SuccessfulCreate", f"Created pod: {made.key[1]}", source=_SOURCE)
    for pod in active[wanted:]:
        registry.delete("Pod", namespace, pod["metadata"]["name"])
    active = [pod for pod in registry.owned(job["metadata"]["uid"], "Pod") if is_active(pod)]

    def change(obj: Object) -> None:
        status: dict[str, Any] = obj["status"]
        status.setdefault("startTime", timestamp())
        numbers = {"active": len(active), "ready": sum(ready(pod) for pod in active)}
        for key, number in (numbers | {"succeeded": succeeded, "failed": failed}).items():
            status.pop(key, None)
            if number:
                status[key] = number
        conditions = status.setdefault("conditions", [])
        if complete:
            status["completionTime"] = timestamp()
            message = "Reached expected number of succeeded pods"
            condition(conditions, "Complete", True, timestamp(), reason="CompletionsReached", message=message)
        elif broken:
            message = "Job has reached the specified backoff limit"
            condition(conditions, "Failed", True, timestamp(), reason="BackoffLimitExceeded", message=message)

    registry.set_status("Job", namespace, name, change)
    if complete:
        recorder.record("Job", job, "Completed", "Job completed", source=_SOURCE)
    elif broken:
        message = "Job has reached the specified backoff limit"
        recorder.record("Job", job, "BackoffLimitExceeded", message, warning=True, source=_SOURCE)


def _ended(job: Object) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(entry["type"] in ("Complete", "Failed") and entry["status"] == "True" for entry in conditions)
