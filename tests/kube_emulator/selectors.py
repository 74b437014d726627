"""Label and field selectors: parsing them as the API server does, and matching. Owns no objects."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from tests.kube_emulator.status import bad_request

Match = Callable[[Mapping[str, Any]], bool]
_KEY = r"(?:[a-zA-Z0-9](?:[-a-zA-Z0-9.]*[a-zA-Z0-9])?/)?[a-zA-Z0-9](?:[-_.a-zA-Z0-9]*[a-zA-Z0-9])?"
_SET = re.compile(rf"^({_KEY})\s+(in|notin)\s*\(([^()]*)\)$")
_EQUAL = re.compile(rf"^({_KEY})\s*(==|=|!=)\s*([-_.a-zA-Z0-9]*)$")
_ORDER = re.compile(rf"^({_KEY})\s*([<>])\s*(-?\d+)$")
_EXISTS = re.compile(rf"^(!?)\s*({_KEY})$")


def split_requirements(text: str) -> list[str]:
    """At commas outside parentheses."""
    parts, depth, start = [], 0, 0
    for index, char in enumerate(text):
        if char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[start:index])
            start = index + 1
    parts.append(text[start:])
    return [part.strip() for part in parts]


def _label_requirement(text: str) -> Match:
    if found := _SET.match(text):
        key, word, inner = found.groups()
        values = frozenset(value.strip() for value in inner.split(","))
        if word == "in":
            return lambda labels: key in labels and labels[key] in values
        return lambda labels: key not in labels or labels[key] not in values
    if found := _EQUAL.match(text):
        key, operator, value = found.groups()
        if operator == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: key in labels and labels[key] == value
    if found := _ORDER.match(text):
        key, operator, bound = found.groups()
        limit = int(bound)

        def ordered(labels: Mapping[str, Any]) -> bool:
            try:
                value = int(labels[key])
            except (KeyError, ValueError):
                return False
            return value > limit if operator == ">" else value < limit

        return ordered
    if found := _EXISTS.match(text):
        no, key = found.groups()
        if no:
            return lambda labels: key not in labels
        return lambda labels: key in labels
    raise bad_request(f"unable to parse requirement: found '{text}', expected: a label requirement")


def label_selector(text: str) -> Match | None:
    """Matches a label mapping; null where everything matches. Raises ApiError 400."""
    if not text.strip():
        return None
    wanted = [_label_requirement(part) for part in split_requirements(text)]
    if len(wanted) == 1:
        return wanted[0]
    return lambda labels: all(match(labels) for match in wanted)


def object_selector(selector: Mapping[str, Any] | None) -> Match:
    """A LabelSelector of an object's spec (matchLabels, matchExpressions). Null matches nothing, an empty one all."""
    if selector is None:
        return lambda labels: False
    equal = dict(selector.get("matchLabels") or {})
    expressions = list(selector.get("matchExpressions") or ())

    def match(labels: Mapping[str, Any]) -> bool:
        if any(labels.get(key) != value for key, value in equal.items()):
            return False
        for expression in expressions:
            key, operator, values = expression["key"], expression["operator"], expression.get("values") or ()
            fits = {
                "In": key in labels and labels[key] in values,
                "NotIn": key not in labels or labels[key] not in values,
                "Exists": key in labels,
                "DoesNotExist": key not in labels,
            }[operator]
            if not fits:
                return False
        return True

    return match


_COMMON = frozenset({"metadata.name", "metadata.namespace"})
_FIELDS: dict[str, frozenset[str]] = {
    "pods": frozenset(
        {
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        }
    ),
    "nodes": frozenset({"spec.unschedulable"}),
    "namespaces": frozenset({"status.phase"}),
    "secrets": frozenset({"type"}),
    "services": frozenset({"spec.clusterIP", "spec.type"}),
    "replicasets.apps": frozenset({"status.replicas"}),
    "jobs.batch": frozenset({"status.successful"}),
    "events": frozenset(
        {
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        }
    ),
}


def field_value(obj: Mapping[str, Any], path: str) -> str:
    """What the API server compares; empty where the field is absent."""
    value: Any = obj
    for part in path.split("."):
        if not isinstance(value, Mapping):
            return ""
        value = value.get(part)
    if isinstance(value, bool):
        return "true" if value else "false"
    if path == "source" and isinstance(value, Mapping):
        return str(value.get("component") or "")
    if value is None:
        return "false" if path in ("spec.unschedulable", "spec.hostNetwork") else ""
    return str(value)


def field_selector(text: str, table: str, api_version: str, kind: str) -> Match | None:
    """Matches whole objects. Raises ApiError 400 for a field that this kind cannot be selected by."""
    if not text.strip():
        return None
    wanted: list[tuple[str, bool, str]] = []
    for part in text.split(","):
        found = re.match(r"^\s*([\w.]+)\s*(==|=|!=)\s*(.*?)\s*$", part)
        if found is None:
            raise bad_request(f"invalid selector: '{part}'; can't understand '{part}'")
        path, operator, value = found.groups()
        if path not in _COMMON and path not in _FIELDS.get(table, ()):
            raise bad_request(
                f'Unable to find "{api_version}, Resource={table.partition(".")[0]}" that match label selector "", '
                f'field selector "{text}": field label not supported: {path}'
            )
        wanted.append((path, operator != "!=", value))
    return lambda obj: all((field_value(obj, path) == value) is equal for path, equal, value in wanted)
