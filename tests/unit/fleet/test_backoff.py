from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backend.fleet.supervision.backoff import MAX_DELAY_S, STABLE_S, CrashBackoff


def test_at_once_the_first_time_then_doubling_to_thirty_seconds() -> None:
    backoff = CrashBackoff()
    assert [backoff.after_exit(None) for _ in range(8)] == [0, 1, 2, 4, 8, 16, 30, 30]


def test_a_minute_of_being_ready_forgives() -> None:
    backoff = CrashBackoff(crashes=6)
    assert backoff.after_exit(STABLE_S - 1) == MAX_DELAY_S
    assert backoff.after_exit(STABLE_S) == 0.0
    assert backoff.after_exit(1.0) == 1.0


@given(st.lists(st.none() | st.floats(min_value=0, max_value=200), max_size=100))
def test_delays_stay_in_bounds(ready_times: list[float | None]) -> None:
    backoff = CrashBackoff()
    assert all(0.0 <= backoff.after_exit(ready) <= MAX_DELAY_S for ready in ready_times)
