"""Label selectors: as text (`app=web,tier in (a,b),!old`) and as objects, applied to labels. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from backend.contract.errors import UsageError
from backend.fleet.kube.shapes import LabelSelector

Match = Callable[[Mapping[str, str]], bool]
_SET: Final = re.compile(r"^(\S+)\s+(in|notin)\s*\(([^()]*)\)$")
_EQUAL: Final = re.compile(r"^([^\s!=]+)\s*(==|=|!=)\s*(\S*)$")
_THERE: Final = re.compile(r"^(!?)\s*([^\s!=(),]+)$")
_COMMA: Final = re.compile(r",(?![^(]*\))")


def parse_selector(text: str) -> Match:
    """What the API server would select by it. Raises UsageError for text that it would refuse."""
    rules = [_rule(part.strip(), text) for part in _COMMA.split(text) if part.strip()]
    return lambda labels: all(rule(labels) for rule in rules)


def selects(selector: LabelSelector | None, labels: Mapping[str, str]) -> bool:
    """Whether an object's selector takes those labels. None takes none, an empty one all."""
    if selector is None:
        return False
    if any(labels.get(key) != value for key, value in (selector.match_labels or {}).items()):
        return False
    for rule in selector.match_expressions or ():
        held, values = labels.get(rule.key), rule.values or ()
        if rule.operator == "In":
            met = held in values
        elif rule.operator == "NotIn":
            met = held is None or held not in values
        else:
            met = (held is not None) == (rule.operator == "Exists")
        if not met:
            return False
    return True


def _rule(part: str, text: str) -> Match:
    if found := _SET.match(part):
        key, word, inner = found.groups()
        values = frozenset(value.strip() for value in inner.split(","))
        if word == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if found := _EQUAL.match(part):
        key, operator, value = found.groups()
        equal = operator != "!="
        return lambda labels: (labels.get(key) == value) is equal
    if found := _THERE.match(part):
        no, key = found.groups()
        return lambda labels: (key in labels) is not bool(no)
    raise UsageError(
        f"`{part}` in the selector `{text}` is no rule.", "Write app=web, app!=web, tier in (a,b) or !old."
    )
