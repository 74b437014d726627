"""The log explorer without a screen: what is asked for, where one is, following or paused, what is being typed.

Every transition is a method. Owns the query, the cursor and the search; reads its lines through a `LogReach`, never
more than a budget at a time; fills no store.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from backend.contract.errors import UsageError
from console.state.log_finder import LogFinder, text_pattern
from console.state.log_line import LogKey, LogLine
from console.state.log_pattern import Matcher
from console.state.log_query import LogQuery
from console.state.log_reach import LogReach, just_after
from console.state.log_store import LogStore

Kind = Literal["include", "exclude", "search"]
LEVELS: Final[tuple[tuple[str, frozenset[str] | None], ...]] = (
    ("all", None),
    ("info and above", frozenset({"", "info", "warning", "error", "critical"})),
    ("warning and above", frozenset({"warning", "error", "critical"})),
    ("error and above", frozenset({"error", "critical"})),
)
"""A line without a level counts as information."""
START: Final[LogKey] = (float("-inf"), 0, 0)
END: Final[LogKey] = (float("inf"), 0, 0)
BUDGET: Final = 600_000
"""Bytes that one look may cost: some milliseconds."""


class Filter(msgspec.Struct, frozen=True):
    """A pattern that keeps its lines, or sends them away."""

    kind: Literal["include", "exclude"]
    pattern: str


class Draft(msgspec.Struct, frozen=True):
    """A pattern that is being typed."""

    kind: Kind
    text: str = ""
    problem: str = ""


class Counts(msgspec.Struct, frozen=True):
    """Lines by what became of them."""

    held: int
    dropped: int
    lost: int


class LogExplorer:
    """Begins with following everything that the store holds."""

    def __init__(self, store: LogStore) -> None:
        self.store = store
        self.replicas: tuple[str, ...] | None = None
        self.filters: list[Filter] = []
        self.level = 0
        self.life_of = ""
        """The replica whose previous life is shown."""
        self.until_ts: float | None = None
        self.draft: Draft | None = None
        self.following = True
        self.cursor: LogKey | None = None
        self.offset = 0
        """Screen lines above the cursor's."""
        self.wrap = False
        self.x = 0
        self.fields: tuple[str, ...] = ()
        self.finder = LogFinder()
        self._paused_at = 0
        self._before_draft: tuple[bool, LogKey | None] = (True, None)
        self._drafted: Matcher | None = None
        self._reach = LogReach(store, self.query())

    # -- what is asked for -----------------------------------------------------------------------------------

    def query(self) -> LogQuery:
        """The lines wanted now."""
        chosen = (self.life_of,) if self.life_of else self.replicas
        return LogQuery(
            replicas=None if chosen is None else frozenset(chosen),
            include=tuple(one.pattern for one in self.filters if one.kind == "include"),
            exclude=tuple(one.pattern for one in self.filters if one.kind == "exclude"),
            levels=LEVELS[self.level][1],
            incarnation="previous" if self.life_of else "all",
            until_ts=self.until_ts,
        )

    def use(self, store: LogStore, until_ts: float | None = None) -> None:
        """Look at another store from its end: another fleet, another instant. Filters stay."""
        self.store, self.until_ts, self.life_of = store, until_ts, ""
        self._asked_anew()
        self.follow()

    def choose(self, replicas: Sequence[str] | None) -> None:
        """Show these replicas; None means all."""
        chosen = tuple(replicas) if replicas else None
        if chosen != self.replicas or self.life_of:
            self.replicas, self.life_of = chosen, ""
            self._asked_anew()

    def next_level(self) -> None:
        """The next step of the level filter."""
        self.level = (self.level + 1) % len(LEVELS)
        self._asked_anew()

    def take_back(self) -> bool:
        """`esc`: the search, else the last filter, else the level, else the life; whether there was one."""
        if self.finder.pattern:
            self.finder.stop()
            return True
        if self.filters:
            self.filters.pop()
        elif self.level:
            self.level = 0
        elif self.life_of:
            self.life_of = ""
        else:
            return False
        self._asked_anew()
        return True

    def toggle_field(self, name: str) -> None:
        """Show a JSON field as a column, or no longer; an empty name takes all away."""
        if not name:
            self.fields = ()
        elif name in self.fields:
            self.fields = tuple(one for one in self.fields if one != name)
        else:
            self.fields = (*self.fields, name)

    @property
    def filtered(self) -> bool:
        """Whether lines of the chosen replicas are left out."""
        return bool(self.filters or self.level or self.life_of)

    def lives(self, replica: str) -> list[int]:
        """The numbers of a replica's lives that wrote something which is held, oldest first."""
        return sorted({one.incarnation for one in self.store.streams() if one.replica == replica and one.lines})

    def toggle_life(self, replica: str) -> str:
        """Show what this replica's previous life wrote, or all again. Returns why not, or nothing."""
        if self.life_of:
            self.life_of = ""
        elif len(self.lives(replica)) < 2:
            return f"No earlier life of {replica} is held: it has not been restarted since its lines are kept."
        else:
            self.life_of = replica
        self._asked_anew()
        self.follow()
        return ""

    def _asked_anew(self) -> None:
        """The query has changed: the lines are read again, and the search goes through what is wanted now."""
        query = self.query()
        self._reach = LogReach(self.store, query)
        self.finder.restart(self.store, query)

    # -- what is being typed ---------------------------------------------------------------------------------

    def begin(self, kind: Kind) -> None:
        """Start to type a pattern."""
        self._before_draft = (self.following, self.cursor)
        self.type_in(Draft(kind, self.finder.pattern if kind == "search" else "").text, kind)

    def type_in(self, text: str, kind: Kind | None = None) -> None:
        """The pattern as it stands now; one that is no regular expression yet keeps the last preview."""
        kind = kind or (self.draft.kind if self.draft is not None else "search")
        try:
            matcher, problem = Matcher(text) if text else None, ""
        except UsageError as error:
            self.draft = Draft(kind, text, error.message)
            return
        self._drafted = matcher
        self.draft = Draft(kind, text, problem)
        if kind == "search":
            self.finder.name(text)
            self._return_to_origin()
            self.finder.want(-1, just_after(self.cursor) if self.cursor is not None else END)
            self._go_to_near_match()

    def search_now(self) -> None:
        """Begin to search all that is held for the pattern that was typed."""
        self.finder.begin(self.store, self.query())

    def apply(self) -> str:
        """What was typed holds from now on. Returns what is wrong with it, or nothing."""
        draft = self.draft
        if draft is None:
            return ""
        if draft.problem:
            return draft.problem
        self.draft = self._drafted = None
        if draft.kind == "search":
            self.search_now()
        elif draft.text:
            self.filters.append(Filter(draft.kind, draft.text))
            self._asked_anew()
        return ""

    def cancel(self) -> None:
        """What was typed is forgotten; one is where one was."""
        if self.draft is not None and self.draft.kind == "search":
            self.finder.stop()
            self._return_to_origin()
        self.draft = self._drafted = None

    def _return_to_origin(self) -> None:
        self.following, self.cursor = self._before_draft

    def marks(self) -> list[tuple[re.Pattern[str], str]]:
        """What to mark in shown messages: the filter being typed underlined, else the search in reverse."""
        drafting = self.draft is not None and self.draft.kind != "search"
        if drafting:
            pattern, style = (self._drafted.pattern if self._drafted is not None else ""), "u b"
        else:
            pattern, style = self.finder.pattern, "r"
        found = text_pattern(pattern)
        return [] if found is None else [(found, style)]

    def tone(self, line: LogLine) -> Literal["plain", "kept", "gone"]:
        """What the filter being typed would do with a line."""
        if self.draft is None or self.draft.kind == "search" or self._drafted is None:
            return "plain"
        found = self._drafted.test(line.message)
        if self.draft.kind == "exclude":
            return "gone" if found else "plain"
        return "kept" if found else "gone"

    # -- where one is ----------------------------------------------------------------------------------------

    def look(self, height: int, budget: int = BUDGET) -> bool:
        """Read what `height` screen lines need. False where the budget ended before: look again soon."""
        self._go_to_match()
        if self.following or self.cursor is None:
            self._reach.newest_lines(height, budget)
            return self._reach.satisfied(None, height)
        self._reach.around(self.cursor, height, height, budget)
        return self._reach.satisfied(self.cursor, height, height)

    def shown(self, height: int) -> tuple[list[LogLine], int]:
        """The lines for `height` screen lines and which of them is the cursor's; -1 while following."""
        lines = self._reach.lines
        if self.following or self.cursor is None:
            return lines[-height:], -1
        if not lines:
            return [], -1
        at = min(self._reach.index(self.cursor), len(lines) - 1)
        self.offset = max(0, min(self.offset, height - 1, at))
        top = max(0, min(at - self.offset, len(lines) - height))
        self.offset = at - top
        return lines[top : top + height], self.offset

    def current(self) -> LogLine | None:
        """The line under the cursor; the newest while following."""
        lines = self._reach.lines
        if not lines:
            return None
        if self.following or self.cursor is None:
            return lines[-1]
        return lines[min(self._reach.index(self.cursor), len(lines) - 1)]

    def sample(self, count: int = 300) -> list[LogLine]:
        """Lines around the cursor, to see what they are made of."""
        lines = self._reach.lines
        if self.cursor is None:
            return lines[-count:]
        at = self._reach.index(self.cursor)
        return lines[max(0, at - count // 2) : at + count // 2]

    def whole_from(self) -> float | None:
        """Since when the lines of every chosen replica are held; before that some may be missing."""
        first: dict[str, float] = {}
        for one in self.store.streams():
            if one.first_ts is not None and (self.replicas is None or one.replica in self.replicas):
                first[one.replica] = min(one.first_ts, first.get(one.replica, one.first_ts))
        return max(first.values(), default=None)

    def pause(self, height: int = 1) -> None:
        """Stay here; what comes is held and counted."""
        self._read_anew(height)
        line = self.current()
        if self.following and line is not None:
            self.following, self.cursor, self.offset = False, line.key, height - 1
            self._paused_at = self.received()

    def _read_anew(self, height: int) -> None:
        """A key may come when what is read has just changed and was not painted since."""
        if not self._reach.lines:
            self.look(height)

    def follow(self) -> None:
        """Go with the newest line."""
        self.following, self.cursor = True, None

    def toggle(self, height: int) -> None:
        """`space`."""
        if self.following:
            self.pause(height)
        else:
            self.follow()

    def move(self, delta: int, height: int) -> None:
        """The cursor so many lines down; past the newest line one follows again."""
        if self.following:
            if delta >= 0:
                return
            self.pause(height)
        self._read_anew(height)
        if self.cursor is None or not self._reach.lines:
            return
        lines = self._reach.lines
        at = min(self._reach.index(self.cursor), len(lines) - 1)
        if delta > 0 and at == len(lines) - 1 and self._reach.newest:
            self.follow()
            return
        to = max(0, min(len(lines) - 1, at + delta))
        self.cursor = lines[to].key
        if abs(delta) < height - 1:
            self.offset = max(0, min(height - 1, self.offset + to - at))

    def page(self, direction: int, height: int) -> None:
        """A screen up or down, the cursor staying on its screen line."""
        self.move(direction * max(1, height - 1), height)

    def oldest(self) -> None:
        """The oldest held line that matches."""
        self.go_to(START, 0)

    def go_to(self, key: LogKey, offset: int) -> None:
        """Put the cursor there, paused."""
        if self.following:
            self._paused_at = self.received()
        self.following, self.cursor, self.offset = False, key, offset

    def go_to_time(self, ts: float, height: int) -> None:
        """The first matching line from that instant on."""
        self.go_to((ts, -1, -1), height // 3)

    def scroll(self, cells: int) -> None:
        """Left or right in long lines."""
        self.x = 0 if self.wrap else max(0, self.x + cells)

    def toggle_wrap(self) -> None:
        self.wrap, self.x = not self.wrap, 0

    # -- searching -------------------------------------------------------------------------------------------

    def next_match(self, direction: int, height: int) -> None:
        """`n` and `N`: go there as soon as the search knows it."""
        self.pause(height)
        line = self.current()
        if line is not None:
            self.finder.want(direction, line.key)
            self.search_now()
            self._go_to_near_match()

    def _go_to_near_match(self) -> None:
        """A match among the lines that were read is gone to at once."""
        pattern, lines = self.finder.pattern, self._reach.lines
        if self.finder.wanted is None or not pattern or not lines:
            return
        direction, key = self.finder.wanted
        test = Matcher(pattern).test
        at = self._reach.index(key)
        ahead = reversed(lines[:at]) if direction < 0 else iter(lines[at:])
        found = next((line.key for line in ahead if line.key != key and test(line.message)), None)
        if found is not None:
            self.finder.wanted = None
            self._show_match(found)

    def _go_to_match(self) -> None:
        """A match that was wanted is known now. Where there was none among the lines that the search saw, those
        that came since are searched too, once."""
        key = self.finder.arrived()
        if key is not None:
            self._show_match(key)
        else:
            self.finder.look_again(self.store, self.query())

    def _show_match(self, key: LogKey) -> None:
        lines = self._reach.lines
        near = self.cursor is not None and bool(lines) and lines[0].key <= key <= lines[-1].key
        if near and self.cursor is not None:
            self.go_to(key, self.offset + self._reach.index(key) - self._reach.index(self.cursor))
        else:
            self.go_to(key, 8)

    # -- counting --------------------------------------------------------------------------------------------

    def counts(self) -> Counts:
        """Of the chosen replicas: what is held, what was let go, what never came."""
        chosen = [one for one in self.store.streams() if self.replicas is None or one.replica in self.replicas]
        return Counts(
            held=sum(one.lines for one in chosen),
            dropped=sum(one.dropped for one in chosen),
            lost=sum(one.lost for one in chosen),
        )

    def received(self) -> int:
        """Lines of the chosen replicas that ever came."""
        counts = self.counts()
        return counts.held + counts.dropped

    def below(self) -> int:
        """Lines that came since it was paused."""
        return 0 if self.following else max(0, self.received() - self._paused_at)
