"""Streams to consoles: each subscriber gets the newest snapshot and every event, at its own pace.

A slow subscriber costs one pending frame: snapshots are made when it is ready to take one, events wait in a
bounded queue and what does not fit is counted. Who asked for deltas gets what changed since the snapshot that it was
sent last. Owns no snapshot logic.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from backend.contract.control import Frame, Snapshot
from backend.contract.deltas import make_delta
from backend.contract.rows import ActionRow, EventRow, Row

_MAX_WAITING = 1000
GATHER_S = 0.05
"""Events that come together leave together."""


class Subscriber:
    """One open stream. With `deltas` it is sent differences after its first snapshot."""

    def __init__(self, *, deltas: bool = False) -> None:
        self._deltas = deltas
        self._sent: Snapshot | None = None
        self.wake = asyncio.Event()
        self.events: deque[EventRow] = deque()
        self.actions: deque[ActionRow] = deque()
        self.missed = 0

    def offer(self, row: Row) -> None:
        queue: deque[EventRow] | deque[ActionRow]
        if isinstance(row, EventRow):
            queue = self.events
            self.events.append(row)
        elif isinstance(row, ActionRow):
            queue = self.actions
            self.actions.append(row)
        else:
            return
        if len(queue) > _MAX_WAITING:
            queue.popleft()
            self.missed += 1
        self.wake.set()

    def take(self, seq: int, snapshot: Snapshot) -> Frame:
        delta = make_delta(self._sent, snapshot) if self._sent is not None else None
        self._sent = snapshot if self._deltas else None
        frame = Frame(
            seq=seq,
            snapshot=snapshot if delta is None else None,
            delta=delta,
            events=tuple(self.events),
            actions=tuple(self.actions),
            missed_events=self.missed,
        )
        self.events.clear()
        self.actions.clear()
        self.missed = 0
        return frame


class Hub:
    """All subscribers of one daemon."""

    def __init__(self, snapshot: Callable[[], Snapshot], gather_s: Callable[[], float] = lambda: GATHER_S) -> None:
        """`gather_s` says how long changes are waited for that might follow one."""
        self._snapshot, self._gather_s = snapshot, gather_s
        self._subscribers: set[Subscriber] = set()
        self._closed = False

    @property
    def count(self) -> int:
        """Open streams."""
        return len(self._subscribers)

    def publish(self, row: Row) -> None:
        """Hand an event or action to every subscriber."""
        for subscriber in self._subscribers:
            subscriber.offer(row)

    def nudge(self) -> None:
        """Something on the screen changed: send the next frame now instead of at the interval's end."""
        for subscriber in self._subscribers:
            subscriber.wake.set()

    def close(self) -> None:
        """End every stream."""
        self._closed = True
        self.nudge()

    async def frames(self, interval_s: float, *, deltas: bool = False) -> AsyncIterator[Frame]:
        """Frames at most `interval_s` apart, sooner when something happened, until close()."""
        subscriber = Subscriber(deltas=deltas)
        self._subscribers.add(subscriber)
        seq = 0
        try:
            while not self._closed:
                seq += 1
                yield subscriber.take(seq, self._snapshot())
                try:
                    async with asyncio.timeout(interval_s):
                        await subscriber.wake.wait()
                    await asyncio.sleep(self._gather_s())
                except TimeoutError:
                    pass
                subscriber.wake.clear()
        finally:
            self._subscribers.discard(subscriber)
