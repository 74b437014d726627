"""Quantiles mean one thing everywhere: nearest rank over values, linear interpolation over merged buckets."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.quantiles import (
    Histogram,
    RollingWindow,
    bucket_increase,
    histogram_quantile,
    merge_buckets,
    nearest_rank,
    quantile,
    summarize,
)

finite = st.floats(min_value=-1e9, max_value=1e9, allow_nan=False)
latencies = st.floats(min_value=0.0, max_value=100.0, allow_nan=False)


def reference(values: list[float], percent: int) -> float:
    """The smallest value with at least percent % of all values at or below it, by counting."""
    for candidate in sorted(values):
        if Fraction(sum(1 for value in values if value <= candidate), len(values)) >= Fraction(percent, 100):
            return candidate
    raise AssertionError("unreachable")


@given(st.lists(finite, min_size=1, max_size=200), st.integers(0, 100))
def test_quantile_agrees_with_counting(values: list[float], percent: int) -> None:
    assert quantile(values, percent / 100) == reference(values, percent)


def test_ranks_of_known_sizes() -> None:
    ordered = [float(n) for n in range(1, 21)]
    assert nearest_rank(ordered, 0.95) == 19.0
    assert nearest_rank(ordered, 0.5) == 10.0
    assert nearest_rank(ordered, 0.99) == 20.0
    assert nearest_rank(ordered, 0.0) == 1.0
    assert nearest_rank([], 0.5) is None
    with pytest.raises(ValueError, match="lies in"):
        nearest_rank(ordered, 1.5)


def test_no_values_give_nulls_not_zeros() -> None:
    empty = summarize([])
    assert (empty.count, empty.p50_s, empty.p95_s, empty.p99_s) == (0, None, None, None)


class TestRollingWindow:
    @given(
        st.lists(st.tuples(st.floats(0, 200, allow_nan=False), latencies), max_size=120),
        st.lists(st.floats(0, 260, allow_nan=False), min_size=1, max_size=8).map(sorted),
    )
    def test_equals_recomputation_at_any_instant(
        self, entries: list[tuple[float, float]], instants: list[float]
    ) -> None:
        window = RollingWindow(60.0)
        for ts, value in entries:
            window.add(ts, value)
        for now in instants:
            inside = [value for ts, value in entries if now - 60.0 < ts <= now]
            assert window.quantiles(now) == summarize(inside, window_s=60.0)

    @given(st.lists(st.tuples(st.floats(0, 200, allow_nan=False), latencies), max_size=120))
    def test_adding_and_expiring_in_turns(self, entries: list[tuple[float, float]]) -> None:
        window = RollingWindow(30.0)
        seen: list[tuple[float, float]] = []
        now = 0.0
        for ts, value in entries:
            now = max(now, ts)
            window.add(ts, value)
            seen.append((ts, value))
            inside = [v for t, v in seen if now - 30.0 < t <= now]
            assert window.quantiles(now).count == len(inside)
            assert window.quantile(now, 0.95) == quantile(inside, 0.95)

    def test_empties_itself(self) -> None:
        window = RollingWindow(10.0)
        for n in range(100):
            window.add(float(n) / 10, 1.0)
        assert window.quantiles(9.9).count == 100
        assert window.per_second(9.9) == 10.0
        assert window.quantiles(100.0).count == 0
        assert len(window) == 0

    def test_refuses_what_is_no_number(self) -> None:
        window = RollingWindow()
        for value in (math.nan, math.inf):
            with pytest.raises(ValueError, match="finite"):
                window.add(1.0, value)
        with pytest.raises(ValueError, match="longer than 0"):
            RollingWindow(0)


class TestHistogram:
    @given(st.lists(latencies, max_size=200))
    def test_cumulative_counts_are_counts(self, values: list[float]) -> None:
        histogram = Histogram((0.1, 1.0, 10.0))
        for value in values:
            histogram.observe(value)
        cumulative = histogram.cumulative()
        for bound, count in cumulative.items():
            assert count == sum(1 for value in values if value <= bound)
        assert cumulative[math.inf] == histogram.count == len(values)
        assert histogram.total == pytest.approx(sum(values))

    @given(st.lists(st.floats(0.0, 9.99), min_size=1, max_size=100), st.sampled_from([0.01, 0.5, 0.95, 0.99]))
    def test_quantile_lies_in_the_bucket_of_the_exact_one(self, values: list[float], q: float) -> None:
        histogram = Histogram((0.1, 0.5, 1.0, 5.0, 10.0))
        for value in values:
            histogram.observe(value)
        estimate, exact = histogram.quantile(q), quantile(values, q)
        assert estimate is not None and exact is not None
        upper = min(bound for bound in histogram.bounds if exact <= bound)
        lower = max((bound for bound in histogram.bounds if bound < upper), default=0.0)
        assert lower <= estimate <= upper

    def test_as_prometheus_computes_it(self) -> None:
        # 10 values in (0, 1], 10 in (1, 2]: p50 is the end of the first bucket, p75 the middle of the second.
        buckets = {1.0: 10.0, 2.0: 20.0, math.inf: 20.0}
        assert histogram_quantile(buckets, 0.5) == 1.0
        assert histogram_quantile(buckets, 0.75) == 1.5
        assert histogram_quantile({1.0: 7.0, 2.0: 7.0, 3.0: 50.0, math.inf: 50.0}, 0.14) == 1.0  # 0.14 * 50 > 7
        assert histogram_quantile({1.0: 0.0, math.inf: 5.0}, 0.5) == 1.0
        assert histogram_quantile({1.0: 0.0, math.inf: 0.0}, 0.5) is None
        assert histogram_quantile({1.0: 5.0}, 0.5) is None
        assert histogram_quantile({}, 0.5) is None

    def test_wrong_bounds_are_refused(self) -> None:
        for bounds in ((), (1.0, 1.0), (2.0, 1.0), (1.0, math.inf)):
            with pytest.raises(ValueError, match="bound"):
                Histogram(bounds)
        with pytest.raises(ValueError, match="finite"):
            Histogram().observe(math.nan)


@given(st.lists(st.lists(latencies, max_size=40), min_size=1, max_size=5))
def test_merging_equals_observing_everything_in_one(parts: list[list[float]]) -> None:
    histograms = [Histogram((0.5, 1.0, 50.0)) for _ in parts]
    together = Histogram((0.5, 1.0, 50.0))
    for histogram, values in zip(histograms, parts, strict=True):
        for value in values:
            histogram.observe(value)
            together.observe(value)
    assert merge_buckets(h.cumulative() for h in histograms) == together.cumulative()


def test_merged_quantile_is_not_an_average_of_quantiles() -> None:
    busy, idle = Histogram((1.0, 2.0, 3.0)), Histogram((1.0, 2.0, 3.0))
    for _ in range(99):
        busy.observe(0.5)
    idle.observe(2.5)
    merged = histogram_quantile(merge_buckets([busy.cumulative(), idle.cumulative()]), 0.5)
    assert merged is not None and merged <= 1.0  # an average of the two p50 would be about 1.5


def test_merging_keeps_only_shared_bounds() -> None:
    merged = merge_buckets([{1.0: 1, 2.0: 3, math.inf: 4}, {2.0: 5, 4.0: 6, math.inf: 7}])
    assert merged == {2.0: 8, math.inf: 11}
    assert merge_buckets([]) == {}
    with pytest.raises(ValueError, match="Inf"):
        merge_buckets([{1.0: 1}])


def test_increase_survives_a_restarted_source() -> None:
    earlier = {1.0: 10.0, math.inf: 12.0}
    assert bucket_increase(earlier, {1.0: 15.0, math.inf: 20.0}) == {1.0: 5.0, math.inf: 8.0}
    assert bucket_increase(earlier, {1.0: 2.0, math.inf: 3.0}) == {1.0: 2.0, math.inf: 3.0}
