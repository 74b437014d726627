"""Streams: the newest snapshot and every event, at each reader's own pace."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from backend.contract.control import Frame
from backend.contract.deltas import apply_delta
from backend.contract.rows import LogRow
from backend.daemon.streams import Hub
from tests.unit.console.sample import action, event, replica, snapshot

LATE_S, PATIENCE_S = 600.0, 30.0
"""An interval whose frame would come too late for who waits so long: what comes before was sent for a cause."""


class Counting:
    """Makes numbered snapshots."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self):  # type: ignore[no-untyped-def]  # a Snapshot
        self.made += 1
        return snapshot(seq=self.made)


async def test_the_first_frame_comes_at_once_and_frames_are_numbered() -> None:
    hub = Hub(Counting())
    async with aclosing(hub.frames(LATE_S)) as frames:  # type: ignore[type-var]
        first = await asyncio.wait_for(anext(frames), PATIENCE_S)
        assert (first.seq, hub.count) == (1, 1)
        hub.publish(event(1))
        second = await asyncio.wait_for(anext(frames), PATIENCE_S)
        assert (second.seq, [e.seq for e in second.events]) == (2, [1])
    assert hub.count == 0


async def test_events_that_come_together_leave_together() -> None:
    hub = Hub(Counting())
    async with aclosing(hub.frames(LATE_S)) as frames:  # type: ignore[type-var]
        await anext(frames)
        waiting = asyncio.create_task(anext(frames))
        await asyncio.sleep(0)
        for number in range(50):
            hub.publish(event(number))
        hub.publish(action("a1"))
        frame: Frame = await asyncio.wait_for(waiting, PATIENCE_S)
    assert [e.seq for e in frame.events] == list(range(50))
    assert [a.id for a in frame.actions] == ["a1"]
    assert frame.missed_events == 0


async def test_a_slow_reader_costs_one_frame_and_is_told_what_it_missed() -> None:
    made = Counting()
    hub = Hub(made)
    async with aclosing(hub.frames(0.1)) as slow, aclosing(hub.frames(0.1)) as fast:  # type: ignore[type-var]
        await anext(slow)
        await anext(fast)
        before = made.made
        for number in range(1, 1301):
            hub.publish(event(number))
        assert made.made == before, "no snapshot is made for a reader that is not ready"
        frame = await anext(slow)
        assert frame.missed_events == 300
        assert [e.seq for e in frame.events] == list(range(301, 1301)), "the newest are kept, in order"
        hub.publish(event(1301))
        after = await anext(slow)
        assert (after.missed_events, [e.seq for e in after.events]) == (0, [1301])
        mine = await anext(fast)
        assert mine.missed_events == 301, "each reader has its own count"


async def test_without_events_a_frame_comes_each_interval() -> None:
    hub = Hub(Counting())
    async with aclosing(hub.frames(0.1)) as frames:  # type: ignore[type-var]
        began = asyncio.get_running_loop().time()
        for _ in range(4):
            await anext(frames)
        assert asyncio.get_running_loop().time() - began >= 0.25, "and none before"


async def test_a_nudge_sends_the_next_frame_now() -> None:
    hub = Hub(Counting())
    async with aclosing(hub.frames(LATE_S)) as frames:  # type: ignore[type-var]
        await anext(frames)
        hub.nudge()
        assert (await asyncio.wait_for(anext(frames), PATIENCE_S)).seq == 2


async def test_close_ends_every_stream() -> None:
    hub = Hub(Counting())

    async def read() -> int:
        return len([frame async for frame in hub.frames(LATE_S)])

    readers = [asyncio.create_task(read()) for _ in range(3)]
    await asyncio.sleep(0)  # each takes its first frame
    assert hub.count == 3
    hub.close()
    assert await asyncio.wait_for(asyncio.gather(*readers), PATIENCE_S) == [1, 1, 1]
    assert hub.count == 0


async def test_other_rows_wake_nobody() -> None:
    hub = Hub(Counting())
    async with aclosing(hub.frames(LATE_S)) as frames:  # type: ignore[type-var]
        await anext(frames)
        hub.publish(LogRow(ts=1.0, replica="llm-0", stream="stderr", message="x"))  # type: ignore[arg-type]
        waiting = asyncio.create_task(anext(frames))
        done, _ = await asyncio.wait({waiting}, timeout=0.2)
        assert not done
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_who_asks_for_deltas_gets_one_whole_snapshot_and_then_what_changed_since() -> None:
    shown = snapshot(seq=1)
    hub = Hub(lambda: shown)
    async with (
        aclosing(hub.frames(LATE_S, deltas=True)) as frames,  # type: ignore[type-var]
        aclosing(hub.frames(LATE_S)) as whole,  # type: ignore[type-var]
    ):
        first = await anext(frames)
        assert (first.snapshot, first.delta) == (shown, None)
        await anext(whole)
        before, shown = shown, snapshot(seq=2, replicas=(shown.replicas[0], replica("llm-1", restarts=1)))
        hub.nudge()
        second = await asyncio.wait_for(anext(frames), PATIENCE_S)
        assert second.snapshot is None
        assert second.delta is not None
        assert [view.status.name for view in second.delta.changed] == ["llm-1"]
        assert apply_delta(before, second.delta) == shown
        assert (await asyncio.wait_for(anext(whole), PATIENCE_S)).snapshot == shown, "the other one did not ask for it"
        shown = snapshot(seq=3, replicas=tuple(reversed(shown.replicas)))
        hub.nudge()
        third = await asyncio.wait_for(anext(frames), PATIENCE_S)
        assert (third.snapshot, third.delta) == (shown, None), "another order is told whole"
