"""A wait that is cancelled ends, also when the event is set at the same instant."""

from __future__ import annotations

import asyncio

from backend.fleet.supervision.waiting import is_set_within


async def test_it_says_whether_the_event_came() -> None:
    event = asyncio.Event()
    assert not await is_set_within(event, 0.01)
    asyncio.get_running_loop().call_later(0.01, event.set)
    assert await is_set_within(event, None)
    assert await is_set_within(event, 0.0)


async def test_a_cancellation_that_meets_the_event_is_kept() -> None:
    event, turns = asyncio.Event(), 0

    async def loop() -> None:
        nonlocal turns
        while turns < 5:
            turns += 1
            await is_set_within(event, 60.0)

    task = asyncio.create_task(loop())
    await asyncio.sleep(0)
    event.set()
    for _ in range(3):  # the instants around its waking
        task.cancel()
        await asyncio.sleep(0)
    await asyncio.wait([task], timeout=60.0)
    assert task.cancelled()


async def test_in_each_instant_around_its_waking() -> None:
    for turns_before in range(6):
        event = asyncio.Event()

        async def loop(event: asyncio.Event = event) -> None:
            while True:
                await is_set_within(event, 60.0)
                event.clear()

        task = asyncio.create_task(loop())
        await asyncio.sleep(0.001)
        event.set()
        for _ in range(turns_before):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=60.0)
        assert task.done() and task.cancelled(), turns_before
