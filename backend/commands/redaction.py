"""Secrets taken out of what is shared: of a text, and of rows and snapshots without changing their shape.

Owns what counts as a secret. Reads the known ones from where they lie; writes nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeVar

import msgspec

from backend.config.paths import StatePaths
from backend.contract.control import ReplicaView, Snapshot

T = TypeVar("T", bound=msgspec.Struct)

_WORDS: Final = r"authorization|bearer|password|passwd|api[_-]?key|secret|token"
_SECRET: Final = re.compile(rf"(?i)({_WORDS})(\W{{1,4}})(?:(?:bearer|basic)\s+)?([^\s\"',;&]{{3,}})")
_LOGIN: Final = re.compile(r"(://[^/\s:@]*:(?=[^\s@/]+@)|stats auth [^\s:]+:)([^\s@/]+)")
_SUSPECT: Final = ("authorization", "bearer", "passw", "api_key", "api-key", "apikey", "secret", "stats auth")
_TOKEN: Final = re.compile(r"token\W")
_AT: Final = re.compile(r"://[^\s\"]*@")
_NAMED: Final = re.compile(rf"(?i)(?:.*[._-])?(?:{_WORDS})")
REDACTED: Final = "[redacted]"


def known_secrets(paths: StatePaths) -> list[str]:
    """Secrets whose values we know, wherever they may stand."""
    values = [os.environ.get("TRINITY_API_KEY", "")]
    password = paths.edge_dir / "stats.password"
    if password.is_file():
        values.append(password.read_text(errors="replace").strip())
    return [value for value in values if len(value) >= 4]


def redact(text: str, known: Iterable[str] = ()) -> str:
    """The text without `known` secrets, and with what follows a secret's name or a login's name replaced."""
    for secret in known:
        text = text.replace(secret, REDACTED)
    text = _SECRET.sub(lambda m: f"{m.group(1)}{m.group(2)}{REDACTED}", text)
    return _LOGIN.sub(lambda m: f"{m.group(1)}{REDACTED}", text)


def _is_suspect(text: str) -> bool:
    """Whether JSON text in lower case may hold anything to redact: much faster than looking at each of its strings,
    and than one expression for all of it."""
    if any(word in text for word in _SUSPECT) or ("token" in text and _TOKEN.search(text)):
        return True
    return "://" in text and _AT.search(text) is not None


class Redactor:
    """Takes secrets out of rows and snapshots; most have none and stay as they are."""

    def __init__(self, known: Sequence[str]) -> None:
        self._known = known
        self._as_json = [msgspec.json.encode(secret).decode()[1:-1] for secret in known]
        self._views: dict[str, tuple[ReplicaView, ReplicaView]] = {}

    def __call__(self, value: T) -> T:
        text = msgspec.json.encode(value).decode()
        if not _is_suspect(text.casefold()) and not any(secret in text for secret in self._as_json):
            return value
        plain = {name: self._clean(name, part) for name, part in msgspec.to_builtins(value).items()}
        return msgspec.convert(plain, type(value))

    def snapshot(self, snapshot: Snapshot) -> Snapshot:
        """Replicas that did not change since the last call are not looked at again, and stay the same objects."""
        views: dict[str, tuple[ReplicaView, ReplicaView]] = {}
        for view in snapshot.replicas:
            before = self._views.get(view.status.name)
            views[view.status.name] = before if before is not None and before[0] is view else (view, self(view))
        self._views = views
        head = self(msgspec.structs.replace(snapshot, replicas=()))
        replicas = tuple(views[view.status.name][1] for view in snapshot.replicas)
        return msgspec.structs.replace(head, replicas=replicas)

    def _clean(self, name: str, value: Any) -> Any:
        if isinstance(value, str):
            return REDACTED if value and _NAMED.fullmatch(name) else redact(value, self._known)
        if isinstance(value, dict):
            return {key: self._clean(key, part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [self._clean(name, part) for part in value]
        return value
