"""Time as an argument, so that tests own it."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Wall time for people, monotonic time for intervals."""

    def now(self) -> float:
        """POSIX seconds."""
        ...

    def mono(self) -> float:
        """CLOCK_MONOTONIC seconds; comparable between processes of one machine and boot."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> float:
        return time.time()

    def mono(self) -> float:
        return time.monotonic()
