"""Numbers for people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.render import units

NONE = units.NOTHING


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, NONE), (0.0082, "8.2 ms"), (0.412, "412 ms"), (0.9996, "1.00 s"), (1.24, "1.24 s"), (75, "75 s")],
)
def test_latency(seconds, text):
    assert units.latency(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, NONE),
        (0, "<10s"),
        (9.9, "<10s"),
        (19, "10s"),
        (60, "1m"),
        (3599, "59m"),
        (7200, "2h"),
        (200_000, "2d"),
    ],
)
def test_age_moves_in_coarse_steps(seconds, text):
    assert units.age(seconds) == text


@pytest.mark.parametrize(("value", "text"), [(None, NONE), (0, "0"), (0.44, "0.4"), (12.2, "12"), (1200, "1.2k")])
def test_rate(value, text):
    assert units.rate(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, NONE), (0, "0 B"), (2048, "2.0 KiB"), (330_000_000, "315 MiB"), (5e9, "4.7 GiB"), (3e12, "2.7 TiB")],
)
def test_size(value, text):
    assert units.size(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, NONE), (0.44, "0.4 s"), (12, "12 s"), (185, "3m 05s"), (7800, "2h 10m")]
)
def test_duration(value, text):
    assert units.duration(value) == text


@pytest.mark.parametrize(("value", "text"), [(None, NONE), (999, "999"), (12_345, "12.3k"), (2_500_000, "2.5M")])
def test_count(value, text):
    assert units.count(value) == text


@given(st.floats(0.0001, 1e9))
def test_nice_ceiling_holds_the_value_and_is_near_it(value):
    top = units.nice_ceiling(value)
    assert value <= top * (1 + 1e-9)
    assert top <= value * 2.5 * (1 + 1e-9)


def test_nothing_has_no_time_of_day():
    assert units.time_of_day(None) == units.NOTHING
    assert units.plural(1, "alarm") == "1 alarm"
    assert units.plural(2, "alarm") == "2 alarms"
    assert units.percent(None) == units.NOTHING


def test_a_ceiling_over_nothing_is_one_and_over_a_round_number_that_number():
    assert (units.nice_ceiling(0), units.nice_ceiling(-3)) == (1.0, 1.0)
    assert [units.nice_ceiling(value) for value in (0.2, 0.5, 1.0, 3.0, 10.0)] == [0.2, 0.5, 1.0, 5.0, 10.0]
