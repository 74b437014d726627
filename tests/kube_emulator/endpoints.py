"""EndpointSlices and Endpoints of the services of a namespace."""

from __future__ import annotations

import copy
from typing import Any

from tests.kube_emulator.budgets import leaving, ready
from tests.kube_emulator.pods import owner_reference
from tests.kube_emulator.registry import Registry
from tests.kube_emulator.selectors import object_selector
from tests.kube_emulator.status import ApiError
from tests.kube_emulator.store import Object


def refresh(registry: Registry, namespace: str) -> None:
    """Bring them up to date; unchanged ones keep their versions."""
    services = registry.all("Service", namespace)
    if not services:
        return
    pods = [
        pod
        for pod in registry.all("Pod", namespace)
        if pod["status"].get("podIP") and pod["status"].get("phase") not in ("Succeeded", "Failed")
    ]
    for service in services:
        selector = service["spec"].get("selector")
        if not selector:
            continue
        match = object_selector({"matchLabels": selector})
        behind = [pod for pod in pods if match(pod["metadata"].get("labels") or {})]
        _put(registry, "EndpointSlice", namespace, _slice(service, behind))
        _put(registry, "Endpoints", namespace, _endpoints(service, behind))


def _put(registry: Registry, kind: str, namespace: str, wanted: Object) -> None:
    name = wanted["metadata"]["name"]

    def change(obj: Object) -> Object:
        return copy.deepcopy(wanted) | {"metadata": obj["metadata"]}

    try:
        registry.update(kind, namespace, name, change)
    except ApiError as error:
        if error.code != 404:
            raise
        registry.create(kind, wanted, namespace=namespace)


def _ports(service: Object, behind: list[Object]) -> list[dict[str, Any]]:
    shown = []
    for port in service["spec"].get("ports") or ():
        target = port.get("targetPort", port["port"])
        if isinstance(target, str):
            target = _named(target, behind)
        entry: dict[str, Any] = {"port": target, "protocol": port.get("protocol", "TCP"), "name": port.get("name", "")}
        if target is not None:
            shown.append(entry)
    return shown


def _named(name: str, behind: list[Object]) -> int | None:
    for pod in behind:
        for container in pod["spec"]["containers"]:
            for port in container.get("ports") or ():
                if port.get("name") == name:
                    return int(port["containerPort"])
    return None


def _reference(pod: Object) -> dict[str, str]:
    metadata = pod["metadata"]
    return {"kind": "Pod", "name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]}


def _slice(service: Object, behind: list[Object]) -> Object:
    name = service["metadata"]["name"]
    return {
        "metadata": {
            "name": f"{name}-{service['metadata']['uid'][:5]}",
            "labels": {
                "kubernetes.io/service-name": name,
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            },
            "ownerReferences": [owner_reference("Service", service)],
        },
        "addressType": "IPv4",
        "ports": _ports(service, behind),
        "endpoints": [
            {
                "addresses": [pod["status"]["podIP"]],
                "conditions": {
                    "ready": ready(pod) and not leaving(pod),
                    "serving": ready(pod),
                    "terminating": leaving(pod),
                },
                "nodeName": pod["spec"].get("nodeName", ""),
                "targetRef": _reference(pod),
            }
            for pod in behind
        ],
    }


def _endpoints(service: Object, behind: list[Object]) -> Object:
    def addresses(wanted: bool) -> list[dict[str, Any]]:
        return [
            {"ip": pod["status"]["podIP"], "nodeName": pod["spec"].get("nodeName", ""), "targetRef": _reference(pod)}
            for pod in behind
            if (ready(pod) and not leaving(pod)) is wanted
        ]

    subset: dict[str, Any] = {"ports": _ports(service, behind)}
    if addresses(True):
        subset["addresses"] = addresses(True)
    if addresses(False):
        subset["notReadyAddresses"] = addresses(False)
    return {"metadata": {"name": service["metadata"]["name"]}, "subsets": [subset] if len(subset) > 1 else []}
