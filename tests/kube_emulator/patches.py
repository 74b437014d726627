"""The three kinds of PATCH: JSON patch, JSON merge patch and strategic merge patch. Pure functions on plain JSON."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from tests.kube_emulator.status import ApiError, bad_request

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"

_MERGE_KEYS: dict[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "conditions": ("type",),
    "imagePullSecrets": ("name",),
    "hostAliases": ("ip",),
    "ownerReferences": ("uid",),
    "addresses": ("type",),
    "ports": ("containerPort", "port"),
    "topologySpreadConstraints": ("topologyKey",),
}
"""Lists that are merged by key; of several keys the first one that the items have."""
_SETS = frozenset({"finalizers"})


def apply_patch(content_type: str, obj: dict[str, Any], patch: Any) -> dict[str, Any]:
    """The patched object, nothing of it shared with `obj`. Raises ApiError 400, 415 or 422."""
    if content_type == JSON_PATCH:
        if not isinstance(patch, list):
            raise bad_request("json: cannot unmarshal object into Go value of type jsonpatch.Patch")
        return _json_patch(copy.deepcopy(obj), patch)
    if content_type in (MERGE_PATCH, STRATEGIC, APPLY):
        if not isinstance(patch, dict):
            raise bad_request("json: cannot unmarshal array into Go value of type map[string]interface {}")
        if content_type == MERGE_PATCH:
            merged = _merge(copy.deepcopy(obj), patch)
        else:
            merged = _strategic(copy.deepcopy(obj), patch)
        return merged if isinstance(merged, dict) else {}
    accepted = ", ".join((JSON_PATCH, MERGE_PATCH, STRATEGIC, APPLY))
    message = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
    raise ApiError(415, "UnsupportedMediaType", message)


def _merge(target: Any, patch: Any) -> Any:
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    result = target if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merge(result.get(key), value)
    return result


def _strategic(target: Any, patch: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = target if isinstance(target, dict) else {}
    if patch.get("$patch") == "replace":
        return {key: copy.deepcopy(value) for key, value in patch.items() if key != "$patch"}
    if patch.get("$patch") == "delete":
        return {}
    for key, value in patch.items():
        if key.startswith("$deleteFromPrimitiveList/"):
            name = key.partition("/")[2]
            result[name] = [item for item in result.get(name) or [] if item not in value]
        elif key.startswith("$setElementOrder/"):
            continue
        elif key == "$retainKeys":
            result = {name: kept for name, kept in result.items() if name in value}
        elif value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            result[key] = _strategic(result.get(key), value)
        elif isinstance(value, list) and key in _MERGE_KEYS:
            result[key] = _merge_list(key, result.get(key) or [], value)
        elif isinstance(value, list) and key in _SETS:
            present = list(result.get(key) or [])
            result[key] = present + [item for item in value if item not in present]
        else:
            result[key] = _merge(None, value) if isinstance(value, Mapping) else copy.deepcopy(value)
    return result


def _merge_list(name: str, present: list[Any], patch: list[Any]) -> list[Any]:
    if any(isinstance(item, Mapping) and item.get("$patch") == "replace" for item in patch):
        return [copy.deepcopy(item) for item in patch if item.get("$patch") != "replace"]
    for item in patch:
        key = next((key for key in _MERGE_KEYS[name] if key in item), None)
        if key is None:
            raise bad_request(f"map: {item} does not contain declared merge key: {_MERGE_KEYS[name][0]}")
        at = next((index for index, old in enumerate(present) if old.get(key) == item[key]), None)
        if item.get("$patch") == "delete":
            if at is not None:
                del present[at]
        elif at is None:
            present.append(_strategic({}, item))
        else:
            present[at] = _strategic(present[at], item)
    return present


def _pointer(path: str) -> list[str]:
    if path == "":
        return []
    return [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]


def _invalid(message: str) -> ApiError:
    return ApiError(422, "Invalid", f"the server rejected our request due to an error in our request: {message}")


def _walk(document: Any, parts: list[str]) -> Any:
    for part in parts:
        try:
            document = document[int(part)] if isinstance(document, list) else document[part]
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise _invalid(f"missing path: /{'/'.join(parts)}") from error
    return document


def _json_patch(document: Any, operations: list[Any]) -> Any:
    for operation in operations:
        kind, parts = operation["op"], _pointer(operation["path"])
        if kind == "test":
            if _walk(document, parts) != operation.get("value"):
                raise _invalid(f"testing value {operation['path']} failed")
            continue
        if kind in ("move", "copy"):
            source = _pointer(operation["from"])
            value = copy.deepcopy(_walk(document, source))
            if kind == "move":
                _take(document, source)
        else:
            value = copy.deepcopy(operation.get("value"))
        if kind == "remove":
            _take(document, parts)
        elif not parts:
            document = value
        else:
            _set(document, parts, value, replace=kind == "replace")
    return document


def _take(document: Any, parts: list[str]) -> None:
    _walk(document, parts)
    parent = _walk(document, parts[:-1])
    del parent[int(parts[-1]) if isinstance(parent, list) else parts[-1]]


def _set(document: Any, parts: list[str], value: Any, *, replace: bool) -> None:
    if replace:
        _walk(document, parts)
    parent, last = _walk(document, parts[:-1]), parts[-1]
    if isinstance(parent, list):
        at = len(parent) if last == "-" else int(last)
        if at > len(parent):
            raise _invalid(f"index out of range: {last}")
        if replace:
            parent[at] = value
        else:
            parent.insert(at, value)
    elif isinstance(parent, dict):
        parent[last] = value
    else:
        raise _invalid(f"missing path: /{'/'.join(parts)}")
