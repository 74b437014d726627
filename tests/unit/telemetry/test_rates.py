"""Seconds: nothing is lost, nothing counted twice, and a closed second never changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.telemetry.rates import SETTLE_S, SecondCounts, closed_second, second_of

BASE = 1_000.0


def test_second_is_closed_half_a_second_after_its_end() -> None:
    assert closed_second(BASE + SETTLE_S - 0.01) == 998
    assert closed_second(BASE + SETTLE_S) == 999


def test_late_event_goes_into_the_oldest_open_second() -> None:
    assert second_of(990.0, BASE + 0.6) == 1000
    assert second_of(999.9, BASE + 0.3) == 999


def test_event_of_the_future_counts_now() -> None:
    assert second_of(BASE + 50, BASE + 0.6) == 1000


@given(
    st.lists(
        st.tuples(st.floats(0, 3, allow_nan=False), st.floats(0, 3, allow_nan=False)), max_size=60
    )  # (time until the next arrival, lateness)
)
def test_points_of_closed_seconds_add_up_to_all_events(arrivals: list[tuple[float, float]]) -> None:
    counts = SecondCounts(keep_s=64)
    now, reported, seen = BASE, 0.0, closed_second(BASE)
    for gap, lateness in arrivals:
        now += gap
        while seen < closed_second(now):
            seen += 1
            reported += counts.total(seen, 1)
        counts.add(second_of(now - lateness, now))
    while seen < closed_second(now + 2):
        seen += 1
        reported += counts.total(seen, 1)
    assert reported == len(arrivals)


@given(st.lists(st.tuples(st.floats(0.01, 3), st.floats(0, 100)), max_size=30))
def test_amounts_spread_over_seconds_add_up(steps: list[tuple[float, float]]) -> None:
    counts = SecondCounts(keep_s=200)
    before = now = BASE
    for gap, amount in steps:
        before, now = now, now + gap
        counts.spread(before, now, amount)
    assert counts.total(int(now), 150) == pytest.approx(sum(amount for _, amount in steps))


def test_steady_scrapes_give_a_steady_rate_in_every_second() -> None:
    counts = SecondCounts()
    for second in range(20):
        at = BASE + second + 0.2 + 0.01 * (second % 3)
        counts.spread(at - 1.0, at, 100.0)
    rates = [counts.total(int(BASE) + second, 1) for second in range(2, 18)]
    assert all(95.0 <= rate <= 105.0 for rate in rates), rates


def test_window_beyond_what_is_kept_is_refused() -> None:
    with pytest.raises(ValueError, match="not within"):
        SecondCounts(keep_s=10).total(100, 11)


def test_old_second_does_not_overwrite_a_newer_one() -> None:
    counts = SecondCounts(keep_s=10)
    counts.add(20, 1.0)
    counts.add(10, 5.0)
    assert counts.total(20, 1) == 1.0
