"""metrics.k8s.io: what pods and nodes use. Numbers are given by a test, measured of real processes, or made from names
so that they stay the same; owns no objects.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.kube_emulator.access import Account
from tests.kube_emulator.api import Api, encoded
from tests.kube_emulator.defaults import timestamp
from tests.kube_emulator.requests import Asked
from tests.kube_emulator.selectors import label_selector
from tests.kube_emulator.status import ApiError, method_not_allowed
from tests.kube_emulator.store import Object

Usage = tuple[int, int]
"""(millicores, bytes)."""


@dataclass
class Metrics:
    """Adds itself to `api`. `on` says whether there is a metrics server at all, `broken` that it does not answer."""

    api: Api
    on: bool = True
    broken: bool = False
    usage: dict[tuple[str, str], Usage] = field(default_factory=dict)
    """By (namespace, pod), or ("", node)."""
    measured: Callable[[Object], Usage | None] = lambda pod: None

    def __post_init__(self) -> None:
        self.api.groups["metrics.k8s.io"] = self.answer

    async def answer(self, request: web.BaseRequest, what: Asked, account: Account) -> web.StreamResponse:
        kind = what.kind
        assert kind is not None
        if self.broken:
            raise ApiError(503, "ServiceUnavailable", "the server is currently unable to handle the request")
        if what.verb not in ("get", "list"):
            raise method_not_allowed()
        of_pods = kind.kind == "PodMetrics"
        registry = self.api.registry
        table = "Pod" if of_pods else "Node"
        shown = self._pod if of_pods else self._node
        if what.verb == "get":
            found = shown(registry.get(table, what.namespace, what.name))
            if found is None:
                message = f'{kind.plural}.metrics.k8s.io "{what.name}" not found'
                raise ApiError(404, "NotFound", message, details={"name": what.name, "group": kind.group})
            return encoded(found | {"kind": kind.kind, "apiVersion": kind.api_version})
        match = label_selector(request.query.get("labelSelector", ""))
        items = [
            entry
            for obj in registry.all(table, what.namespace)
            if match is None or match(obj["metadata"].get("labels") or {})
            if (entry := shown(obj)) is not None
        ]
        head = {"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": {}}
        return encoded(head | {"items": items})

    def _pod(self, pod: Object) -> dict[str, Any] | None:
        """Null for pods that do not run: a metrics server does not know them."""
        if pod["status"].get("phase") != "Running":
            return None
        metadata = pod["metadata"]
        given = self.usage.get((metadata["namespace"], metadata["name"])) or self.measured(pod)
        containers = []
        for container in pod["spec"]["containers"]:
            usage = given or _made(metadata["name"] + container["name"])
            containers.append({"name": container["name"], "usage": _quantities(usage)})
        return self._about(metadata) | {"containers": containers}

    def _node(self, node: Object) -> dict[str, Any] | None:
        metadata = node["metadata"]
        usage = self.usage.get(("", metadata["name"])) or _made(metadata["name"])
        return self._about(metadata) | {"usage": _quantities(usage)}

    @staticmethod
    def _about(metadata: dict[str, Any]) -> dict[str, Any]:
        kept = {key: metadata[key] for key in ("name", "namespace", "labels") if key in metadata}
        return {
            "metadata": kept | {"creationTimestamp": timestamp()},
            "timestamp": timestamp(),
            "window": "15.0s",
        }


def _made(name: str) -> Usage:
    number = zlib.crc32(name.encode())
    return 5 + number % 400, (20 + number % 480) * 1024 * 1024


def _quantities(usage: Usage) -> dict[str, str]:
    return {"cpu": f"{usage[0] * 1_000_000}n", "memory": f"{usage[1] // 1024}Ki"}
