"""One direction of a connection: bytes and deeds in their order, each delivered when its pacing allows it.

Owns the queue, its timer and the arithmetic of slowness. Pacing composes in this order: slow tokens (one after the
other), bandwidth, latency with jitter, held. Nothing overtakes; what waits is paced anew when a fault comes or goes.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Final

HIGH_BYTES: Final = 256 * 1024
_SLICE_S: Final = 0.05
_MAX_SLICE_BYTES: Final = 16 * 1024
_EARLY_S: Final = 0.0005
"""The loop's timers count milliseconds: half of one early is on time."""

Payload = bytes | Callable[[], None]


class Delay:
    """A latency with uniform jitter around it, drawn from the fault's own seeded stream."""

    def __init__(self, latency_s: float, jitter_s: float, rng: random.Random) -> None:
        self._latency_s, self._jitter_s, self._rng = latency_s, jitter_s, rng

    def draw(self) -> float:
        """Seconds, never negative."""
        if not self._jitter_s:
            return self._latency_s
        return max(0.0, self._latency_s + self._rng.uniform(-self._jitter_s, self._jitter_s))


class Pacing:
    """How slow one direction is for the request under way."""

    def __init__(
        self, *, slow_s: float = 0.0, bytes_per_s: float = 0.0, delays: tuple[Delay, ...] = (), held: bool = False
    ) -> None:
        self.slow_s, self.bytes_per_s, self.delays, self.held = slow_s, bytes_per_s, delays, held

    @property
    def neutral(self) -> bool:
        return not (self.slow_s or self.bytes_per_s or self.delays or self.held)


NEUTRAL: Final = Pacing()


class _Item:
    __slots__ = ("arrived_s", "chunk", "due_s", "payload")

    def __init__(self, payload: Payload, chunk: bool, arrived_s: float) -> None:
        self.payload, self.chunk, self.arrived_s, self.due_s = payload, chunk, arrived_s, arrived_s


class Lane:
    """`emit` gets bytes; `full_changed` is called when too much waits, and when no longer; `mono` gives seconds."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        mono: Callable[[], float],
        emit: Callable[[bytes], None],
        full_changed: Callable[[], None],
    ) -> None:
        self._loop, self._mono, self._emit, self._full_changed = loop, mono, emit, full_changed
        self._queue: deque[_Item] = deque()
        self._waiting_bytes = 0
        self.full = False
        """Whether too much waits."""
        self._blocked = False
        self._closed = False
        self._pumping = False
        self._timer: asyncio.TimerHandle | None = None
        self._pacing = NEUTRAL
        self._serial_s = self._free_s = self._last_s = 0.0

    @property
    def empty(self) -> bool:
        return not self._queue

    @property
    def held(self) -> bool:
        return self._pacing.held

    def put(self, payload: Payload, *, chunk: bool = False) -> None:
        """Bytes, or a deed to do once all before it has left. `chunk`: a new piece of an answer begins here."""
        if self._closed:
            return
        if not self._queue and not self._blocked and self._pacing.neutral:
            self._deliver(payload)
            return
        self._add(_Item(payload, chunk, self._mono()))
        self._pump()

    def pace(self, pacing: Pacing) -> None:
        """From now on like this, for what waits too."""
        if pacing.neutral and self._pacing.neutral:
            return
        self._pacing = pacing
        waiting, self._queue = self._queue, deque()
        self._waiting_bytes = 0
        self._serial_s = self._free_s = self._last_s = 0.0
        for item in waiting:
            self._add(item)
        self._pump()

    def block(self, blocked: bool) -> None:
        """Nothing can be delivered now: the peer reads too slowly or is not connected yet."""
        self._blocked = blocked
        self._pump()

    def close(self) -> None:
        """Forget what waits."""
        self._closed = True
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _add(self, item: _Item) -> None:
        rate = self._pacing.bytes_per_s
        if rate and isinstance(item.payload, bytes):
            size = min(_MAX_SLICE_BYTES, max(1, int(rate * _SLICE_S)))
            for at in range(0, len(item.payload), size):
                self._append(_Item(item.payload[at : at + size], item.chunk and not at, item.arrived_s))
        else:
            self._append(item)

    def _append(self, item: _Item) -> None:
        pacing, due = self._pacing, item.arrived_s
        size = len(item.payload) if isinstance(item.payload, bytes) else 0
        if pacing.slow_s and item.chunk:
            due = self._serial_s = max(self._serial_s, due) + pacing.slow_s
        if pacing.bytes_per_s:
            due = self._free_s = max(self._free_s, due) + size / pacing.bytes_per_s
        due += sum(delay.draw() for delay in pacing.delays)
        item.due_s = self._last_s = max(self._last_s, due)
        self._queue.append(item)
        self._waiting_bytes += size

    def _pump(self) -> None:
        if self._pumping or self._closed:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._pumping = True
        now = self._mono()
        try:
            while self._queue and not self._blocked and not self._pacing.held and not self._closed:
                wait_s = self._queue[0].due_s - now
                if wait_s > _EARLY_S:
                    self._timer = self._loop.call_later(wait_s, self._pump)
                    break
                item = self._queue.popleft()
                self._waiting_bytes -= len(item.payload) if isinstance(item.payload, bytes) else 0
                self._deliver(item.payload)
        finally:
            self._pumping = False
        self._tell_full()

    def _deliver(self, payload: Payload) -> None:
        if isinstance(payload, bytes):
            self._emit(payload)
        else:
            payload()

    def _tell_full(self) -> None:
        full = self._waiting_bytes > (HIGH_BYTES // 4 if self.full else HIGH_BYTES)
        if full != self.full and not self._closed:
            self.full = full
            self._full_changed()
