from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backend.shim.respawn import MAX_DELAY_S, WINDOW_S, RespawnDelay


def test_the_first_quick_exits_are_followed_at_once() -> None:
    delay = RespawnDelay()
    assert [delay.after_exit(at) for at in (0.0, 0.1, 0.2, 0.3)] == [0.0] * 4


def test_five_exits_in_ten_seconds_double_up_to_five_seconds() -> None:
    delay = RespawnDelay()
    at, delays = 0.0, []
    for _ in range(12):
        wait_s = delay.after_exit(at)
        delays.append(wait_s)
        at += wait_s + 0.1
    assert delays[:7] == [0, 0, 0, 0, 0.1, 0.2, 0.4]
    assert delays[-1] == MAX_DELAY_S


def test_slow_exits_never_wait() -> None:
    delay = RespawnDelay()
    assert all(delay.after_exit(at * 3.0) == 0.0 for at in range(50))


def test_a_quiet_window_forgives() -> None:
    delay = RespawnDelay()
    for number in range(8):
        delay.after_exit(number * 0.1)
    assert delay.after_exit(0.8 + WINDOW_S + 2 * MAX_DELAY_S) == 0.0


@given(st.lists(st.floats(min_value=0, max_value=30), max_size=50))
def test_a_delay_is_never_longer_than_the_limit(gaps: list[float]) -> None:
    delay, at = RespawnDelay(), 0.0
    for gap in gaps:
        at += gap
        assert 0.0 <= delay.after_exit(at) <= MAX_DELAY_S
