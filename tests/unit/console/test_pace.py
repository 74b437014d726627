"""Frames leave as fast as the link takes them and never faster; traffic is shown in steps that are next to none."""

from __future__ import annotations

import os
import threading
import tty

from hypothesis import given
from hypothesis import strategies as st

from console.state.pace import (
    ECONOMY_GAP_S,
    METER_WINDOW_S,
    NOTICE_S,
    SLOWEST_GAP_S,
    SMALLEST_BURST,
    STEPS,
    ByteMeter,
    Pace,
)
from console.tui.outlet import STOP_S, Outlet


def test_a_fast_link_gets_ten_frames_a_second_and_more():
    pace = Pace()
    assert pace.wait_s(0.0) == 0.0
    pace.left(10.0, 2000, 0.001)
    assert pace.wait_s(10.0) <= 0.1
    assert pace.wait_s(10.1) == 0.0
    assert pace.limit is None


def test_a_slow_link_falls_to_two_frames_a_second_and_less():
    pace = Pace()
    pace.left(10.0, 500, 0.5)
    assert pace.wait_s(10.0) == 0.5
    pace.left(20.0, 2000, 2.0)
    assert pace.wait_s(20.0) == 2.0
    pace.left(30.0, 9000, 30.0, 0.5)
    assert pace.wait_s(30.0) == SLOWEST_GAP_S
    assert pace.limit == SMALLEST_BURST
    pace.left(40.0, 40_000, 2.0)
    assert pace.limit == 10_000


def test_low_bandwidth_gets_one_frame_of_data_a_second():
    pace = Pace(economy=True)
    pace.left(10.0, 100, 0.0)
    assert pace.wait_s(10.0) == ECONOMY_GAP_S == 1.0


def test_the_answer_to_a_key_never_waits():
    pace = Pace(economy=True)
    pace.left(10.0, 2000, 2.0)
    assert not pace.answers(10.0)
    pace.key(10.1)
    assert pace.answers(10.2)
    assert pace.wait_s(10.2) == 0.0
    assert pace.wait_s(11.0) > 0.0


def test_after_a_stall_the_newest_frame_is_next_and_whole():
    pace = Pace()
    for _ in range(60):
        pace.held()
    pace.left(60.0, 900, 60.0, 59.9)
    assert pace.wait_s(60.0) == 0.0
    assert pace.limit is None
    assert pace.merged(60.0) == 60


def test_a_slow_link_whose_frames_are_one_piece_is_seen_at_the_second():
    pace = Pace()
    pace.left(10.0, 200, 1.0, 1.0)
    assert pace.wait_s(10.0) == 0.0
    pace.left(11.0, 200, 1.0, 1.0)
    assert pace.wait_s(11.0) == 1.0


def test_merged_frames_are_told_while_the_link_is_slow_and_a_little_longer():
    pace = Pace()
    pace.left(0.0, 500, 0.5)
    pace.held()
    pace.held()
    pace.left(1.0, 500, 0.5)
    assert pace.merged(1.0 + NOTICE_S) == 2
    assert pace.merged(1.1 + NOTICE_S) == 0


def test_a_link_that_is_fast_again_is_free_again():
    pace = Pace()
    pace.left(10.0, 2000, 2.0)
    pace.left(13.0, 500, 0.01)
    assert pace.limit is None
    assert pace.wait_s(13.1) == 0.0


def test_the_meter_says_bytes_a_second_of_the_last_seconds():
    meter = ByteMeter()
    for second in range(10):
        meter.add(float(second), 1300)
    assert 1000 <= meter.step(9.0) <= 1300
    assert meter.total == 13_000
    assert meter.step(9.0 + 2 * METER_WINDOW_S) == 0


def test_a_rate_at_the_border_of_two_steps_changes_nothing():
    meter = ByteMeter()
    now, seen = 0.0, set()
    for index in range(200):
        now += 0.1
        meter.add(now, 100 + (5 if index % 2 else -5))
        if now > 2 * METER_WINDOW_S:
            seen.add(meter.step(now))
    assert len(seen) == 1


