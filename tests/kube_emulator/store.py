"""Objects under one rising resourceVersion, with a bounded history of changes. Knows nothing of HTTP, rights or rules
of kinds; objects handed in belong to the store afterwards and are never changed in place.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Literal

import msgspec

from tests.kube_emulator.kinds import Kind
from tests.kube_emulator.views import shown_as

Key = tuple[str, str]
"""(namespace, name); the namespace is empty for kinds without one."""
Object = dict[str, Any]
ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]


class Stored:
    """One version of one object, encoded once per way of showing it."""

    __slots__ = ("_bare", "key", "obj", "version")

    def __init__(self, key: Key, version: int, obj: Object) -> None:
        self.key = key
        self.version = version
        self.obj = obj
        self._bare: dict[str, bytes] = {}

    def bare(self, kind: Kind) -> bytes:
        """JSON without kind and apiVersion, as items of a list are."""
        found = self._bare.get(kind.group)
        if found is None:
            found = self._bare[kind.group] = msgspec.json.encode(shown_as(kind, self.obj))
        return found

    def whole(self, kind: Kind) -> bytes:
        head = f'{{"kind":"{kind.kind}","apiVersion":"{kind.api_version}",'.encode()
        return head + self.bare(kind)[1:]

    @property
    def labels(self) -> dict[str, str]:
        return self.obj["metadata"].get("labels") or {}

    @property
    def uid(self) -> str:
        return str(self.obj["metadata"]["uid"])


class Change:
    """Something happened to one object. `after` of a deletion is its last state at the version of the deletion."""

    __slots__ = ("_lines", "after", "before", "table", "type", "version")

    def __init__(self, table: str, change: ChangeType, before: Stored | None, after: Stored) -> None:
        self.table = table
        self.type = change
        self.before = before
        self.after = after
        self.version = after.version
        self._lines: dict[tuple[str, str], bytes] = {}

    def line(self, kind: Kind, shown: ChangeType) -> bytes:
        """One line of a watch."""
        found = self._lines.get((kind.group, shown))
        if found is None:
            found = b'{"type":"%b","object":%b}\n' % (shown.encode(), self.after.whole(kind))
            self._lines[kind.group, shown] = found
        return found


class Table:
    """The objects of one kind, in the order of their keys."""

    def __init__(self) -> None:
        self.by_key: dict[Key, Stored] = {}
        self.keys: list[Key] = []

    def put(self, stored: Stored) -> None:
        if stored.key not in self.by_key:
            insort(self.keys, stored.key)
        self.by_key[stored.key] = stored

    def take(self, key: Key) -> None:
        del self.by_key[key]
        at = bisect_right(self.keys, key) - 1
        del self.keys[at]


class Store:
    """All tables. `history` changes are kept for watches and for pages of older lists."""

    def __init__(self, *, history: int = 20_000) -> None:
        self.version = 1000
        self.floor = 1000
        """Watches may begin at this version or later."""
        self._tables: dict[str, Table] = {}
        self._history: deque[Change] = deque()
        self._limit = history
        self._listeners: list[Callable[[Change], None]] = []
        self._untold: deque[Change] = deque()
        self._telling = False

    def listen(self, listener: Callable[[Change], None]) -> Callable[[], None]:
        """Called at once with each change; returns how to stop."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def table(self, name: str) -> Table:
        found = self._tables.get(name)
        if found is None:
            found = self._tables[name] = Table()
        return found

    def get(self, table: str, namespace: str, name: str) -> Stored | None:
        return self.table(table).by_key.get((namespace, name))

    def all(self, table: str, namespace: str = "") -> Iterator[Stored]:
        """In order of their keys; of all namespaces where none is given. The table may change meanwhile."""
        place = self.table(table)
        for key in list(place.keys):
            stored = place.by_key.get(key)
            if stored is not None and (not namespace or key[0] == namespace):
                yield stored

    def write(self, table: str, obj: Object) -> Stored:
        """Add it, or replace what has its key. An unchanged object keeps its version."""
        metadata = obj["metadata"]
        key = (metadata.get("namespace") or "", metadata["name"])
        place = self.table(table)
        before = place.by_key.get(key)
        if before is not None:
            metadata["resourceVersion"] = before.obj["metadata"]["resourceVersion"]
            if before.obj == obj:
                return before
        self.version += 1
        metadata["resourceVersion"] = str(self.version)
        after = Stored(key, self.version, obj)
        place.put(after)
        self._record(Change(table, "ADDED" if before is None else "MODIFIED", before, after))
        return after

    def remove(self, table: str, key: Key) -> Stored:
        """Raises KeyError."""
        place = self.table(table)
        before = place.by_key[key]
        self.version += 1
        last = dict(before.obj)
        last["metadata"] = before.obj["metadata"] | {"resourceVersion": str(self.version)}
        after = Stored(key, self.version, last)
        place.take(key)
        self._record(Change(table, "DELETED", before, after))
        return after

    def _record(self, change: Change) -> None:
        self._history.append(change)
        while len(self._history) > self._limit:
            self.floor = self._history.popleft().version
        self._untold.append(change)
        if self._telling:
            return  # a listener changed something: all hear of it after this change, in order
        self._telling = True
        try:
            while self._untold:
                told = self._untold.popleft()
                for listener in tuple(self._listeners):
                    listener(told)
        finally:
            self._telling = False

    def forget(self) -> None:
        """Nothing older than now can be resumed or paged any more (etcd compaction)."""
        self._history.clear()
        self.version += 1
        self.floor = self.version

    def since(self, table: str, version: int) -> list[Change]:
        """Changes of that table after `version`, oldest first."""
        found: list[Change] = []
        for change in reversed(self._history):
            if change.version <= version:
                break
            if change.table == table:
                found.append(change)
        found.reverse()
        return found

    def snapshot(self, table: str, version: int) -> dict[Key, Stored]:
        """The table as it was at `version` (>= floor)."""
        now = dict(self.table(table).by_key)
        for change in reversed(self.since(table, version)):
            if change.before is None:
                now.pop(change.after.key, None)
            else:
                now[change.after.key] = change.before
        return now
