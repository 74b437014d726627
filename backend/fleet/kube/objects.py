"""Kubernetes objects as decoded JSON: read without trusting their shape, and where each kind is in the API.

Pure. Owns paths and careful reading; never asks the API anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

import msgspec

from backend.contract.errors import UsageError
from backend.fleet.kube.selector import selects as by_labels
from backend.fleet.kube.shapes import LabelSelector

Object = Mapping[str, Any]
"""A JSON object as it came."""

_KINDS: Final[dict[str, tuple[str, str, str]]] = {
    "Pod": ("", "v1", "pods"),
    "Node": ("", "v1", "nodes"),
    "Event": ("", "v1", "events"),
    "Deployment": ("apps", "v1", "deployments"),
    "StatefulSet": ("apps", "v1", "statefulsets"),
    "DaemonSet": ("apps", "v1", "daemonsets"),
    "ReplicaSet": ("apps", "v1", "replicasets"),
    "ControllerRevision": ("apps", "v1", "controllerrevisions"),
    "Job": ("batch", "v1", "jobs"),
    "CronJob": ("batch", "v1", "cronjobs"),
    "HorizontalPodAutoscaler": ("autoscaling", "v2", "horizontalpodautoscalers"),
    "PodDisruptionBudget": ("policy", "v1", "poddisruptionbudgets"),
    "ReplicationController": ("", "v1", "replicationcontrollers"),
}
_CLUSTER_WIDE: Final = frozenset({"Node"})


class Ref(msgspec.Struct, frozen=True):
    """One object: its kind, namespace (empty for nodes) and name."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def group_and_resource(kind: str) -> tuple[str, str]:
    """(`apps`, `deployments`). Raises UsageError for a kind that is none of ours."""
    group, _, resource = _known(kind)
    return group, resource


def api_version(kind: str) -> str:
    """`apps/v1`."""
    group, version, _ = _known(kind)
    return f"{group}/{version}" if group else version


def collection_path(kind: str, namespace: str = "") -> str:
    """Where objects of a kind are listed; without a namespace, in all of them."""
    group, version, resource = _known(kind)
    root = f"/apis/{group}/{version}" if group else f"/api/{version}"
    inside = f"/namespaces/{quote(namespace, safe='')}" if namespace and kind not in _CLUSTER_WIDE else ""
    return f"{root}{inside}/{resource}"


def path_of(ref: Ref, subresource: str = "") -> str:
    """Where one object is, or a subresource of it (`scale`, `eviction`, `log`, ...)."""
    path = f"{collection_path(ref.kind, ref.namespace)}/{quote(ref.name, safe='')}"
    return f"{path}/{subresource}" if subresource else path


def _known(kind: str) -> tuple[str, str, str]:
    try:
        return _KINDS[kind]
    except KeyError:
        raise UsageError(f"Objects of kind {kind} cannot be acted on.", "Use kubectl for them.") from None


def part(value: object, *keys: str | int) -> Any:
    """What is at that place, or None where the shape is another one."""
    for key in keys:
        if isinstance(key, str) and isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(key, int) and isinstance(value, list | tuple) and -len(value) <= key < len(value):
            value = value[key]
        else:
            return None
    return value


def text(value: object, *keys: str | int) -> str:
    """The text there; numbers as text, everything else as nothing."""
    found = part(value, *keys)
    if isinstance(found, str):
        return found
    return str(found) if isinstance(found, int | float) and not isinstance(found, bool) else ""


def number(value: object, *keys: str | int, default: int = 0) -> int:
    """The whole number there."""
    found = part(value, *keys)
    return found if isinstance(found, int) and not isinstance(found, bool) else default


def objects(value: object, *keys: str | int) -> list[Object]:
    """The objects of a list there; whatever else is in it is left out."""
    found = part(value, *keys)
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list | tuple) else []


def mapping(value: object, *keys: str | int) -> Object:
    """The object there, or an empty one."""
    found = part(value, *keys)
    return found if isinstance(found, Mapping) else {}


def texts(value: object, *keys: str | int) -> list[str]:
    """The texts of a list there."""
    found = part(value, *keys)
    return [item for item in found if isinstance(item, str)] if isinstance(found, list | tuple) else []


def name_of(obj: object) -> str:
    return text(obj, "metadata", "name")


def uid_of(obj: object) -> str:
    return text(obj, "metadata", "uid")


def when(value: object) -> float | None:
    """POSIX seconds of an API timestamp (RFC 3339), or None."""
    if not isinstance(value, str) or not value:
        return None
    # At most six digits of a second: fromisoformat of 3.11 reads no nanoseconds.
    head, dot, rest = value.partition(".")
    if dot:
        digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
        value = f"{head}.{digits[:6].ljust(6, '0')}{rest[len(digits) :]}"
    try:
        return datetime.fromisoformat(value).timestamp()
    except (ValueError, OverflowError):
        return None


def controller_of(obj: object) -> Object | None:
    """The owner that keeps it alive (an ownerReference with `controller: true`)."""
    return next((o for o in objects(obj, "metadata", "ownerReferences") if o.get("controller") is True), None)


def selector_text(selector: object) -> str:
    """A LabelSelector as the API's query takes it: `app=web,tier in (a,b),!old`."""
    parts = [f"{key}={value}" for key, value in sorted(mapping(selector, "matchLabels").items())]
    for rule in objects(selector, "matchExpressions"):
        key, values = text(rule, "key"), ",".join(texts(rule, "values"))
        operator = text(rule, "operator")
        if operator in ("In", "NotIn"):
            parts.append(f"{key} {'in' if operator == 'In' else 'notin'} ({values})")
        elif operator in ("Exists", "DoesNotExist"):
            parts.append(key if operator == "Exists" else f"!{key}")
    return ",".join(parts)


def selects(selector: object, labels: Object) -> bool:
    """Whether a LabelSelector takes an object with those labels; an empty one takes all, none at all takes none."""
    if not isinstance(selector, Mapping):
        return False
    try:
        read = msgspec.convert(selector, LabelSelector)
    except msgspec.ValidationError:
        return False
    return by_labels(read, {str(key): str(value) for key, value in labels.items()})
