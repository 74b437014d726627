"""PodDisruptionBudgets: their status from the pods there are, and whether an eviction is within them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tests.kube_emulator.defaults import timestamp
from tests.kube_emulator.registry import Registry
from tests.kube_emulator.selectors import object_selector
from tests.kube_emulator.status import ApiError
from tests.kube_emulator.store import Object


def ready(pod: Mapping[str, Any]) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def leaving(pod: Mapping[str, Any]) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def share_of(value: int | str, total: int, *, up: bool) -> int:
    """An IntOrString: a number, or a percentage of `total`, rounded up or down."""
    if isinstance(value, int):
        return value
    exact = float(value.rstrip("%")) / 100 * total
    return math.ceil(exact) if up else math.floor(exact)


def compute(registry: Registry, budget: Object) -> dict[str, Any]:
    """Its status as the disruption controller would write it."""
    spec, namespace = budget["spec"], budget["metadata"]["namespace"]
    match = object_selector(spec.get("selector"))
    pods = [
        pod
        for pod in registry.all("Pod", namespace)
        if match(pod["metadata"].get("labels") or {}) and pod["status"].get("phase") not in ("Succeeded", "Failed")
    ]
    expected = _expected(registry, pods, namespace)
    if "maxUnavailable" in spec:
        desired = max(0, expected - share_of(spec["maxUnavailable"], expected, up=True))
    else:
        desired = share_of(spec.get("minAvailable", 1), expected, up=True)
    healthy = sum(ready(pod) and not leaving(pod) for pod in pods)
    allowed = max(0, healthy - desired) if expected else 0
    enough = allowed > 0
    return {
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "disruptionsAllowed": allowed,
        "expectedPods": expected,
        "observedGeneration": budget["metadata"].get("generation", 1),
        "conditions": [
            {
                "type": "DisruptionAllowed",
                "status": "True" if enough else "False",
                "reason": "SufficientPods" if enough else "InsufficientPods",
                "lastTransitionTime": timestamp(),
                "message": "",
                "observedGeneration": budget["metadata"].get("generation", 1),
            }
        ],
    }


def _expected(registry: Registry, pods: list[Object], namespace: str) -> int:
    """Replicas that the owners of these pods want; pods without an owner count as themselves."""
    owners: dict[str, int] = {}
    lonely = 0
    for pod in pods:
        owner = next((o for o in pod["metadata"].get("ownerReferences") or () if o.get("controller")), None)
        if owner is None or owner["kind"] not in ("ReplicaSet", "StatefulSet"):
            lonely += 1
            continue
        if owner["uid"] not in owners:
            try:
                wanted = registry.get(owner["kind"], namespace, owner["name"])["spec"].get("replicas", 1)
            except ApiError:
                wanted = 0
            owners[owner["uid"]] = wanted
    return lonely + sum(owners.values())


def refresh(registry: Registry, namespace: str) -> None:
    """Write the status of every budget of a namespace that has changed."""
    for budget in registry.all("PodDisruptionBudget", namespace):
        status = compute(registry, budget)
        before = dict(budget.get("status") or {})
        before.pop("disruptedPods", None)
        if _without_times(before) == _without_times(status):
            continue

        def change(obj: Object, status: dict[str, Any] = status) -> None:
            obj["status"] = status

        registry.set_status("PodDisruptionBudget", namespace, budget["metadata"]["name"], change)


def _without_times(status: Mapping[str, Any]) -> dict[str, Any]:
    conditions = [{k: v for k, v in c.items() if k != "lastTransitionTime"} for c in status.get("conditions") or ()]
    return {**status, "conditions": conditions}


def allow_eviction(registry: Registry, pod: Object) -> None:
    """Takes one disruption from the budget over this pod. Raises ApiError 429 or 500."""
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    if pod["status"].get("phase") in ("Pending", "Succeeded", "Failed") or leaving(pod):
        return
    labels = pod["metadata"].get("labels") or {}
    over = [
        budget
        for budget in registry.all("PodDisruptionBudget", namespace)
        if object_selector(budget["spec"].get("selector"))(labels)
    ]
    if not over:
        return
    if len(over) > 1:
        message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        raise ApiError(500, "InternalError", message)
    budget = over[0]
    status, budget_name = budget.get("status") or {}, budget["metadata"]["name"]
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 1):
        raise _refused(f"The disruption budget {budget_name} is still being processed by the server.", retry_after_s=10)
    policy = budget["spec"].get("unhealthyPodEvictionPolicy", "IfHealthyBudget")
    enough = status["currentHealthy"] >= status["desiredHealthy"] and status["desiredHealthy"] > 0
    if not ready(pod) and (policy == "AlwaysAllow" or enough):
        return
    if status["disruptionsAllowed"] <= 0:
        raise _refused(
            f"The disruption budget {budget_name} needs {status['desiredHealthy']} healthy pods and has "
            f"{status['currentHealthy']} currently"
        )

    def take_one(obj: Object) -> None:
        obj["status"]["disruptionsAllowed"] -= 1
        obj["status"].setdefault("disruptedPods", {})[name] = timestamp()

    registry.set_status("PodDisruptionBudget", namespace, budget_name, take_one)


def _refused(cause: str, *, retry_after_s: int = 0) -> ApiError:
    return ApiError(
        429,
        "TooManyRequests",
        "Cannot evict pod as it would violate the pod's disruption budget.",
        details={"causes": [{"reason": "DisruptionBudget", "message": cause}]},
        retry_after_s=retry_after_s,
    )
