"""The StatefulSet controller: pods with ordinals, made in order, removed and updated from the highest."""

from __future__ import annotations

from typing import Any

from tests.kube_emulator.budgets import leaving, ready
from tests.kube_emulator.events import Recorder
from tests.kube_emulator.pods import pod_of
from tests.kube_emulator.registry import Registry
from tests.kube_emulator.revisions import current_revision
from tests.kube_emulator.store import Object

_SOURCE = "statefulset-controller"
_HASH = "controller-revision-hash"


def _ordinal(pod: Object) -> int:
    return int(pod["metadata"]["name"].rpartition("-")[2])


def reconcile_stateful_set(registry: Registry, recorder: Recorder, namespace: str, name: str) -> None:
    owner = registry.get("StatefulSet", namespace, name)
    if "deletionTimestamp" in owner["metadata"]:
        return
    revision = current_revision(registry, "StatefulSet", owner)
    _step(registry, recorder, owner, revision)
    _status(registry, owner, revision)


def _step(registry: Registry, recorder: Recorder, owner: Object, revision: str) -> None:
    """Everything that may be done now; with OrderedReady one pod at a time."""
    namespace, wanted = owner["metadata"]["namespace"], owner["spec"]["replicas"]
    pods = {_ordinal(pod): pod for pod in registry.owned(owner["metadata"]["uid"], "Pod")}
    ordered = owner["spec"].get("podManagementPolicy", "OrderedReady") == "OrderedReady"
    for ordinal in range(wanted):
        pod = pods.get(ordinal)
        if pod is None:
            _make(registry, recorder, owner, ordinal, revision)
            if ordered:
                return
            continue
        if pod["status"].get("phase") in ("Failed", "Succeeded") and not leaving(pod):
            registry.delete("Pod", namespace, pod["metadata"]["name"])
            return
        if ordered and (leaving(pod) or not ready(pod)):
            if not leaving(pod) and _outdated(pod, revision) and _may_update(owner, ordinal):
                _remove(registry, recorder, owner, pod)  # a broken revision is replaced though it never became ready
            return
    for ordinal in sorted((ordinal for ordinal in pods if ordinal >= wanted), reverse=True):
        if leaving(pods[ordinal]):
            if ordered:
                return
            continue
        _remove(registry, recorder, owner, pods[ordinal])
        if ordered:
            return
    for ordinal in sorted((ordinal for ordinal in pods if ordinal < wanted), reverse=True):
        pod = pods[ordinal]
        if not _may_update(owner, ordinal):
            return
        if _outdated(pod, revision) and not leaving(pod):
            _remove(registry, recorder, owner, pod)
            return
        if leaving(pod) or not ready(pod):
            return


def _outdated(pod: Object, revision: str) -> bool:
    return bool((pod["metadata"].get("labels") or {}).get(_HASH) != revision)


def _may_update(owner: Object, ordinal: int) -> bool:
    strategy = owner["spec"].get("updateStrategy") or {}
    if strategy.get("type") != "RollingUpdate":
        return False
    return bool(ordinal >= (strategy.get("rollingUpdate") or {}).get("partition", 0))


def _make(registry: Registry, recorder: Recorder, owner: Object, ordinal: int, revision: str) -> None:
    name = f"{owner['metadata']['name']}-{ordinal}"
    labels = {
        _HASH: revision,
        "statefulset.kubernetes.io/pod-name": name,
        "apps.kubernetes.io/pod-index": str(ordinal),
    }
    pod = pod_of("StatefulSet", owner, owner["spec"]["template"], name=name)
    pod["metadata"]["labels"] |= labels
    pod["spec"] |= {"hostname": name, "subdomain": owner["spec"].get("serviceName", "")}
    registry.create("Pod", pod, namespace=owner["metadata"]["namespace"])
    message = f"create Pod {name} in StatefulSet {owner['metadata']['name']} successful"
    recorder.record("StatefulSet", owner, "SuccessfulCreate", message, source=_SOURCE)


def _remove(registry: Registry, recorder: Recorder, owner: Object, pod: Object) -> None:
    registry.delete("Pod", owner["metadata"]["namespace"], pod["metadata"]["name"])
    message = f"delete Pod {pod['metadata']['name']} in StatefulSet {owner['metadata']['name']} successful"
    recorder.record("StatefulSet", owner, "SuccessfulDelete", message, source=_SOURCE)


def _status(registry: Registry, owner: Object, revision: str) -> None:
    pods = registry.owned(owner["metadata"]["uid"], "Pod")
    updated = [pod for pod in pods if not _outdated(pod, revision) and not leaving(pod)]
    number_ready = sum(ready(pod) and not leaving(pod) for pod in pods)

    def change(obj: Object) -> None:
        before = obj["status"]
        done = len(updated) == len(pods) == obj["spec"]["replicas"] and number_ready == len(pods)
        current = revision if done else before.get("currentRevision", revision)
        old = [pod for pod in pods if (pod["metadata"].get("labels") or {}).get(_HASH) == current]
        status: dict[str, Any] = {
            "observedGeneration": obj["metadata"]["generation"],
            "replicas": len(pods),
            "availableReplicas": number_ready,
            "collisionCount": 0,
            "currentRevision": current,
            "updateRevision": revision,
        }
        numbers = {"readyReplicas": number_ready, "currentReplicas": len(old), "updatedReplicas": len(updated)}
        obj["status"] = status | {key: number for key, number in numbers.items() if number}

    registry.set_status("StatefulSet", owner["metadata"]["namespace"], owner["metadata"]["name"], change)
