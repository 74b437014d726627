"""How late the event loop runs its callbacks: the number behind "no callback blocks the loop".

Owns one repeating timer on a loop and the lateness seen over the last 60 s. A callback that blocks the loop for
500 ms makes one timer 500 ms late, and would weigh as one sample among thousands; so the timers that could not
run meanwhile are counted as well, each as late as it would have been (500, 475, 450 … ms), and a quantile is a
share of time, not of samples.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from backend.quantiles import RollingWindow

PERIOD_S: Final = 0.025
WINDOW_S: Final = 60.0


class LoopLag(msgspec.Struct, frozen=True, kw_only=True):
    """Lateness in seconds over the last 60 s; nulls before the first sample."""

    count: int = 0
    p50_s: float | None = None
    p99_s: float | None = None
    max_s: float | None = None


class LoopLagMeter:
    """Measures the loop it is started on. `start` and `stop` are idempotent."""

    def __init__(self, *, period_s: float = PERIOD_S, window_s: float = WINDOW_S) -> None:
        self._period_s = period_s
        self._window = RollingWindow(window_s)
        self._bound = int(1.25 * window_s / period_s)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handle: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._now = 0.0

    def start(self) -> None:
        """Begin on the running loop."""
        if self._handle is None:
            self._loop = asyncio.get_running_loop()
            self._schedule(self._loop.time() + self._period_s)

    def stop(self) -> None:
        """End the timer; what was measured stays readable."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def record(self, due: float, now: float) -> None:
        """One timer that was due at `due` ran at `now` (loop seconds); adds those it kept from running."""
        self._now = max(self._now, now)
        late = max(now - due, 0.0)
        missed = min(int(late / self._period_s), int(self._window.window_s / self._period_s))
        for skipped in range(missed + 1):
            self._window.add(now, late - skipped * self._period_s)
        if len(self._window) > self._bound:
            self._window.expire(now)

    def read(self) -> LoopLag:
        """The lag over the window that ends now."""
        now = self._loop.time() if self._loop is not None and self._handle is not None else self._now
        seen = self._window.quantiles(now)
        return LoopLag(count=seen.count, p50_s=seen.p50_s, p99_s=seen.p99_s, max_s=self._window.quantile(now, 1.0))

    def _schedule(self, due: float) -> None:
        assert self._loop is not None
        self._due = due
        self._handle = self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        assert self._loop is not None
        now = self._loop.time()
        self.record(self._due, now)
        self._schedule(now + self._period_s)
