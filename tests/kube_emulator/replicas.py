"""The ReplicaSet controller: as many pods as wanted."""

from __future__ import annotations

from typing import Any

from tests.kube_emulator.budgets import ready
from tests.kube_emulator.events import Recorder
from tests.kube_emulator.pods import is_active, pod_of
from tests.kube_emulator.registry import Registry
from tests.kube_emulator.store import Object

_SOURCE = "replicaset-controller"


def deletion_rank(pod: Object) -> tuple[Any, ...]:
    """Pods that go first sort first: without a node, not running, not ready, the youngest."""
    version = int(pod["metadata"]["resourceVersion"])
    return (
        bool(pod["spec"].get("nodeName")),
        pod["status"].get("phase") == "Running",
        ready(pod),
        -_born(pod),
        -version,
    )


def _born(pod: Object) -> int:
    digits = "".join(char for char in pod["metadata"]["creationTimestamp"] if char.isdigit())
    return int(digits)


def reconcile_replica_set(registry: Registry, recorder: Recorder, namespace: str, name: str) -> None:
    owner = registry.get("ReplicaSet", namespace, name)
    pods = [pod for pod in registry.owned(owner["metadata"]["uid"], "Pod") if is_active(pod)]
    wanted = owner["spec"].get("replicas", 1)
    if "deletionTimestamp" in owner["metadata"]:
        return
    for _ in range(wanted - len(pods)):
        made = registry.create("Pod", pod_of("ReplicaSet", owner, owner["spec"]["template"]), namespace=namespace)
        message = f"Created pod: {made.key[1]}"
        recorder.record("ReplicaSet", owner, "SuccessfulCreate", message, source=_SOURCE)
    for pod in sorted(pods, key=deletion_rank)[: max(0, len(pods) - wanted)]:
        registry.delete("Pod", namespace, pod["metadata"]["name"])
        message = f"Deleted pod: {pod['metadata']['name']}"
        recorder.record("ReplicaSet", owner, "SuccessfulDelete", message, source=_SOURCE)
    pods = [pod for pod in registry.owned(owner["metadata"]["uid"], "Pod") if is_active(pod)]
    number_ready = sum(ready(pod) for pod in pods)
    status: dict[str, Any] = {"replicas": len(pods), "observedGeneration": owner["metadata"].get("generation", 1)}
    numbers = {
        "fullyLabeledReplicas": len(pods),
        "readyReplicas": number_ready,
        "availableReplicas": number_ready,
    }
    status |= {key: number for key, number in numbers.items() if number}

    def change(obj: Object) -> None:
        obj["status"] = status

    registry.set_status("ReplicaSet", namespace, name, change)
