"""What controllers and kubelet read of pods, and how a pod is made from a template. Pure functions on plain JSON."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from tests.kube_emulator.kinds import kind_of
from tests.kube_emulator.store import Object

_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_STAMPS = ("pod-template-hash", "controller-revision-hash", "pod-template-generation")


def is_active(pod: Mapping[str, Any]) -> bool:
    """Neither ended nor leaving."""
    return pod["status"].get("phase") not in ("Succeeded", "Failed") and "deletionTimestamp" not in pod["metadata"]


def stripped(template: Mapping[str, Any]) -> dict[str, Any]:
    """A template without the labels that controllers stamp on it."""
    plain = copy.deepcopy(dict(template))
    labels = (plain.get("metadata") or {}).get("labels") or {}
    for stamp in _STAMPS:
        labels.pop(stamp, None)
    return plain


def template_hash(template: Mapping[str, Any]) -> str:
    """Ten letters that tell one template from another."""
    number = int.from_bytes(hashlib.sha256(json.dumps(stripped(template), sort_keys=True).encode()).digest()[:8])
    letters = []
    for _ in range(10):
        number, rest = divmod(number, len(_LETTERS))
        letters.append(_LETTERS[rest])
    return "".join(letters)


def owner_reference(kind: str, owner: Object) -> dict[str, Any]:
    return {
        "apiVersion": kind_of(kind).api_version,
        "kind": kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def pod_of(kind: str, owner: Object, template: Mapping[str, Any], *, name: str = "", **labels: str) -> Object:
    """A pod that `owner` makes of a template."""
    made: Object = copy.deepcopy({key: template.get(key) or {} for key in ("metadata", "spec")})
    metadata = made["metadata"]
    metadata.pop("creationTimestamp", None)
    metadata["labels"] = dict(metadata.get("labels") or {}) | {
        key.replace("_", "-"): text for key, text in labels.items()
    }
    if name:
        metadata["name"] = name
    else:
        metadata["generateName"] = owner["metadata"]["name"] + "-"
    metadata["ownerReferences"] = [owner_reference(kind, owner)]
    return made


def controller_of(obj: Mapping[str, Any]) -> tuple[str, str] | None:
    """(kind, name) of the owner that controls it."""
    for owner in obj["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            return owner["kind"], owner["name"]
    return None


def condition(
    conditions: list[dict[str, Any]], kind: str, status: bool | str, now: str, *, reason: str = "", message: str = ""
) -> bool:
    """Set one condition in place; its time moves only with its status. Returns whether anything changed."""
    word = status if isinstance(status, str) else ("True" if status else "False")
    wanted: dict[str, Any] = {"type": kind, "status": word}
    if reason:
        wanted["reason"] = reason
    if message:
        wanted["message"] = message
    for index, known in enumerate(conditions):
        if known["type"] == kind:
            kept = {key: text for key, text in known.items() if not key.startswith("last")}
            if kept == wanted:
                return False
            moved = now if known["status"] != word else known.get("lastTransitionTime", now)
            conditions[index] = wanted | {"lastTransitionTime": moved}
            return True
    conditions.append(wanted | {"lastTransitionTime": now})
    return True
