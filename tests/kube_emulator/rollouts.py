"""The Deployment controller: revisions as ReplicaSets, rolling updates within maxSurge and maxUnavailable, progress."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.kube_emulator.budgets import share_of
from tests.kube_emulator.defaults import timestamp
from tests.kube_emulator.events import Recorder
from tests.kube_emulator.pods import condition, owner_reference, stripped, template_hash
from tests.kube_emulator.registry import Registry
from tests.kube_emulator.status import ApiError
from tests.kube_emulator.store import Object

REVISION = "deployment.kubernetes.io/revision"
_SOURCE = "deployment-controller"


def revision_of(obj: Object) -> int:
    return int((obj["metadata"].get("annotations") or {}).get(REVISION, 0))


def _want(replica_set: Object) -> int:
    return int(replica_set["spec"].get("replicas", 0))


def _available(replica_set: Object) -> int:
    return int((replica_set.get("status") or {}).get("availableReplicas", 0))


class Rollouts:
    """All deployments. `later(seconds, kind, namespace, name)` asks to be called again; `speed` is deadlines' own."""

    def __init__(
        self,
        registry: Registry,
        recorder: Recorder,
        speed: float,
        later: Callable[[float, str, str, str], None],
    ) -> None:
        self._registry = registry
        self._recorder = recorder
        self._speed = speed
        self._later = later
        self._progress: dict[str, tuple[Any, float]] = {}
        """uid -> (what it looked like, when it last got on)."""

    def reconcile(self, namespace: str, name: str) -> None:
        deployment = self._registry.get("Deployment", namespace, name)
        if "deletionTimestamp" in deployment["metadata"]:
            return
        owned = self._registry.owned(deployment["metadata"]["uid"], "ReplicaSet")
        wanted = stripped(deployment["spec"]["template"])
        new = next((rs for rs in owned if stripped(rs["spec"]["template"]) == wanted), None)
        if deployment["spec"].get("paused"):
            active = new or max(owned, key=revision_of, default=None)
            if active is not None and sum(_want(rs) > 0 for rs in owned) <= 1:
                self._scale(deployment, active, deployment["spec"]["replicas"])
        else:
            new = self._newest(deployment, owned, new)
            old = [rs for rs in owned if rs["metadata"]["uid"] != new["metadata"]["uid"]]
            if deployment["spec"]["strategy"]["type"] == "Recreate":
                self._recreate(deployment, new, old)
            else:
                self._roll(deployment, new, old)
            self._prune(deployment, old)
        self._status(namespace, name)

    def _newest(self, deployment: Object, owned: list[Object], new: Object | None) -> Object:
        """The ReplicaSet of the present template, made if need be, with the highest revision."""
        namespace = deployment["metadata"]["namespace"]
        highest = max((revision_of(rs) for rs in owned), default=0)
        if new is None:
            new = self._make(deployment, highest + 1)
        elif revision_of(new) < highest:
            new = self._annotate("ReplicaSet", new, highest + 1)
        if revision_of(deployment) != revision_of(new):
            self._annotate("Deployment", deployment, revision_of(new))
        return self._registry.get("ReplicaSet", namespace, new["metadata"]["name"])

    def _make(self, deployment: Object, revision: int) -> Object:
        namespace, template = deployment["metadata"]["namespace"], stripped(deployment["spec"]["template"])
        stamp = template_hash(template)
        template["metadata"].setdefault("labels", {})["pod-template-hash"] = stamp
        selector = dict(deployment["spec"]["selector"])
        selector["matchLabels"] = dict(selector.get("matchLabels") or {}) | {"pod-template-hash": stamp}
        made = {
            "metadata": {
                "name": f"{deployment['metadata']['name']}-{stamp}",
                "labels": dict(template["metadata"]["labels"]),
                "annotations": {
                    REVISION: str(revision),
                    "deployment.kubernetes.io/desired-replicas": str(deployment["spec"]["replicas"]),
                },
                "ownerReferences": [owner_reference("Deployment", deployment)],
            },
            "spec": {"replicas": 0, "selector": selector, "template": template},
        }
        return self._registry.create("ReplicaSet", made, namespace=namespace).obj

    def _annotate(self, kind: str, obj: Object, revision: int) -> Object:
        def change(target: Object) -> Object:
            target["metadata"].setdefault("annotations", {})[REVISION] = str(revision)
            return target

        metadata = obj["metadata"]
        return self._registry.update(kind, metadata["namespace"], metadata["name"], change).obj

    def _scale(self, deployment: Object, replica_set: Object, replicas: int) -> None:
        before = _want(replica_set)
        if before == replicas:
            return

        def change(obj: Object) -> Object:
            obj["spec"]["replicas"] = replicas
            return obj

        metadata = replica_set["metadata"]
        self._registry.update("ReplicaSet", metadata["namespace"], metadata["name"], change)
        direction = "up" if replicas > before else "down"
        message = f"Scaled {direction} replica set {metadata['name']} from {before} to {replicas}"
        self._recorder.record("Deployment", deployment, "ScalingReplicaSet", message, source=_SOURCE)

    def _recreate(self, deployment: Object, new: Object, old: list[Object]) -> None:
        for rs in old:
            self._scale(deployment, rs, 0)
        if not any(self._registry.owned(rs["metadata"]["uid"], "Pod") for rs in old):
            self._scale(deployment, new, deployment["spec"]["replicas"])

    def _roll(self, deployment: Object, new: Object, old: list[Object]) -> None:
        desired = deployment["spec"]["replicas"]
        rolling = deployment["spec"]["strategy"].get("rollingUpdate") or {}
        surge = share_of(rolling.get("maxSurge", "25%"), desired, up=True)
        unavailable = share_of(rolling.get("maxUnavailable", "25%"), desired, up=False)
        if surge == 0 and unavailable == 0:
            unavailable = 1
        total = _want(new) + sum(_want(rs) for rs in old)
        if _want(new) > desired:
            self._scale(deployment, new, desired)
            return
        room = desired + surge - total
        if _want(new) < desired and room > 0:
            self._scale(deployment, new, min(_want(new) + room, desired))
            return
        self._shrink(deployment, new, old, desired - unavailable)

    def _shrink(self, deployment: Object, new: Object, old: list[Object], least: int) -> None:
        """Take from old ReplicaSets what may go: unhealthy pods first, then as far as enough stay available."""
        total = _want(new) + sum(_want(rs) for rs in old)
        may_go = total - least - (_want(new) - _available(new))
        wants = {rs["metadata"]["name"]: _want(rs) for rs in old}
        for rs in sorted(old, key=revision_of):
            broken = min(max(0, _want(rs) - _available(rs)), max(0, may_go))
            wants[rs["metadata"]["name"]] -= broken
            may_go -= broken
        spare = min(may_go, _available(new) + sum(_available(rs) for rs in old) - least)
        for rs in sorted(old, key=revision_of):
            step = min(wants[rs["metadata"]["name"]], max(0, spare))
            wants[rs["metadata"]["name"]] -= step
            spare -= step
        for rs in old:
            self._scale(deployment, rs, wants[rs["metadata"]["name"]])

    def _prune(self, deployment: Object, old: list[Object]) -> None:
        kept = deployment["spec"].get("revisionHistoryLimit", 10)
        empty = [rs for rs in old if _want(rs) == 0 and not (rs.get("status") or {}).get("replicas")]
        for rs in sorted(empty, key=revision_of)[: max(0, len(empty) - kept)]:
            self._registry.delete("ReplicaSet", rs["metadata"]["namespace"], rs["metadata"]["name"])

    def _status(self, namespace: str, name: str) -> None:
        deployment = self._registry.get("Deployment", namespace, name)
        owned = self._registry.owned(deployment["metadata"]["uid"], "ReplicaSet")
        wanted = stripped(deployment["spec"]["template"])
        new = next((rs for rs in owned if stripped(rs["spec"]["template"]) == wanted), None)
        desired = deployment["spec"]["replicas"]

        def total(key: str, some: list[Object]) -> int:
            return sum((rs.get("status") or {}).get(key, 0) for rs in some)

        replicas, available = total("replicas", owned), total("availableReplicas", owned)
        updated = total("replicas", [new] if new is not None else [])
        numbers = {
            "replicas": replicas,
            "updatedReplicas": updated,
            "readyReplicas": total("readyReplicas", owned),
            "availableReplicas": available,
            "unavailableReplicas": max(0, sum(_want(rs) for rs in owned) - available),
        }
        complete = updated == desired == replicas == available
        now, uid = time.monotonic(), deployment["metadata"]["uid"]
        look = (deployment["metadata"]["generation"], tuple(numbers.values()))
        seen, since = self._progress.get(uid, (None, now))
        if look != seen:
            since = now
            self._progress[uid] = (look, now)
        deadline = deployment["spec"].get("progressDeadlineSeconds", 600)
        late = not complete and (now - since) * self._speed >= deadline
        if not complete and not late:
            self._later(deadline / self._speed - (now - since) + 0.01, "Deployment", namespace, name)
        title = f'ReplicaSet "{new["metadata"]["name"]}"' if new is not None else f'Deployment "{name}"'

        def change(obj: Object) -> None:
            status = obj["status"]
            conditions = [dict(entry) for entry in status.get("conditions") or ()]
            for entry in conditions:
                entry.pop("lastUpdateTime", None)
            obj["status"] = {key: number for key, number in numbers.items() if number}
            obj["status"]["observedGeneration"] = obj["metadata"]["generation"]
            rolling = obj["spec"]["strategy"].get("rollingUpdate") or {}
            least = desired - share_of(rolling.get("maxUnavailable", 0), desired, up=False)
            enough = available >= least
            condition(
                conditions,
                "Available",
                enough,
                timestamp(),
                reason="MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
                message=f"Deployment {'has' if enough else 'does not have'} minimum availability.",
            )
            if late:
                words = ("False", "ProgressDeadlineExceeded", f"{title} has timed out progressing.")
            elif complete:
                words = ("True", "NewReplicaSetAvailable", f"{title} has successfully progressed.")
            else:
                words = ("True", "ReplicaSetUpdated", f"{title} is progressing.")
            condition(conditions, "Progressing", words[0], timestamp(), reason=words[1], message=words[2])
            for entry in conditions:
                entry["lastUpdateTime"] = entry["lastTransitionTime"]
            obj["status"]["conditions"] = conditions

        try:
            self._registry.set_status("Deployment", namespace, name, change)
        except ApiError as error:
            if error.code != 404:
                raise
