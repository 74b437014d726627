"""The DaemonSet controller: a pod on every node, cordoned ones too."""

from __future__ import annotations

from tests.kube_emulator.budgets import leaving, ready, share_of
from tests.kube_emulator.events import Recorder
from tests.kube_emulator.pods import pod_of
from tests.kube_emulator.registry import Registry
from tests.kube_emulator.revisions import current_revision
from tests.kube_emulator.store import Object

_SOURCE = "daemonset-controller"
_HASH = "controller-revision-hash"


def reconcile_daemon_set(registry: Registry, recorder: Recorder, namespace: str, name: str) -> None:
    owner = registry.get("DaemonSet", namespace, name)
    if "deletionTimestamp" in owner["metadata"]:
        return
    revision = current_revision(registry, "DaemonSet", owner).removeprefix(f"{name}-")
    nodes = {node["metadata"]["name"] for node in registry.all("Node")}
    pods = registry.owned(owner["metadata"]["uid"], "Pod")
    for pod in pods:
        ended = pod["status"].get("phase") in ("Failed", "Succeeded")
        if (ended or pod["spec"].get("nodeName") not in nodes) and not leaving(pod):
            registry.delete("Pod", namespace, pod["metadata"]["name"])
    covered = {pod["spec"].get("nodeName") for pod in pods}
    for node in sorted(nodes - covered):
        pod = pod_of("DaemonSet", owner, owner["spec"]["template"], controller_revision_hash=revision)
        pod["spec"]["nodeName"] = node
        made = registry.create("Pod", pod, namespace=namespace)
        recorder.record("DaemonSet", owner, "SuccessfulCreate", f"Created pod: {made.key[1]}", source=_SOURCE)
    _update(registry, recorder, owner, revision)
    _status(registry, owner, revision, nodes)


def _outdated(pod: Object, revision: str) -> bool:
    return bool((pod["metadata"].get("labels") or {}).get(_HASH) != revision)


def _update(registry: Registry, recorder: Recorder, owner: Object, revision: str) -> None:
    strategy = owner["spec"].get("updateStrategy") or {}
    if strategy.get("type") != "RollingUpdate":
        return
    pods = registry.owned(owner["metadata"]["uid"], "Pod")
    most = share_of((strategy.get("rollingUpdate") or {}).get("maxUnavailable", 1), len(pods), up=True)
    away = sum(leaving(pod) or not ready(pod) for pod in pods)
    for pod in pods:
        if not _outdated(pod, revision) or leaving(pod):
            continue
        if ready(pod):
            if away >= most:
                continue
            away += 1
        registry.delete("Pod", owner["metadata"]["namespace"], pod["metadata"]["name"])
        message = f"Deleted pod: {pod['metadata']['name']}"
        recorder.record("DaemonSet", owner, "SuccessfulDelete", message, source=_SOURCE)


def _status(registry: Registry, owner: Object, revision: str, nodes: set[str]) -> None:
    pods = [pod for pod in registry.owned(owner["metadata"]["uid"], "Pod") if not leaving(pod)]
    number_ready = sum(ready(pod) for pod in pods)

    def change(obj: Object) -> None:
        obj["status"] = {
            "currentNumberScheduled": len(pods),
            "desiredNumberScheduled": len(nodes),
            "numberMisscheduled": 0,
            "numberReady": number_ready,
            "numberAvailable": number_ready,
            "numberUnavailable": len(nodes) - number_ready,
            "updatedNumberScheduled": sum(not _outdated(pod, revision) for pod in pods),
            "observedGeneration": obj["metadata"]["generation"],
        }

    registry.set_status("DaemonSet", owner["metadata"]["namespace"], owner["metadata"]["name"], change)
