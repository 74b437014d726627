"""The replicas as they are now, in a stable order: cheap to change one, free to read all. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

from backend.contract.fleet import ReplicaStatus


class Roster:
    """By name; listed oldest first."""

    def __init__(self) -> None:
        self._by_name: dict[str, ReplicaStatus] = {}
        self._order: list[tuple[float, str]] = []
        self._listed: list[ReplicaStatus] = []
        """In the same order."""
        self._all: tuple[ReplicaStatus, ...] | None = ()
        self.on_node: Counter[str] = Counter()
        """How many are on each node."""
        self.moves = 0
        """Rises with each change of that."""

    def get(self, name: str) -> ReplicaStatus | None:
        return self._by_name.get(name)

    def all(self) -> tuple[ReplicaStatus, ...]:
        """The same tuple until something changes."""
        if self._all is None:
            self._all = tuple(self._listed)
        return self._all

    def put(self, status: ReplicaStatus) -> ReplicaStatus | None:
        """Returns what it replaces."""
        old = self._by_name.get(status.name)
        if old is not None and old.created_ts != status.created_ts:
            self.drop(status.name)  # another one of the same name, as a StatefulSet makes them
            self.put(status)
            return old
        key = (status.created_ts, status.name)
        at = bisect_left(self._order, key)
        if old is None:
            self._order.insert(at, key)
            self._listed.insert(at, status)
        else:
            self._listed[at] = status
        if old is None or old.node != status.node:
            if old is not None:
                self._leave(old.node)
            self.on_node[status.node] += 1
            self.moves += 1
        self._by_name[status.name] = status
        self._all = None
        return old

    def drop(self, name: str) -> ReplicaStatus | None:
        """Returns what it was."""
        old = self._by_name.pop(name, None)
        if old is not None:
            at = bisect_left(self._order, (old.created_ts, name))
            del self._order[at], self._listed[at]
            self._leave(old.node)
            self._all = None
        return old

    def __len__(self) -> int:
        return len(self._by_name)

    def _leave(self, node: str) -> None:
        self.on_node[node] -= 1
        self.moves += 1
        if self.on_node[node] <= 0:
            del self.on_node[node]
