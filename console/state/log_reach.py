"""The matching lines around one place of a log store, read bit by bit so that no look costs more than its budget.

Pure; owns the lines that were read and how far in both directions. Holds no more than a few screens of them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Final

from console.state.log_line import LogKey, LogLine
from console.state.log_query import EVERYTHING, LogQuery
from console.state.log_store import LogStore

KEPT: Final = 2000
"""Lines kept around the place; what is further away is read again when it is wanted."""


def just_before(key: LogKey) -> LogKey:
    """The key that only what is older than `key` comes before."""
    return (key[0], key[1], key[2] - 1)


def just_after(key: LogKey) -> LogKey:
    """The key that only what is newer than `key` comes after."""
    return (key[0], key[1], key[2] + 1)


class LogReach:
    """Every matching line between `low` and `high` is in `lines`, oldest first."""

    def __init__(self, store: LogStore, query: LogQuery) -> None:
        self.store, self.query = store, query
        self.lines: list[LogLine] = []
        self.low: LogKey | None = None
        self.high: LogKey | None = None
        self.oldest = False
        """Nothing older is held."""
        self.newest = False
        """Nothing newer was held when it was last looked at."""
        self.started = False

    def index(self, key: LogKey) -> int:
        """How many of the lines come before `key`."""
        return bisect_left(self.lines, key, key=_key)

    def newest_lines(self, count: int, budget: int) -> None:
        """Look at the newest `count` lines again, and as far back as the budget goes."""
        self._take(self._from_end(count, budget))
        if len(self.lines) < count and not self.oldest:
            self._back(count - len(self.lines), budget)
        self._trim(len(self.lines))

    def around(self, key: LogKey, above: int, below: int, budget: int) -> None:
        """Look at `above` lines before `key` and `below` from it on again, as far as the budget goes."""
        fresh = LogReach(self.store, self.query)
        fresh.started, fresh.low, fresh.high = True, key, just_before(key)
        if below:
            fresh._forward(below, budget)
        if above:
            fresh._back(above, budget)
        self._take(fresh)
        at = self.index(key)
        if len(self.lines) - at < below and not self.newest:
            self._forward(below - (len(self.lines) - at), budget)
        if at < above and not self.oldest:
            self._back(above - at, budget)
        self._trim(self.index(key))

    def satisfied(self, key: LogKey | None, above: int, below: int = 0) -> bool:
        """Whether all that was asked for is there, or does not exist."""
        at = len(self.lines) if key is None else self.index(key)
        return (self.oldest or at >= above) and (self.newest or len(self.lines) - at >= below)

    def _from_end(self, count: int, budget: int) -> LogReach:
        fresh = LogReach(self.store, self.query)
        last = self.store.before(None, 1, EVERYTHING).lines
        page = self.store.before(None, count, self.query, budget_bytes=budget)
        fresh.lines, fresh.low, fresh.high = list(page.lines), page.next_key, last[-1].key if last else None
        fresh.oldest, fresh.newest, fresh.started = page.next_key is None, True, True
        return fresh

    def _back(self, count: int, budget: int) -> None:
        page = self.store.before(self.low, count, self.query, budget_bytes=budget)
        self.lines[:0] = page.lines
        self.low, self.oldest = page.next_key, page.next_key is None

    def _forward(self, count: int, budget: int) -> None:
        page = self.store.after(self.high, count, self.query, budget_bytes=budget)
        self.lines += page.lines
        self.high = page.next_key or self.high
        self.newest = page.complete and len(page.lines) < count

    def _take(self, fresh: LogReach) -> None:
        """What was just read, and around it what was read before where that adjoins: late lines are in their place,
        and nothing is left out between."""
        adjoins = (
            self.started
            and (fresh.low is None or self.high is None or self.high >= fresh.low)
            and (fresh.high is None or self.low is None or self.low <= fresh.high)
        )
        if adjoins and fresh.low is not None and (self.oldest or (self.low is not None and self.low < fresh.low)):
            fresh.lines[:0] = self.lines[: bisect_left(self.lines, fresh.low, key=_key)]
            fresh.low, fresh.oldest = self.low, self.oldest
        if adjoins and fresh.high is not None and self.high is not None and self.high > fresh.high:
            fresh.lines += self.lines[bisect_right(self.lines, fresh.high, key=_key) :]
            fresh.high = self.high
            fresh.newest = False
        self.lines, self.low, self.high = fresh.lines, fresh.low, fresh.high
        self.oldest, self.newest, self.started = fresh.oldest, fresh.newest, True

    def _trim(self, at: int) -> None:
        """Let go what is far from the place."""
        start, end = max(0, at - KEPT // 2), min(len(self.lines), at + KEPT // 2)
        if end < len(self.lines):
            self.high, self.newest = self.lines[end - 1].key, False
            del self.lines[end:]
        if start:
            self.low, self.oldest = self.lines[start].key, False
            del self.lines[:start]


def _key(line: LogLine) -> LogKey:
    return line.key
