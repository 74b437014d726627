"""Counters of engines over the lives of their processes, and whether an engine gets anywhere.

Owns the arithmetic of resets and of progress; pure state, no I/O, no clock.
"""

from __future__ import annotations

import msgspec


class CounterMemory:
    """One counter of one replica. Says how much each reading adds, so that sums over restarts stay right."""

    __slots__ = ("_generation", "_last", "seen")

    def __init__(self) -> None:
        self._last: float | None = None
        self._generation: float | None = None
        self.seen = 0.0
        """What was accounted for of the present process."""

    def prime(self, seen: float, generation: float | None) -> None:
        """Go on from what an earlier daemon had accounted for of the same process."""
        self._last, self._generation, self.seen = 0.0, generation, seen

    def increase(self, value: float, generation: float | None, *, fresh: bool, ahead: float = 0.0) -> float:
        """How much was added since the reading before, never less than 0.

        `generation` names the process: another one, or a value that fell, began at 0, so all of it is new. The
        first reading ever counts only where the process is `fresh`, that is, began while somebody was watching.
        `ahead` is what the engine has done but not yet added to its counter (tokens of running requests); where it
        shrinks before the counter rises the difference is not counted twice.
        """
        if self._last is None:
            self.seen = 0.0 if fresh else value + ahead
        elif generation != self._generation or value < self._last:
            self.seen = 0.0
        self._last, self._generation = value, generation
        added = max(value + ahead - self.seen, 0.0)
        self.seen += added
        return added


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a replica's engine gets anywhere. A hang is `busy` with a heartbeat that stands still."""

    busy: bool
    """Work in a slot at the newest answer."""
    advanced_mono_s: float
    """Monotonic seconds when the heartbeat was last seen to move; while idle, of the newest answer."""
    answered_mono_s: float
    """Monotonic seconds of the newest answer."""
    slowest_step_s: float = 0.0
    """The longest time the heartbeat stood still while busy and then moved. At least a scrape period."""
    unanswered: int = 0
    """Questions in a row without an answer."""

    def after(self, *, mono_s: float, busy: bool, moved: bool) -> Progress:
        """The progress after one more answer. Idle counts as an advance: there was nothing to do."""
        stood_s = mono_s - self.advanced_mono_s
        return Progress(
            busy=busy,
            advanced_mono_s=mono_s if moved or not busy else self.advanced_mono_s,
            answered_mono_s=mono_s,
            slowest_step_s=max(self.slowest_step_s, stood_s) if moved and busy and self.busy else self.slowest_step_s,
        )

    def without_answer(self) -> Progress:
        """The progress after a question that got no answer: nothing is known, nothing changes but the count."""
        return msgspec.structs.replace(self, unanswered=self.unanswered + 1)
