"""The bounds against the published table and against their defining property."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.drills.bounds import samples_for, success_at_least, success_at_most


@pytest.mark.parametrize(("count", "wanted"), [(20, 0.861), (59, 0.95), (299, 0.99), (2995, 0.999), (29956, 0.9999)])
def test_no_failure_proves_what_the_table_says(count: int, wanted: float) -> None:
    assert success_at_least(count, count) == pytest.approx(wanted, abs=5e-4)


def test_with_failures() -> None:
    assert success_at_least(950, 1000) == pytest.approx(0.937, abs=5e-4)
    assert success_at_least(19, 20) == pytest.approx(0.784, abs=5e-4)
    assert success_at_least(0, 10) == 0.0
    assert success_at_most(10, 10) == 1.0
    assert success_at_least(0, 0) == 0.0
    assert success_at_most(0, 0) == 1.0


def test_samples_for_a_ratio() -> None:
    assert samples_for(0.99) == 299
    assert samples_for(0.95) == 59


@given(st.integers(1, 400), st.data())
def test_the_bound_is_where_the_tail_is_five_percent(count: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(1, count))
    p = success_at_least(successes, count)
    tail = sum(math.comb(count, k) * p**k * (1 - p) ** (count - k) for k in range(successes, count + 1))
    assert tail == pytest.approx(0.05, rel=1e-6)
    assert p <= successes / count <= success_at_most(successes, count) + 1e-12


@pytest.mark.parametrize("arguments", [(-1, 3), (4, 3)])
def test_impossible_counts_are_refused(arguments: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="no bound"):
        success_at_least(*arguments)
