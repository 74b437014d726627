"""Steps that failed: when each may be tried again, and whether its problem is news. Owns the waits; reads no clock."""

from __future__ import annotations

from typing import Final

import msgspec

from backend.reconcile.plan import Step

FIRST_RETRY_S: Final = 0.5
LAST_RETRY_S: Final = 10.0


class _Failure(msgspec.Struct, frozen=True):
    delay_s: float
    until_mono_s: float
    problem: str


class FailedSteps:
    """Each step waits twice as long after each failure in a row, up to `LAST_RETRY_S`."""

    def __init__(self) -> None:
        self._failures: dict[Step, _Failure] = {}

    def is_due(self, step: Step, mono_s: float) -> bool:
        """Whether it may be tried (again) at that instant."""
        known = self._failures.get(step)
        return known is None or mono_s >= known.until_mono_s

    def failed(self, step: Step, problem: str, mono_s: float) -> bool:
        """It failed at that instant; whether nobody has been told of this problem yet."""
        known = self._failures.get(step)
        delay_s = FIRST_RETRY_S if known is None else min(known.delay_s * 2, LAST_RETRY_S)
        self._failures[step] = _Failure(delay_s, mono_s + delay_s, problem)
        return known is None or known.problem != problem

    def worked(self, step: Step) -> None:
        """It was done: a later failure is a first one."""
        self._failures.pop(step, None)
