"""When a respawning shim starts its program again. Pure."""

from __future__ import annotations

from typing import Final

from backend.contract.fleet import ExitRecord

QUICK_S: Final = 1.0
WINDOW_S: Final = 10.0
QUICK_EXITS: Final = 5
FIRST_DELAY_S: Final = 0.1
MAX_DELAY_S: Final = 5.0


def is_quick(record: ExitRecord, lived_s: float) -> bool:
    """Whether an exit speaks against the program itself: it ended within a second and nobody killed it."""
    return lived_s < QUICK_S and record.reason != "Killed"


class RespawnDelay:
    """At once, until five quick exits fell within ten seconds; from then doubling up to five seconds.

    An exit that was not quick, or a window without one, resets it.
    """

    def __init__(self) -> None:
        self._exits: list[float] = []
        self._delay_s = 0.0

    def after_exit(self, mono_s: float, *, quick: bool) -> float:
        """Seconds to wait after an exit at monotonic `mono_s`."""
        if not quick or (self._exits and mono_s - self._exits[-1] > WINDOW_S + self._delay_s):
            self._exits.clear()
            self._delay_s = 0.0
        if not quick:
            return 0.0
        self._exits = [at for at in self._exits if mono_s - at <= WINDOW_S] + [mono_s]
        if self._delay_s:
            self._delay_s = min(MAX_DELAY_S, self._delay_s * 2)
        elif len(self._exits) >= QUICK_EXITS:
            self._delay_s = FIRST_DELAY_S
        return self._delay_s
