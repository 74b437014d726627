"""The schedule is a function of the spec alone."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract.errors import UsageError
from backend.load import LoadSpec, arrivals, schedule

URL = "http://127.0.0.1:1"


def test_constant_arrivals_stand_on_a_grid() -> None:
    spec = LoadSpec(url=URL, rate=4.0, arrival="constant", duration_s=1.0)
    assert schedule(spec) == [0.0, 0.25, 0.5, 0.75]


@given(
    rate=st.floats(0.1, 1000.0),
    count=st.integers(1, 300),
    duration=st.one_of(st.none(), st.floats(0.01, 100.0)),
    seed=st.integers(),
)
def test_ascending_bounded_and_the_same_again(rate: float, count: int, duration: float | None, seed: int) -> None:
    spec = LoadSpec(url=URL, rate=rate, count=count, duration_s=duration, seed=seed)
    times = schedule(spec)
    assert times == sorted(times) == schedule(spec)
    assert len(times) <= count
    assert all(0.0 <= at < (duration or float("inf")) for at in times)
    if duration is None:
        assert len(times) == count


def test_poisson_has_its_rate_and_its_spread() -> None:
    times = schedule(LoadSpec(url=URL, rate=50.0, count=20_000, seed=3))
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    mean = sum(gaps) / len(gaps)
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)
    assert mean == pytest.approx(0.02, rel=0.03)
    assert variance == pytest.approx(mean**2, rel=0.06)


def test_another_seed_gives_other_times() -> None:
    assert schedule(LoadSpec(url=URL, count=5, seed=1)) != schedule(LoadSpec(url=URL, count=5, seed=2))


def test_an_endless_load_has_arrivals_but_no_whole_schedule() -> None:
    spec = LoadSpec(url=URL, rate=10.0)
    assert len(list(itertools.islice(arrivals(spec), 100))) == 100
    with pytest.raises(UsageError):
        schedule(spec)
