"""The series: one point a second, no gaps, an hour at most."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backend.contract.control import Quantiles, SeriesPoint
from backend.telemetry.series import Levels, Series, build_point, point_from_samples, samples_of


def point(second: int, requests: float = 1.0, p50_s: float | None = 0.2) -> SeriesPoint:
    return build_point(
        second,
        ttft=Quantiles(count=3, p50_s=p50_s, p95_s=p50_s, p99_s=p50_s) if p50_s else Quantiles(),
        requests=requests,
        errors=0.5,
        tokens_per_s=12.5,
        levels=Levels(queued=1, in_flight=2, ready=3, wanted=4, cpu_percent=5.5, memory_percent=6.5),
    )


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=20))
def test_seconds_follow_each_other(steps: list[int]) -> None:
    series, second = Series(keep_s=3600), 1_000_000
    for step in steps:
        second += step
        series.push(point(second))
    seconds = [int(one.ts) for one in series.points()]
    assert seconds == list(range(seconds[0], seconds[0] + len(seconds)))
    assert seconds[-1] == second
    assert len(seconds) == min(3600, sum(steps[1:]) + 1)


def test_filled_seconds_hold_levels_and_have_no_rates() -> None:
    series = Series()
    series.push(point(10))
    series.push(point(13))
    filled = series.points()[1]
    assert (filled.ready, filled.queued, filled.cpu_percent) == (3, 1, 5.5)
    assert (filled.requests_per_s, filled.tokens_per_s, filled.ttft.count, filled.ttft.p50_s) == (0.0, 0.0, 0, None)


def test_the_same_second_is_replaced_and_a_clock_set_back_drops_the_future() -> None:
    series = Series()
    for second in (10, 11, 12):
        series.push(point(second))
    series.push(point(12, requests=9.0))
    assert [one.requests_per_s for one in series.points()] == [1.0, 1.0, 9.0]
    series.push(point(10, requests=7.0))
    assert [(one.ts, one.requests_per_s) for one in series.points()] == [(10.0, 7.0)]


def test_newest_points_are_last() -> None:
    series = Series()
    for second in range(100):
        series.push(point(second))
    assert [one.ts for one in series.points(3)] == [97.0, 98.0, 99.0]
    assert len(series.points(0)) == 0
    assert len(series.points(1000)) == 100
    assert series.last_second == 99


def test_before_the_first_point_there_is_a_blank_one() -> None:
    series = Series()
    assert series.newest_or_blank(12.7).ts == 12.0
    series.push(point(10))
    assert series.newest_or_blank(12.7) == point(10)


def test_a_point_survives_the_ledger() -> None:
    for one in (point(10), point(11, p50_s=None)):
        rows = list(samples_of(one, "local"))
        assert point_from_samples(int(one.ts), {row.metric: row.value for row in rows}) == one
        assert {row.ts for row in rows} == {one.ts}


def test_an_idle_second_has_no_quantiles_in_the_ledger() -> None:
    assert not [row for row in samples_of(point(10, p50_s=None), "local") if row.metric.endswith(("50_s", "99_s"))]
