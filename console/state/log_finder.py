"""The search of the log explorer: its pattern, the search in the background, and the match one is on the way to.

Pure; owns no line. A match far away is gone to when the search has found it, not waited for.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypedDict

from console.state.log_line import LogKey
from console.state.log_pattern import has_capital
from console.state.log_query import LogQuery
from console.state.log_reach import just_after
from console.state.log_store import LogStore

if TYPE_CHECKING:
    from console.state.log_search import LogSearch


class Progress(TypedDict):
    """How far a search is: the match under the cursor (from 1, the newest), how many are known, and the scan."""

    at: int | None
    found: int
    scanned: int
    total: int
    rate: float
    done: bool


def text_pattern(pattern: str) -> re.Pattern[str] | None:
    """What marks matches in shown text: without regard to case unless a capital is asked for. None for a bad one."""
    try:
        return re.compile(pattern, 0 if has_capital(pattern) else re.IGNORECASE) if pattern else None
    except (re.error, OverflowError, RecursionError):
        return None


class LogFinder:
    """One search at a time; a new one ends the one before."""

    def __init__(self) -> None:
        self.pattern = ""
        self.search: LogSearch | None = None
        self.wanted: tuple[int, LogKey] | None = None
        """The direction and the place from which a match is asked for."""
        self.missed = 0
        """The direction in which there was no further match; 0 where there was one."""
        self.seen_to: float | None = None
        """The instant of the newest line that is searched."""
        self._received = 0
        self._asked: tuple[int, LogKey] | None = None

    def name(self, pattern: str) -> None:
        """What to search; nothing is searched before `begin`."""
        if pattern != self.pattern:
            self.stop()
            self.pattern = pattern

    def begin(self, store: LogStore, query: LogQuery) -> None:
        """Search what is held, unless that is going on. Raises UsageError for a bad pattern."""
        if self.pattern and self.search is None:
            newest = store.before(None, 1).lines
            self._received, self.seen_to = store.received, newest[-1].ts if newest else None
            self.search = store.search(self.pattern, query)

    def restart(self, store: LogStore, query: LogQuery) -> None:
        """The same pattern in other lines, or in those that came since."""
        if self.search is not None:
            self.search.cancel()
            self.search = None
            self.begin(store, query)

    def stop(self) -> None:
        """Forget the search."""
        if self.search is not None:
            self.search.cancel()
        self.pattern, self.search, self.wanted, self.missed = "", None, None, 0

    def want(self, direction: int, key: LogKey) -> None:
        """Ask for the next match after a place (1) or before it (-1)."""
        if self.pattern:
            self.wanted = self._asked = (direction, key)
            self.missed = 0

    def arrived(self) -> LogKey | None:
        """The match that was asked for, once it is known."""
        if self.wanted is None or self.search is None:
            return None
        direction, key = self.wanted
        # Asked before the matches are, so that one found between the two is not missed.
        done = self.search.done
        if direction > 0 and not done and self.search.next(just_after(key), -1) is None:
            # The newest are found first: until one at or before the place is known, a nearer one may come.
            return None
        found = self.search.next(key, direction)
        if found is not None or done:
            self.wanted, self.missed = None, 0 if found is not None else direction
        return found

    def behind(self, store: LogStore) -> bool:
        """Whether it ended, and lines came that it has not seen."""
        return self.search is not None and self.search.done and store.received != self._received

    def look_again(self, store: LogStore, query: LogQuery) -> None:
        """Where there was no newer match, look through what came since, once."""
        if self.missed > 0 and self._asked is not None and self.behind(store):
            asked, self._asked = self._asked, None
            self.restart(store, query)
            self.wanted, self.missed = asked, 0

    @property
    def settled(self) -> bool:
        """Whether nothing about it will change by itself."""
        return self.search is None or self.search.done

    @property
    def error(self) -> str:
        """Why the search ended before its end."""
        return self.search.error if self.search is not None else ""

    def progress(self, cursor: LogKey | None) -> Progress | None:
        """How far it is; None where nothing is searched."""
        search = self.search
        if search is None:
            return None
        done = search.done
        return Progress(
            at=search.rank(cursor) if cursor is not None else None,
            found=search.count,
            scanned=search.scanned,
            total=search.total,
            rate=search.rate_lines_per_s,
            done=done,
        )
