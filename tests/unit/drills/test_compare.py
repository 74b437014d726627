"""Comparing runs: no regression out of the same data, one out of a real slowdown, and "not comparable" otherwise."""

from __future__ import annotations

import itertools
import math
import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.contract.rows import Scalar
from backend.contract.words import RequestOutcome
from backend.drills import compare as comparing
from backend.drills.compare import Side, compare, difference_interval, fisher_more, why_not_comparable
from backend.drills.records import DrillRow, PhaseSpan, RunRecord
from backend.quantiles import nearest_rank
from tests.unit.drills.samples import kill, row

HOST: dict[str, Scalar] = {"system": "Linux", "machine": "x86_64", "cpus": 2, "memory_bytes": 8 * 2**30}
SPAN = PhaseSpan(name="hold", start_s=0.0, end_s=1000.0)


def side(latencies: list[float], failed: int = 0, changes: dict[str, object] | None = None) -> Side:
    rows: list[DrillRow] = [row(float(at), took=took) for at, took in enumerate(latencies)]
    rows += [row(900.0 + at / 10, outcome=RequestOutcome.FAILED) for at in range(failed)]
    record = RunRecord(
        run_id="r", actor="t", scenario_name="tiny", scenario_digest="d" * 64, seed=1, environment="dev",
        fleet="local", started_ts=0.0, started_mono_s=0.0, host=HOST, phases=(SPAN,), faults=(kill(),),
    )  # fmt: skip
    return Side(record=msgspec.structs.replace(record, **(changes or {})), rows=rows, ledger_digest="0" * 64)


samples = st.lists(st.floats(0.1, 0.2), min_size=60, max_size=200)


@settings(max_examples=25)
@given(samples)
def test_the_same_data_is_never_a_regression(latencies: list[float]) -> None:
    found = compare(side(latencies), side(latencies))
    assert found.not_comparable == ""
    assert found.differences
    assert found.regressions == ()


@settings(max_examples=25)
@given(samples)
def test_twice_as_slow_is_a_regression_and_its_reverse_an_improvement(latencies: list[float]) -> None:
    slow = [2.1 * value for value in latencies]
    worse = compare(side(latencies), side(slow))
    assert {one.measure for one in worse.regressions} >= {"p50 latency"}
    better = compare(side(slow), side(latencies))
    assert better.regressions == ()
    assert any(one.improvement for one in better.differences)


def test_a_small_effect_is_none_however_certain() -> None:
    assert compare(side([0.100] * 500), side([0.115] * 500)).regressions == ()


def test_a_large_effect_that_may_be_noise_is_none() -> None:
    # Two clusters: where the median falls is chance, so the interval of the difference holds zero.
    before, after = [0.1] * 31 + [0.9] * 29, [0.1] * 29 + [0.9] * 31
    (median,) = [one for one in compare(side(before), side(after)).differences if one.measure == "p50 latency"]
    assert median.current - median.reference > 0.5
    assert not median.regression


def test_more_failures_are_a_regression_by_fishers_test() -> None:
    found = compare(side([0.1] * 300), side([0.1] * 300, failed=12))
    assert [one.measure for one in found.regressions] == ["failures"]
    assert "12 of 312" in comparing.sentence(found.regressions[0])
    assert compare(side([0.1] * 300), side([0.1] * 300, failed=2)).regressions == ()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"scenario_digest": "e" * 64}, "scenarios differ"),
        ({"host": {**HOST, "cpus": 8}}, "hosts differ"),
        ({"confidence": 0.99}, "different sizes"),
    ],
)
def test_what_differs_is_not_comparable(changes: dict[str, object], why: str) -> None:
    found = compare(side([0.1] * 100), side([0.9] * 100, changes=changes))
    assert why in found.not_comparable
    assert found.differences == ()


def test_runs_on_two_drivers_are_shown_side_by_side_and_neither_is_called_better() -> None:
    docker = side([0.9] * 100, changes={"driver": "docker"})
    found = compare(side([0.1] * 100), docker)
    assert (found.not_comparable, found.across) == ("", "local and docker")
    assert {one.measure for one in found.differences} >= {"failures", "p50 latency"}
    assert not any(one.regression or one.improvement for one in found.differences)
    assert "drivers differ" in why_not_comparable(side([0.1]).record, docker.record)


def test_the_same_two_runs_give_the_same_numbers() -> None:
    rng = random.Random(3)
    before, after = ([rng.random() for _ in range(100)] for _ in range(2))
    assert compare(side(before), side(after)) == compare(side(before), side(after))


def _fisher_by_counting(failed: int, count: int, reference_failed: int, reference_count: int) -> float:
    """All ways to hand out the failures, counted."""
    bad, total = failed + reference_failed, count + reference_count
    ways = list(itertools.combinations(range(total), bad))
    return sum(sum(at < count for at in way) >= failed for way in ways) / len(ways)


@given(st.integers(1, 6), st.integers(1, 6), st.data())
def test_fisher_agrees_with_counting(count: int, reference_count: int, data: st.DataObject) -> None:
    failed = data.draw(st.integers(0, count))
    reference_failed = data.draw(st.integers(0, reference_count))
    wanted = _fisher_by_counting(failed, count, reference_failed, reference_count)
    assert fisher_more(failed, count, reference_failed, reference_count) == pytest.approx(wanted)


def test_fisher_on_large_samples() -> None:
    assert fisher_more(0, 3000, 0, 3000) == pytest.approx(1.0)
    assert fisher_more(5, 3000, 0, 3000) == pytest.approx(0.5**5, rel=0.01)
    assert math.isclose(fisher_more(3000, 3000, 0, 3000), 0.0, abs_tol=1e-300)


def test_the_short_way_to_resample_is_the_long_way() -> None:
    """Quantiles of real resamples and the interval by the Beta draw agree."""
    rng = random.Random(5)
    before = sorted(rng.gauss(1.0, 0.2) for _ in range(150))
    after = sorted(rng.gauss(1.1, 0.2) for _ in range(150))

    def drawn(values: list[float]) -> float:
        found = nearest_rank(sorted(rng.choices(values, k=len(values))), 0.95)
        assert found is not None
        return found

    deltas = sorted(drawn(after) - drawn(before) for _ in range(2000))
    low, high = difference_interval(before, after, 0.95, random.Random(6))
    assert low == pytest.approx(deltas[50], abs=0.05)
    assert high == pytest.approx(deltas[1949], abs=0.05)
