"""How long a replica that ended waits before its next start. Pure."""

from __future__ import annotations

from typing import Final

STABLE_S: Final = 10.0
"""Ready for this long before its end, and a replica's earlier exits are forgotten."""
MAX_DELAY_S: Final = 30.0


class CrashBackoff:
    """0 s after the first exit, then 1, 2, 4 … 30 s for exits that follow each other without a stable time between."""

    def __init__(self, crashes: int = 0) -> None:
        self.crashes = crashes
        """Counted exits since it last was stable."""

    def after_exit(self, ready_for_s: float | None) -> float:
        """Seconds to wait after a counted exit of a process that had been Ready for `ready_for_s` (null: never)."""
        if ready_for_s is not None and ready_for_s >= STABLE_S:
            self.crashes = 0
        self.crashes += 1
        return 0.0 if self.crashes == 1 else min(MAX_DELAY_S, 2.0 ** min(self.crashes - 2, 10))
