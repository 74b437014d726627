"""When a respawning shim starts its program again. Pure."""

from __future__ import annotations

from typing import Final

WINDOW_S: Final = 10.0
QUICK_EXITS: Final = 5
FIRST_DELAY_S: Final = 0.1
MAX_DELAY_S: Final = 5.0


class RespawnDelay:
    """At once, until five exits fell within ten seconds; from then doubling up to five seconds.

    A window without an exit resets it.
    """

    def __init__(self) -> None:
        self._exits: list[float] = []
        self._delay_s = 0.0

    def after_exit(self, mono_s: float) -> float:
        """Seconds to wait after an exit at monotonic `mono_s`."""
        if self._exits and mono_s - self._exits[-1] > WINDOW_S + self._delay_s:
            self._exits.clear()
            self._delay_s = 0.0
        self._exits = [at for at in self._exits if mono_s - at <= WINDOW_S] + [mono_s]
        if self._delay_s:
            self._delay_s = min(MAX_DELAY_S, self._delay_s * 2)
        elif len(self._exits) >= QUICK_EXITS:
            self._delay_s = FIRST_DELAY_S
        return self._delay_s
