"""What a request asks for, read from its method, path and query; and the count of all requests. Decides nothing."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.kube_emulator.kinds import BY_PATH, Kind
from tests.kube_emulator.status import method_not_allowed

_PATCHING = {"PUT": "update", "PATCH": "patch", "POST": "create"}


@dataclass(frozen=True)
class Asked:
    """One request to a resource. `verb` as RBAC has it; `kind` is null for paths that are no resource."""

    verb: str
    kind: Kind | None = None
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""
    """Of the path, behind `proxy`."""

    @property
    def resource(self) -> str:
        """`pods/log`: without the group, as rules name it."""
        if self.kind is None:
            return ""
        return f"{self.kind.plural}/{self.subresource}" if self.subresource else self.kind.plural

    @property
    def counted(self) -> str:
        """`deployments.apps/scale`."""
        if self.kind is None:
            return "-"
        return f"{self.kind.qualified}/{self.subresource}" if self.subresource else self.kind.qualified


def asked(method: str, path: str, query: Mapping[str, str]) -> Asked:
    """Raises ApiError 405 for methods that no resource has."""
    parts = tuple(part for part in path.split("/") if part)
    group, version, place = "", "", ()
    if parts[:1] == ("api",) and len(parts) > 2:
        group, version, place = "", parts[1], parts[2:]
    elif parts[:1] == ("apis",) and len(parts) > 3:
        group, version, place = parts[1], parts[2], parts[3:]
    if not place:
        return Asked(verb=method.lower())
    namespace = ""
    if place[0] == "namespaces" and len(place) > 2 and (group, version, place[2]) in BY_PATH:
        namespace, place = place[1], place[2:]
    kind = BY_PATH.get((group, version, place[0]))
    if kind is None:
        return Asked(verb=method.lower())
    name = place[1] if len(place) > 1 else ""
    subresource = place[2] if len(place) > 2 else ""
    rest = "/".join(place[3:])
    return Asked(
        verb=_verb(method, name, query),
        kind=kind,
        namespace=namespace if kind.namespaced else "",
        name=name,
        subresource=subresource,
        rest=rest,
    )


def _verb(method: str, name: str, query: Mapping[str, str]) -> str:
    if method in ("GET", "HEAD"):
        if query.get("watch", "").lower() in ("1", "true"):
            return "watch"
        return "get" if name else "list"
    if method == "DELETE":
        return "delete" if name else "deletecollection"
    if method not in _PATCHING:
        raise method_not_allowed()
    return _PATCHING[method]


@dataclass
class Seen:
    """A request that came, for tests to look at."""

    ts: float
    verb: str
    resource: str
    namespace: str
    name: str
    path: str
    user: str = ""
    status: int = 0
    query: dict[str, str] = field(default_factory=dict)


class Counts:
    """How often each (verb, resource) was asked for; `deployments.apps`, `pods/log`, `-` for discovery and the like."""

    def __init__(self) -> None:
        self.by_request: Counter[tuple[str, str]] = Counter()
        self.log: deque[Seen] = deque(maxlen=20_000)

    def note(self, what: Asked, path: str, query: Mapping[str, str]) -> Seen:
        self.by_request[what.verb, what.counted] += 1
        seen = Seen(
            ts=time.time(),
            verb=what.verb,
            resource=what.counted,
            namespace=what.namespace,
            name=what.name,
            path=path,
            query=dict(query),
        )
        self.log.append(seen)
        return seen

    def of(self, verb: str, resource: str) -> int:
        return self.by_request[verb, resource]

    def total(self) -> int:
        return self.by_request.total()

    def reset(self) -> None:
        self.by_request.clear()
        self.log.clear()
