"""How often frames may leave for a terminal, and how much traffic they are. Pure arithmetic over times passed in."""

from __future__ import annotations

from collections import deque
from typing import Final

FASTEST_GAP_S: Final = 0.05
"""Between frames of data on a fast link: 20 a second."""
SLOWEST_GAP_S: Final = 2.0
ECONOMY_GAP_S: Final = 1.0
"""Between frames of data in `--low-bandwidth`."""
KEY_S: Final = 0.3
"""So long after a key frames leave at once: they are its answer."""
SLOW_S: Final = 0.1
"""A write that takes longer shows that the link is slow."""
STALL_S: Final = 3.0
"""A piece that takes longer than that was held up by no slow link."""
NOTICE_S: Final = 5.0
BURST_S: Final = 0.5
"""A slow link is given at most what it carries in that time, so that the next key is answered soon."""
SMALLEST_BURST: Final = 512
METER_WINDOW_S: Final = 5.0
ECONOMY_WINDOW_S: Final = 15.0
"""Where frames are seconds apart."""
STEPS: Final = tuple(unit * scale for scale in (100, 1_000, 10_000, 100_000, 1_000_000) for unit in (1, 2, 5))


class Pace:
    """When the next frame may leave, from how long the last ones took."""

    def __init__(self, *, economy: bool = False) -> None:
        self.economy = economy
        self._merged = 0
        self._slow = False
        self._gap_s = 0.0
        self._rate: float | None = None
        self._last_left = float("-inf")
        self._last_key = float("-inf")
        self._last_slow = float("-inf")

    @property
    def limit(self) -> int | None:
        """Characters that one write may have; None: as many as there are."""
        return None if self._rate is None else max(SMALLEST_BURST, int(self._rate * BURST_S))

    @property
    def gap_s(self) -> float:
        """Pause after a write before the next frame of data."""
        return max(ECONOMY_GAP_S if self.economy else FASTEST_GAP_S, self._gap_s)

    def left(self, now: float, size: int, took_s: float, longest_s: float = 0.0) -> None:
        """A write of that size has left after so long, its longest piece after `longest_s`.

        A slow link gets a pause as long as the write took, so that half of it is free for keys. Where one piece took
        nearly all of the time, the link stood still and goes on: that says nothing of its speed, what comes next must
        not wait. A slow link looks like that once, or where its frames are one piece.
        """
        before, self._last_left = self._slow, now
        self._slow = took_s > SLOW_S
        if not self._slow:
            self._rate, self._gap_s = None, 0.0
            return
        self._last_slow = now
        stood_still = longest_s > 0.8 * took_s and (not before or longest_s > STALL_S)
        if stood_still:
            self._rate, self._gap_s, self._last_left = None, 0.0, float("-inf")
        else:
            self._rate, self._gap_s = size / took_s, min(SLOWEST_GAP_S, took_s)

    def held(self) -> None:
        """A frame came while one was under way."""
        self._merged += 1

    def merged(self, now: float) -> int:
        """Frames that went into a later one in the present slow spell, or the one that has just ended."""
        if now - self._last_slow > NOTICE_S:
            self._merged = 0
        return self._merged

    def key(self, now: float) -> None:
        """Someone pressed a key and looks for its effect."""
        self._last_key = now

    def answers(self, now: float) -> bool:
        """Frames are the answer to a key."""
        return now - self._last_key <= KEY_S

    def wait_s(self, now: float) -> float:
        """Until the next frame may leave; 0: at once."""
        return 0.0 if self.answers(now) else max(0.0, self._last_left + self.gap_s - now)


class ByteMeter:
    """Bytes a second over the last seconds, in steps so coarse that showing them is next to no traffic."""

    def __init__(self, window_s: float = METER_WINDOW_S) -> None:
        self.window_s = window_s
        self.total = 0
        self._step = 0
        self._sent: deque[tuple[float, int]] = deque()
        self._in_window = 0

    def add(self, now: float, size: int) -> None:
        """So many bytes were given to the link."""
        self.total += size
        self._in_window += size
        self._sent.append((now, size))

    def rate(self, now: float) -> float:
        """Bytes a second in the window that ends now."""
        while self._sent and self._sent[0][0] < now - self.window_s:
            self._in_window -= self._sent.popleft()[1]
        return self._in_window / self.window_s

    def step(self, now: float) -> int:
        """The step below the rate, 0 under the first. It changes only when the rate is well inside another one."""
        rate = self.rate(now)
        for margin in (0.8, 1.25):
            step = max((step for step in STEPS if step <= rate * margin), default=0)
            if (margin < 1 and step > self._step) or (margin > 1 and step < self._step):
                self._step = step
        return self._step
