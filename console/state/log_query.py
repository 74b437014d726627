"""Which lines are wanted, and what a look at them gives: the query, its compiled form, pages and stream facts. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from backend.contract.errors import UsageError
from console.state.log_line import LogKey, LogLine
from console.state.log_pattern import Matcher

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


class LineFilter:
    """A query's tests of single lines, compiled. Raises UsageError for a bad pattern or an unknown life."""

    def __init__(self, query: LogQuery, *, must: str | None = None) -> None:
        """`must`: a pattern that has to match besides, a search's."""
        if query.incarnation not in LIVES:
            raise UsageError(f"There is no incarnation `{query.incarnation}`.", f"Choose one of {', '.join(LIVES)}.")
        self.include = [Matcher(pattern) for pattern in query.include]
        self.exclude = [Matcher(pattern) for pattern in query.exclude]
        self.must = None if must is None else Matcher(must)
        self.levels = query.levels
        self.keeps_all = self.must is None and not self.include and not self.exclude and query.levels is None

    def kept(self, messages: list[bytes]) -> Sequence[int]:
        """The indexes of the wanted ones, rising."""
        kept: Sequence[int] = range(len(messages))
        if self.keeps_all:
            return kept
        if self.must is not None:
            kept = self.must.hits(messages)
        if self.include and kept:
            wanted = {index for matcher in self.include for index in _among(matcher, messages, kept)}
            kept = sorted(wanted)
        for matcher in self.exclude:
            if kept:
                gone = set(_among(matcher, messages, kept))
                kept = [index for index in kept if index not in gone]
        if self.levels is not None:
            levels = self.levels
            kept = [index for index in kept if (message_level(messages[index]) or "") in levels]
        return kept


def _among(matcher: Matcher, messages: list[bytes], asked: Sequence[int]) -> Sequence[int]:
    """Those of the asked messages that match."""
    if len(asked) == len(messages):
        return matcher.hits(messages)
    return [asked[hit] for hit in matcher.hits([messages[index] for index in asked])]


def message_level(message: bytes) -> str | None:
    """The level a message names."""
    from backend.contract.log_lines import Piece, to_row

    return to_row("", Piece(0.0, "", True, message)).level
