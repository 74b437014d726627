"""A clock that moves when told to."""

from __future__ import annotations


class FakeClock:
    """Starts at wall 1,000,000 s and monotonic 1,000 s."""

    def __init__(self) -> None:
        self.wall, self.monotonic = 1_000_000.0, 1_000.0

    def now(self) -> float:
        return self.wall

    def mono(self) -> float:
        return self.monotonic

    def advance(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds
