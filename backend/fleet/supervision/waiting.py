"""Waiting for an event for a while. Owns why it is not asyncio.wait_for."""

from __future__ import annotations

import asyncio


async def is_set_within(event: asyncio.Event, seconds: float | None) -> bool:
    """Whether it is set within that time (null: however long that takes).

    Until Python 3.12 asyncio.wait_for forgets a cancellation that comes when the event was just set: a loop around it
    then goes on, and whoever cancelled it waits for ever."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
