"""What drills and people have arranged for one replica, none of which outlives the daemon.

Owns the splice, and which deaths and failing probes are put down to a fault of ours. Decides nothing.
"""

from __future__ import annotations

from typing import Final

import msgspec

from backend.contract.clock import Clock

_OWN_SIGNAL_S: Final = 10.0
"""How long after our own signal an exit is put down to it."""


class Splice(msgspec.Struct, frozen=True, kw_only=True):
    """The ports of the fault proxy in front of a replica; without a health port, health is asked straight."""

    port: int
    health_port: int | None = None


class DrillMarks:
    """One replica's."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.splice: Splice | None = None
        self._expected: tuple[int, float] | None = None
        self._held: dict[str, float] = {}
        """Fault -> until when (monotonic) a probe may fail because of it."""

    def expect_death(self, pid: int, within_s: float = _OWN_SIGNAL_S) -> None:
        """The next end of that process within that time is ours and no crash."""
        self._expected = (pid, self._clock.mono() + within_s)

    def expect_none(self) -> None:
        """The death that was announced will not come."""
        self._expected = None

    def expected(self, pid: int | None) -> bool:
        """Whether the end of that process was announced."""
        return self._expected is not None and self._expected[0] == pid and self._clock.mono() <= self._expected[1]

    def hold(self, fault_id: str, for_s: float) -> None:
        """A fault is in place, or was until now: probes may fail because of it that long."""
        self._held[fault_id] = self._clock.mono() + for_s

    def holds(self, fault_id: str) -> bool:
        return fault_id in self._held

    def at_work(self) -> bool:
        """Whether a fault or a splice may be why its probes fail now."""
        now_s = self._clock.mono()
        return self.splice is not None or any(until_s > now_s for until_s in self._held.values())

    def forget_process(self) -> None:
        """A new process: what was held at the old one has ended with that."""
        self._expected = None
        self.forget_faults()

    def forget_faults(self) -> None:
        self._held.clear()
