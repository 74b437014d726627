"""Rates without losing or double counting anything: counts per whole second, and windows of closed seconds.

Owns the one definition of "per second" for events that are learnt of a little late (a request is recorded after
its end). A second is **closed** once it ended at least `SETTLE_S` ago; rates cover closed seconds only, so that
they are exact and never change afterwards. What is learnt of later than that belongs to the oldest second still
open: the sum over all seconds is always the number of events. Knows no clock: instants are passed in.
"""

from __future__ import annotations

import math
from typing import Final

SETTLE_S: Final = 0.5
"""How long after its end a second stays open. The edge's log reaches the ledger within 0.25 s."""


def closed_second(now: float) -> int:
    """The newest whole second that is closed at `now`; second `n` covers n <= ts < n + 1."""
    return math.floor(now - SETTLE_S) - 1


def second_of(ts: float, now: float) -> int:
    """The second an event of instant `ts`, learnt of at `now`, is counted in: always one that is open."""
    return min(max(math.floor(ts), closed_second(now) + 1), math.floor(now))


class SecondCounts:
    """Amounts per whole second over the last `keep_s` seconds. Memory is constant."""

    __slots__ = ("_amounts", "_seconds", "keep_s")

    def __init__(self, keep_s: int = 64) -> None:
        self.keep_s = keep_s
        self._amounts = [0.0] * keep_s
        self._seconds = [-1] * keep_s

    def add(self, second: int, amount: float = 1.0) -> None:
        """Count `amount` in `second`; one older than what is kept is forgotten at once."""
        at = second % self.keep_s
        if self._seconds[at] > second:
            return
        if self._seconds[at] < second:
            self._seconds[at], self._amounts[at] = second, 0.0
        self._amounts[at] += amount

    def spread(self, began: float, now: float, amount: float) -> None:
        """Count `amount` that came about evenly between `began` and `now`, as learnt of at `now`: each second gets
        its share, those that are closed leave theirs to the oldest that is open."""
        first, last = second_of(began, now), second_of(now, now)
        length = now - max(began, float(first))
        if first == last or length <= 0.0:
            self.add(last, amount)
            return
        for second in range(first, last + 1):
            inside = min(now, second + 1.0) - max(began, float(second))
            self.add(second, amount * inside / length)

    def total(self, last: int, seconds: int) -> float:
        """The sum over the `seconds` seconds that end with second `last`, included."""
        if not 0 < seconds <= self.keep_s:
            raise ValueError(f"{seconds} s is not within the {self.keep_s} s that are kept")
        return sum(self._at(second) for second in range(last - seconds + 1, last + 1))

    def per_second(self, now: float, seconds: int) -> float:
        """The rate over the newest `seconds` closed seconds."""
        return self.total(closed_second(now), seconds) / seconds

    def _at(self, second: int) -> float:
        at = second % self.keep_s
        return self._amounts[at] if self._seconds[at] == second else 0.0
