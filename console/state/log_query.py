"""Which lines are wanted, and what a look at them gives: the query, pages and stream facts. Pure."""

from __future__ import annotations

import msgspec

from backend.contract.errors import UsageError
from console.state.log_line import LogKey, LogLine
from console.state.log_pattern import LineFilter

LIVES = ("all", "previous", "current")


class LogQuery(msgspec.Struct, frozen=True):
    """Wanted lines. `include`: one of these must match (none: all lines); `exclude`: none of these may.

    Patterns are regular expressions over the message, without regard to case unless they hold a capital."""

    replicas: frozenset[str] | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    levels: frozenset[str] | None = None
    """Levels as LogRow has them; a line without one is kept if "" is among them."""
    incarnation: str = "all"
    """`all` lives of each replica, the `current` one, or the `previous`: the one before it that wrote something."""
    since_ts: float | None = None
    until_ts: float | None = None

    def line_filter(self, *, must: str | None = None) -> LineFilter:
        """Its tests of single lines; `must` is a pattern that has to match besides. Raises UsageError."""
        if self.incarnation not in LIVES:
            raise UsageError(f"There is no incarnation `{self.incarnation}`.", f"Choose one of {', '.join(LIVES)}.")
        return LineFilter(self.include, self.exclude, self.levels, must=must)


EVERYTHING = LogQuery()


class StreamInfo(msgspec.Struct, frozen=True):
    """What is held of one life of a replica."""

    number: int
    replica: str
    incarnation: int
    lines: int
    first_ts: float | None
    last_ts: float | None
    lost: int
    dropped: int


class Page(msgspec.Struct, frozen=True):
    """Lines of the merged log, oldest first."""

    lines: list[LogLine]
    next_key: LogKey | None
    """Where to go on in the same direction. Looking back, None says that nothing older is held; looking forward it is
    None only where nothing is held at all, so that a follower can come again with it."""
    scanned_lines: int
    complete: bool
    """False when the budget ended the look before the limit was reached or the end was seen."""