@given(st.lists(st.tuples(st.floats(0.01, 3), st.integers(0, 100_000)), max_size=40))
def test_the_step_is_always_near_the_rate(writes):
    meter, now = ByteMeter(), 0.0
    for gap, size in writes:
        now += gap
        meter.add(now, size)
        step, rate = meter.step(now), meter.rate(now)
        above = next((higher for higher in STEPS if higher > step), float("inf"))
        assert step <= rate * 1.25
        assert rate * 0.8 < above


class Pipe:
    """A link that nobody reads yet."""

    def __init__(self) -> None:
        self.reader, writer = os.pipe()
        self.left: list[int] = []
        self.some = threading.Event()
        self.outlet = Outlet(writer, self._left)
        self.outlet.start()

    def _left(self, size: int, took_s: float, longest_s: float) -> None:
        assert 0.0 <= longest_s <= took_s + 0.001
        self.left.append(size)
        self.some.set()

    def stop(self) -> None:
        """To its end: the outlet itself waits for a second only, in which a machine may do nothing."""
        self.outlet.stop()
        self.outlet.join(60)
        assert not self.outlet.is_alive()

    def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += os.read(self.reader, size - len(data))
        return data


def test_the_outlet_writes_in_order_and_says_what_has_left():
    pipe = Pipe()
    pipe.outlet.write("one ")
    pipe.outlet.write("zwei ä")
    assert pipe.read(11) == "one zwei ä".encode()
    pipe.stop()
    assert pipe.left == [4, 7]
    assert not pipe.outlet.busy


def test_a_link_that_takes_nothing_blocks_nobody_and_says_a_bell_once():
    pipe = Pipe()
    huge = "x" * 300_000
    pipe.outlet.write(huge)
    for _ in range(50):
        pipe.outlet.write("\a")
    assert pipe.outlet.waiting == 2
    assert pipe.read(len(huge) + 1) == huge.encode() + b"\a"
    pipe.stop()
    assert pipe.left == [len(huge), 1]


def test_a_machine_that_stands_still_at_the_end_loses_nothing_of_what_waits(monkeypatch):
    """Whoever waits for the outlet to end finds all of the time gone, and the outlet has not run."""
    pipe, slept = Pipe(), []
    outlet = pipe.outlet
    join = threading.Thread.join

    def stood_still(thread: threading.Thread, seconds: float) -> None:
        if slept:
            join(thread, 60)
        slept.append(seconds)

    pipe.outlet.write("x" * 300_000)  # more than the pipe takes
    monkeypatch.setattr(outlet, "join", lambda seconds: stood_still(outlet, seconds))
    reader = threading.Thread(target=lambda: pipe.read(300_000))
    reader.start()
    outlet.stop()
    assert pipe.left == [300_000]
    assert sum(slept) <= STOP_S + 1e-9, "a link that takes nothing is left behind"
    join(reader)


def test_a_terminal_that_went_away_ends_nothing():
    pipe = Pipe()
    os.close(pipe.reader)
    pipe.outlet.write("hello")
    pipe.outlet.write("again")
    pipe.stop()
    assert pipe.left == [5, 5]


def test_what_a_terminal_takes_at_once_needs_no_thread_and_the_rest_waits_there():
    terminal, program = os.openpty()
    tty.setraw(program)
    sizes: list[int] = []
    outlet = Outlet(program, lambda size, took_s, longest_s: sizes.append(size))
    outlet.write("quick")
    assert not outlet.busy
    assert sizes == [5]
    assert os.read(terminal, 100) == b"quick"
    outlet.start()
    huge = "y" * 200_000
    outlet.write(huge)
    assert outlet.busy
    outlet.write("after")
    read = b""
    while len(read) < len(huge) + 5:
        read += os.read(terminal, 1 << 16)
    assert read == huge.encode() + b"after"
    outlet.stop()
    outlet.join(60)
    assert sizes == [5, len(huge), 5]
    os.close(terminal)
    os.close(program)
