from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backend.contract.fleet import ExitRecord
from backend.shim.respawn import MAX_DELAY_S, WINDOW_S, RespawnDelay, is_quick


def test_the_first_quick_exits_are_followed_at_once() -> None:
    delay = RespawnDelay()
    assert [delay.after_exit(at, quick=True) for at in (0.0, 0.1, 0.2, 0.3)] == [0.0] * 4


def test_five_exits_in_ten_seconds_double_up_to_five_seconds() -> None:
    delay = RespawnDelay()
    at, delays = 0.0, []
    for _ in range(12):
        wait_s = delay.after_exit(at, quick=True)
        delays.append(wait_s)
        at += wait_s + 0.1
    assert delays[:7] == [0, 0, 0, 0, 0.1, 0.2, 0.4]
    assert delays[-1] == MAX_DELAY_S


def test_exits_far_apart_never_wait() -> None:
    delay = RespawnDelay()
    assert all(delay.after_exit(at * 3.0, quick=True) == 0.0 for at in range(50))


def test_a_quiet_window_or_a_longer_life_forgives() -> None:
    for at, quick in ((0.8 + WINDOW_S + 2 * MAX_DELAY_S, True), (1.0, False)):
        delay = RespawnDelay()
        for number in range(8):
            delay.after_exit(number * 0.1, quick=True)
        assert delay.after_exit(at, quick=quick) == 0.0
        assert delay.after_exit(at + 0.1, quick=True) == 0.0


def test_a_kill_from_outside_says_nothing_about_the_program() -> None:
    assert is_quick(ExitRecord(ts=0, code=1), 0.1)
    assert is_quick(ExitRecord(ts=0, signal=11), 0.1)
    assert not is_quick(ExitRecord(ts=0, signal=9, reason="Killed"), 0.1)
    assert not is_quick(ExitRecord(ts=0, code=1), 1.5)


@given(st.lists(st.tuples(st.floats(min_value=0, max_value=30), st.booleans()), max_size=50))
def test_a_delay_is_never_longer_than_the_limit(gaps: list[tuple[float, bool]]) -> None:
    delay, at = RespawnDelay(), 0.0
    for gap, quick in gaps:
        at += gap
        assert 0.0 <= delay.after_exit(at, quick=quick) <= MAX_DELAY_S
