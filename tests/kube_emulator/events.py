"""Events as components record them: the same one again raises its count. Writes Event objects only."""

from __future__ import annotations

import time
from typing import Any

from tests.kube_emulator.defaults import timestamp
from tests.kube_emulator.kinds import kind_of
from tests.kube_emulator.registry import Registry
from tests.kube_emulator.status import ApiError
from tests.kube_emulator.store import Object


class Recorder:
    """Of all components of the emulated cluster."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._names: dict[tuple[str, str, str], str] = {}

    def record(
        self, kind: str, obj: Object, reason: str, message: str, *, warning: bool = False, source: str = "kubelet"
    ) -> None:
        """`obj` is what it is about. Nothing is recorded in a namespace that goes."""
        metadata = obj["metadata"]
        namespace = metadata.get("namespace") or "default"
        key = (metadata["uid"], reason, message)
        known = self._names.get(key)
        if known is not None and self._again(namespace, known):
            return
        name = f"{metadata['name']}.{time.time_ns():x}"
        about: dict[str, Any] = {
            "kind": kind,
            "apiVersion": kind_of(kind).api_version,
            "name": metadata["name"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        }
        if "namespace" in metadata:
            about["namespace"] = namespace
        event = {
            "metadata": {"name": name},
            "involvedObject": about,
            "reason": reason,
            "message": message,
            "type": "Warning" if warning else "Normal",
            "count": 1,
            "firstTimestamp": timestamp(),
            "lastTimestamp": timestamp(),
            "source": {"component": source},
            "reportingComponent": source,
            "reportingInstance": "",
        }
        try:
            self._registry.create("Event", event, namespace=namespace)
        except ApiError:
            return
        self._names[key] = name

    def _again(self, namespace: str, name: str) -> bool:
        def change(event: Object) -> Object:
            event["count"] += 1
            event["lastTimestamp"] = timestamp()
            return event

        try:
            self._registry.update("Event", namespace, name, change)
        except ApiError:
            return False
        return True
