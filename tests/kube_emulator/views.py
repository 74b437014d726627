"""The same stored object in the words of another API group (Events of v1 and of events.k8s.io). Pure functions."""

from __future__ import annotations

from typing import Any

from tests.kube_emulator.kinds import Kind

_RENAMED = {
    "involvedObject": "regarding",
    "message": "note",
    "count": "deprecatedCount",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "source": "deprecatedSource",
    "reportingComponent": "reportingController",
}
_BACK = {new: old for old, new in _RENAMED.items()}


def shown_as(kind: Kind, obj: dict[str, Any]) -> dict[str, Any]:
    """From the stored form."""
    if kind.group != "events.k8s.io":
        return obj
    return {_RENAMED.get(key, key): value for key, value in obj.items()}


def stored_form(kind: Kind, obj: dict[str, Any]) -> dict[str, Any]:
    """To the stored form."""
    if kind.group != "events.k8s.io":
        return obj
    return {_BACK.get(key, key): value for key, value in obj.items()}
