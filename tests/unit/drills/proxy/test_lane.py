"""One direction in virtual time: order, slowness, release."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from backend.drills.proxy.lane import HIGH_BYTES, NEUTRAL, Delay, Lane, Pacing


class _Timer:
    def __init__(self, cancel: Callable[[], None]) -> None:
        self.cancel = cancel


class VirtualLoop:
    """call_later in virtual time, as much of a loop as a lane uses."""

    def __init__(self) -> None:
        self.now = 0.0
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def call_later(self, delay_s: float, work: Callable[[], None]) -> Any:
        self._count += 1
        entry = (self.now + delay_s, self._count, work)
        self._timers.append(entry)

        return _Timer(lambda: self._timers.remove(entry) if entry in self._timers else None)

    def run(self, until_s: float = 1e9) -> None:
        while self._timers and min(self._timers)[0] <= until_s:
            entry = min(self._timers)
            self._timers.remove(entry)
            self.now = max(self.now, entry[0])
            entry[2]()
        self.now = max(self.now, until_s if until_s < 1e9 else self.now)


class Ends:
    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.got: list[tuple[float, bytes]] = []
        self.full: list[bool] = []
        loop: Any = self.loop
        assert not isinstance(loop, asyncio.AbstractEventLoop)
        self.lane = Lane(
            loop,
            lambda: self.loop.now,
            lambda data: self.got.append((self.loop.now, data)),
            lambda: self.full.append(self.lane.full),
        )

    @property
    def data(self) -> bytes:
        return b"".join(data for _, data in self.got)


def test_neutral_lane_delivers_in_the_call() -> None:
    ends = Ends()
    ends.lane.put(b"a")
    assert ends.got == [(0.0, b"a")]


def test_slow_tokens_then_bandwidth_then_latency() -> None:
    ends = Ends()
    ends.lane.pace(Pacing(slow_s=1.0, bytes_per_s=100.0, delays=(Delay(0.5, 0.0, random.Random(1)),)))
    for _ in range(3):
        ends.lane.put(b"x" * 5, chunk=True)
    ends.loop.run()
    assert [round(at, 3) for at, _ in ends.got] == [1.55, 2.55, 3.55]


def test_bandwidth_spreads_bytes_evenly() -> None:
    ends = Ends()
    ends.lane.pace(Pacing(bytes_per_s=1000.0))
    ends.lane.put(b"x" * 3000)
    ends.loop.run(1.5)
    assert 1400 <= len(ends.data) <= 1500
    ends.loop.run()
    assert len(ends.data) == 3000 and abs(ends.loop.now - 3.0) < 0.01


def test_what_is_held_is_released_at_once_and_in_order() -> None:
    ends, deeds = Ends(), list[str]()
    ends.lane.pace(Pacing(held=True))
    ends.lane.put(b"a")
    ends.lane.put(lambda: deeds.append("between"))
    ends.lane.put(b"b")
    ends.loop.run(5)
    assert ends.got == []
    ends.lane.pace(NEUTRAL)
    assert ends.got == [(5.0, b"a"), (5.0, b"b")] and deeds == ["between"]


def test_healed_latency_does_not_delay_what_waits() -> None:
    ends = Ends()
    ends.lane.pace(Pacing(delays=(Delay(60.0, 0.0, random.Random(1)),)))
    ends.lane.put(b"a")
    ends.loop.run(1)
    ends.lane.pace(NEUTRAL)
    assert ends.got == [(1.0, b"a")]


def test_full_is_told_once_and_taken_back() -> None:
    ends = Ends()
    ends.lane.block(True)
    ends.lane.put(b"x" * (HIGH_BYTES + 1))
    ends.lane.put(b"y")
    assert ends.full == [True]
    ends.lane.block(False)
    assert ends.full == [True, False]


pacings = st.builds(
    Pacing,
    slow_s=st.sampled_from([0.0, 0.1]),
    bytes_per_s=st.sampled_from([0.0, 50.0, 5000.0]),
    delays=st.sampled_from([(), ((0.05, 0.05),)]).map(
        lambda pairs: tuple(Delay(*pair, random.Random(1)) for pair in pairs)
    ),
    held=st.booleans(),
)
steps = st.lists(st.one_of(st.binary(min_size=1, max_size=60), pacings, st.floats(0, 1), st.booleans()), max_size=25)


@given(steps)
def test_nothing_is_lost_or_overtakes_whatever_comes_and_goes(steps: list[Any]) -> None:
    ends, sent = Ends(), b""
    for step in steps:
        if isinstance(step, bytes):
            ends.lane.put(step, chunk=True)
            sent += step
        elif isinstance(step, Pacing):
            ends.lane.pace(step)
        elif isinstance(step, bool):
            ends.lane.block(step)
        else:
            ends.loop.run(ends.loop.now + step)
        assert sent.startswith(ends.data)
    ends.lane.block(False)
    ends.lane.pace(Pacing(slow_s=0.1))
    ends.lane.pace(NEUTRAL)
    assert ends.data == sent and ends.lane.empty
