"""Kubernetes objects for reading: secrets are masked wherever they may stand, bookkeeping is left out. Pure.

What counts as a secret is backend.fleet.masking's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from backend.fleet.kube.objects import Object, text
from backend.fleet.masking import MASK, masked_value, masked_words, to_yaml

_LEFT_OUT: Final = frozenset({"managedFields"})
_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_MAX_DEPTH: Final = 60


def masked(obj: Object) -> dict[str, Any]:
    """A copy for reading."""
    shown = {str(key): _copy(str(key), value, 0) for key, value in obj.items()}
    if text(obj, "kind") == "Secret":
        for key in ("data", "stringData"):
            if isinstance(shown.get(key), Mapping):
                shown[key] = dict.fromkeys(shown[key], MASK)
    return shown


def as_yaml(obj: Object) -> str:
    """The object as YAML, masked."""
    return to_yaml(masked(obj))


def _copy(name: str, value: Any, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        return "..."
    if isinstance(value, Mapping):
        held = {str(key): item for key, item in value.items() if key not in _LEFT_OUT}
        if name == "annotations":
            kept = {key: item for key, item in held.items() if key != _APPLIED}
            return {k: masked_value(k, v) if isinstance(v, str) else v for k, v in kept.items()}
        shown = {key: _copy(key, item, depth + 1) for key, item in held.items()}
        # An entry of `env`: its name says whether its value is a secret.
        if isinstance(held.get("value"), str) and isinstance(held.get("name"), str):
            shown["value"] = masked_value(held["name"], held["value"])
        return shown
    if isinstance(value, list | tuple):
        items = masked_words(list(value)) if name in ("command", "args") else list(value)
        return [_copy("", item, depth + 1) for item in items]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)
