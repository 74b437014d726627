"""The retry budget's numbers, on which edge and daemon must agree: how many extra attempts are allowed."""

from __future__ import annotations

from typing import Final

EXTRA_SHARE: Final = 0.1
"""Extra attempts allowed for each request of the window."""
SMALLEST_RESERVE: Final = 10
"""Extra attempts allowed in a window however few requests there were."""


def budget_reserve(slots: int) -> int:
    """Extra attempts of a window that need no requests to earn them: what two replicas of `slots` concurrent
    requests hold when they die, so that requests lost to ordinary deaths are always tried again."""
    return max(SMALLEST_RESERVE, 2 * slots)


def allowed_extra(requests: int, slots: int) -> int:
    """Extra attempts allowed in a window with `requests` requests."""
    return int(requests * EXTRA_SHARE) + budget_reserve(slots)
