"""The playhead on the recorded time: where it is, how much of the time is seen, what it can step to. Pure.

Owns the arithmetic of the axis and the order of what happened; asks nobody, draws nothing.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from typing import Final, Literal

import msgspec

from backend.contract.rows import ActionRow, EventRow
from backend.contract.words import ActionOutcome, Severity
from console.state.store import ALARMING

SPEEDS: Final = (0, 1, 4, 16)
"""Seconds a second while it plays; 0 stands."""
LEAST_WINDOW_S: Final = 20.0

Kind = Literal["alarm", "action", "drill", "event"]
KINDS: Final[tuple[Kind, ...]] = ("alarm", "action", "drill", "event")
"""In order of importance."""


class Happening(msgspec.Struct, frozen=True):
    """Something one can step to."""

    ts: float
    kind: Kind
    words: str
    row: EventRow | ActionRow


def happenings(events: Iterable[EventRow], actions: Iterable[ActionRow]) -> list[Happening]:
    """Events, and actions where they began, in order of time. What repeats an action or only helps debugging is not."""
    found = [
        Happening(row.ts, _kind(row), row.message, row)
        for row in events
        if row.severity != Severity.DEBUG and not row.kind.startswith("action.")
    ]
    began: dict[str, float] = {}
    newest: dict[str, ActionRow] = {}
    for row in actions:
        began[row.id] = min(row.ts, began.get(row.id, row.ts))
        if row.id not in newest or row.outcome != ActionOutcome.RUNNING:
            newest[row.id] = row
    found += [
        Happening(began[row.id], "action", f"{row.actor} {row.verb} {row.target}".rstrip(), row)
        for row in newest.values()
    ]
    return sorted(found, key=lambda one: one.ts)


def _kind(row: EventRow) -> Kind:
    if row.severity in ALARMING:
        return "alarm"
    return "drill" if row.kind.startswith("drill.") else "event"


class Scrub:
    """`ts` is the wanted instant, `first` to `last` what is recorded, `low` to `high` what the axis shows."""

    def __init__(self, first: float, last: float) -> None:
        self.first, self.last = first, max(first, last)
        self.low, self.high = self.first, max(self.last, self.first + LEAST_WINDOW_S)
        self.ts = self.last
        self.speed = 0
        self.at: Happening | None = None
        """What was stepped to, while the playhead is still there."""

    @property
    def span(self) -> float:
        """Seconds that the axis shows."""
        return self.high - self.low

    def reach(self, first: float, last: float) -> None:
        """More was recorded, or the oldest was given up. An axis that showed all goes on showing all."""
        whole = self.low <= self.first and self.high >= self.last
        self.first, self.last = first, max(first, last)
        if whole:
            self.low, self.high = self.first, max(self.last, self.first + LEAST_WINDOW_S)
        else:
            self._look_from(self.low)
        self.move_to(self.ts)

    def move_to(self, ts: float) -> None:
        """Put the playhead there, within what is recorded; the axis follows it."""
        self.ts = max(self.first, min(self.last, ts))
        if self.at is not None and self.at.ts != self.ts:
            self.at = None
        if not self.low <= self.ts <= self.high:
            self._look_from(self.ts - self.span / 2)

    def step_to(self, found: Sequence[Happening], direction: int) -> Happening | None:
        """The next (1) or the previous (-1) thing that happened; None where there is none."""
        if self.at is not None and self.at in found:
            index = found.index(self.at) + direction
        elif direction > 0:
            index = bisect.bisect_right(found, self.ts, key=lambda one: one.ts)
        else:
            index = bisect.bisect_left(found, self.ts, key=lambda one: one.ts) - 1
        if not 0 <= index < len(found) or not self.first <= found[index].ts <= self.last:
            return None
        self.at = found[index]
        self.move_to(self.at.ts)
        return self.at

    def here(self, found: Sequence[Happening]) -> Happening | None:
        """What was stepped to, or the last thing that happened by the playhead."""
        if self.at is not None:
            return self.at
        index = bisect.bisect_right(found, self.ts, key=lambda one: one.ts)
        return found[index - 1] if index else None

    def zoom(self, factor: float) -> None:
        """Less (below 1) or more of the time, around the playhead."""
        span = max(LEAST_WINDOW_S, min(self.last - self.first, self.span * factor))
        share = (self.ts - self.low) / self.span
        self.high = self.low + span
        self._look_from(self.ts - share * span)

    def _look_from(self, low: float) -> None:
        """Move what is seen, keeping its span, within what is recorded."""
        span = self.span
        self.low = max(self.first, min(low, self.last - span))
        self.high = self.low + span

    def play(self) -> None:
        """Faster, and after the fastest it stands."""
        self.speed = SPEEDS[(SPEEDS.index(self.speed) + 1) % len(SPEEDS)]

    # -- cells -----------------------------------------------------------------------------------------------

    def column_of(self, ts: float, columns: int) -> int | None:
        """The cell of an instant; None where the axis does not show it."""
        if not self.low <= ts <= self.high or columns < 1:
            return None
        return min(columns - 1, int((ts - self.low) / self.span * columns))

    def in_column(self, found: Sequence[Happening], column: int, columns: int) -> Happening | None:
        """What happened in a cell: the gravest, and of those the last."""
        there = [one for one in found if self.column_of(one.ts, columns) == column]
        return min(reversed(there), key=lambda one: KINDS.index(one.kind), default=None)

    def ts_at(self, column: int, columns: int) -> float:
        """The instant in the middle of a cell."""
        return self.low + (column + 0.5) / max(1, columns) * self.span
