"""Waiting for a condition by looking at it often."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from backend.contract.clock import Clock


async def until(clock: Clock, timeout_s: float, period_s: float, true: Callable[[], bool]) -> float | None:
    """The instant `true` first held, or None after the timeout."""
    end = clock.mono() + timeout_s
    while True:
        if true():
            return clock.mono()
        if clock.mono() >= end:
            return None
        await asyncio.sleep(period_s)
