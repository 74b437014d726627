"""Objects for reading, without what nobody needs to see: secrets are masked, bookkeeping is left out. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import yaml

from backend.fleet.kube.objects import Object, text

MASK: Final = "<masked>"
_SECRET: Final = re.compile(
    r"passw|passphrase|secret|token|api[-_.]?key|private[-_.]?key|access[-_.]?key|credential|auth[-_.]?key|"
    r"encryption[-_.]?key|bearer|dsn|connection[-_.]?string|(?:^|[-_.])pwd(?:$|[-_.])|(?:^|[-_.])key$",
    re.IGNORECASE,
)
_NOT_SECRET: Final = re.compile(
    r"token(?:s|_?limit|_?count|izer)|(?:max|num|min)[-_]?token|secretname|(?:file|path|dir)$", re.IGNORECASE
)
_FLAG: Final = re.compile(r"^(-{1,2}[\w.-]+)(=|\s+)(.*)$", re.DOTALL)
_IN_URL: Final = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s/:@]*:)[^\s/@]+@", re.IGNORECASE)
_LEFT_OUT: Final = frozenset({"managedFields"})
_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_MAX_DEPTH: Final = 60


def is_secret_name(name: str) -> bool:
    """Whether what has that name is better not shown."""
    return _SECRET.search(name) is not None and _NOT_SECRET.search(name) is None


def masked_environment_value(name: str, value: str) -> str:
    """A variable's or an annotation's value for reading."""
    return MASK if value and is_secret_name(name) else _IN_URL.sub(rf"\1{MASK}@", value)


def masked_words(words: list[Any]) -> list[Any]:
    """argv: values of flags that name a secret are masked, `--api-key=x` and `--api-key x`."""
    shown: list[Any] = []
    hide = False
    for word in words:
        if not isinstance(word, str):
            shown.append(word)
            hide = False
            continue
        match = _FLAG.match(word)
        if hide and not word.startswith("-"):
            shown.append(MASK)
        elif match is not None and is_secret_name(match[1]):
            shown.append(f"{match[1]}{match[2]}{MASK}")
        else:
            shown.append(_IN_URL.sub(rf"\1{MASK}@", word))
        hide = match is None and word.startswith("-") and is_secret_name(word)
    return shown


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
    return yaml.dump(masked(obj), Dumper=yaml.SafeDumper, sort_keys=False, allow_unicode=True, width=110)


def _copy(name: str, value: Any, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        return "..."
    if isinstance(value, Mapping):
        held = {str(key): item for key, item in value.items() if key not in _LEFT_OUT}
        if name == "annotations":
            kept = {key: item for key, item in held.items() if key != _APPLIED}
            return {k: masked_environment_value(k, v) if isinstance(v, str) else v for k, v in kept.items()}
        shown = {key: _copy(key, item, depth + 1) for key, item in held.items()}
        # An entry of `env`: its name says whether its value is a secret.
        if isinstance(held.get("value"), str) and isinstance(held.get("name"), str):
            shown["value"] = masked_environment_value(held["name"], held["value"])
        return shown
    if isinstance(value, list | tuple):
        items = masked_words(list(value)) if name in ("command", "args") else list(value)
        return [_copy("", item, depth + 1) for item in items]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)
