"""Waiting for what comes on a screen under test: as often and as long as the slowest machine needs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from textual.pilot import Pilot

LOOKS = 400
AT_LEAST_S = 30.0
"""Both must be over before something never comes: a machine that stands still takes time and looks at nothing, and one
that is slow takes long for what another machine computes, or a process of ours does, beside the event loop."""


async def comes(met: Callable[[], Any], pilot: Pilot[Any], every_s: float = 0.02) -> bool:
    """Whether it is so before nobody waits any longer."""
    end, looks = time.monotonic() + AT_LEAST_S, 0
    while not met():
        if looks >= LOOKS and time.monotonic() > end:
            return False
        looks += 1
        await pilot.pause(every_s)
    return True
