"""What lies before the state's points is asked for once a stretch, and thinned to what a terminal can show."""

from __future__ import annotations

from typing import Any

import pytest

from backend.contract.control import SeriesPoint
from backend.contract.recording import Moment, RecordExtent
from console.state.recorded import (
    LONGEST_S,
    MOST_POINTS,
    Stretch,
    fill_heat,
    load,
    reach_s,
    rows_of,
    wanted,
    wanted_step,
)
from console.state.replica_ttft import ReplicaTtft

from .sample import action, event, point, snapshot

NOW = 1_000_000.0


class Source:
    """Holds a second each from `first` to `NOW`."""

    def __init__(self, first: float) -> None:
        self.first = first
        self.asked: list[tuple[str, float]] = []

    async def series(self, seconds: int) -> list[SeriesPoint]:
        self.asked.append(("series", seconds))
        begin = max(self.first, NOW - min(seconds, 3600) + 1)
        return [point(begin + at) for at in range(int(NOW - begin) + 1)]


class Recording(Source):
    async def extent(self) -> RecordExtent:
        return RecordExtent(first_ts=self.first if self.first < NOW else None, last_ts=NOW)

    async def moment(self, ts: float, *, window_s: int = 900) -> Moment:
        self.asked.append(("moment", ts))
        begin = max(self.first, ts - window_s)
        points = tuple(point(begin + at) for at in range(int(ts - begin) + 1))
        return Moment(ts=ts, snapshot=snapshot(ts=ts), points=points)


def held(seconds: int) -> list[SeriesPoint]:
    return [point(NOW - seconds), point(NOW)]


def any_source(source: Source) -> Any:
    return source


def test_nothing_is_asked_while_the_state_holds_the_picture():
    assert wanted(NOW - 300, NOW, held(300), Stretch()) is None


def test_more_than_the_picture_is_asked_for_and_only_once():
    asked = wanted(NOW - 900, NOW, held(300), Stretch())
    assert asked is not None
    assert (asked.since, asked.until, asked.step_s) == (NOW - 1350, NOW - 300, 1.0)
    assert wanted(NOW - 900, NOW, held(300), asked) is None
    assert wanted(NOW - 1300, NOW - 400, held(300), asked) is None, "a cursor that takes the picture along"
    assert wanted(NOW - 2000, NOW - 1100, held(300), asked) is not None


def test_zooming_in_on_what_was_thinned_asks_again():
    day = Stretch(NOW - 86_400, NOW, wanted_step(86_400.0))
    assert wanted(NOW - 5060, NOW - 5000, held(300), day) is not None
    assert wanted(NOW - 80_000, NOW, held(300), day) is None


def test_without_a_point_everything_is_asked_for():
    asked = wanted(NOW - 300, NOW, [], Stretch())
    assert asked is not None
    assert asked.until == NOW


async def test_within_an_hour_the_series_answer_in_one_call():
    source = Recording(NOW - 50_000)
    got = await load(any_source(source), Stretch(NOW - 1350, NOW - 300), NOW)
    assert source.asked == [("series", 1351)]
    assert (got.points[0].ts, got.points[-1].ts) == (NOW - 1350, NOW - 301)


async def test_hours_come_from_the_record_one_by_one_and_thinned():
    source = Recording(NOW - 50_000)
    asked = Stretch(NOW - 32_400, NOW - 300, wanted_step(21_600.0))
    got = await load(any_source(source), asked, NOW)
    assert len(source.asked) == 9
    assert len(got.points) <= MOST_POINTS
    times = [one.ts for one in got.points]
    assert times == sorted(times)
    assert (times[0], times[-1]) == (pytest.approx(NOW - 32_400, abs=30), pytest.approx(NOW - 300, abs=30))
    assert got.begins(NOW - 300) is None


async def test_no_second_is_told_twice_where_hours_meet():
    got = await load(any_source(Recording(NOW - 50_000)), Stretch(NOW - 11_000, NOW - 8_000.0), NOW)
    across = await load(any_source(Recording(NOW - 50_000)), Stretch(NOW - 9_000, NOW - 300.0), NOW)
    for stretch in (got, across):
        times = [one.ts for one in stretch.points]
        assert len(set(times)) == len(times) == stretch.until - stretch.since


async def test_the_record_is_not_asked_for_what_was_before_it():
    source = Recording(NOW - 4000)
    got = await load(any_source(source), Stretch(NOW - 32_400, NOW - 300, 20.0), NOW)
    assert len(source.asked) == 2
    assert got.begins(NOW - 300) == NOW - 4000
    nothing = await load(any_source(Recording(NOW)), Stretch(NOW - 32_400, NOW - 300, 20.0), NOW)
    assert nothing.points == []
    assert nothing.begins(NOW - 300) == NOW - 300, "then it begins with what is held"
    assert Stretch().begins(NOW) is None


async def test_a_source_without_a_past_gives_its_last_hour():
    source = Source(NOW - 50_000)
    got = await load(any_source(source), Stretch(NOW - 32_400, NOW - 300, 20.0), NOW)
    assert source.asked == [("series", 3600)]
    assert got.points
    assert await reach_s(any_source(source), NOW) == 3600


async def test_everything_is_what_is_recorded_within_a_day():
    assert await reach_s(any_source(Recording(NOW - 5000)), NOW) == 5000
    assert await reach_s(any_source(Recording(NOW - 500_000)), NOW) == LONGEST_S
    assert await reach_s(any_source(Recording(NOW - 5)), NOW) == 60
    assert await reach_s(any_source(Recording(NOW)), NOW) == 900


async def test_a_heat_map_begins_with_what_is_recorded_one_reading_a_minute() -> None:
    heat = ReplicaTtft()
    source = Recording(NOW - 400)
    heat.take(NOW, snapshot().replicas)
    assert await fill_heat(any_source(source), heat, NOW, 2) == 6
    assert len(source.asked) == 6
    assert all(heat.is_covered(NOW - back) for back in range(0, 390, 10))
    assert await fill_heat(any_source(source), heat, NOW, 2) == 0
    assert len(source.asked) == 6, "what is there is not asked for again"


async def test_a_large_fleet_is_asked_for_less() -> None:
    source = Recording(NOW - 50_000)
    assert await fill_heat(any_source(source), ReplicaTtft(), NOW, 10_000) == 3
    assert await fill_heat(any_source(Source(NOW)), ReplicaTtft(), NOW, 2) == 0
    assert await fill_heat(any_source(Recording(NOW)), ReplicaTtft(), NOW, 2) == 0


async def test_the_marks_of_a_stretch_come_with_it() -> None:
    asked: list[tuple[str, float, float]] = []

    class Ledger(Recording):
        async def rows(self, table: str, *, since_ts: float, until_ts: float, limit: int) -> list[Any]:
            asked.append((table, since_ts, until_ts))
            return [event(1)] if table == "events" else [action("a")]

    events, actions = await rows_of(any_source(Ledger(NOW)), Stretch(NOW - 900, NOW - 300))
    assert ([row.seq for row in events], [row.id for row in actions]) == ([1], ["a"])
    assert asked == [("events", NOW - 900, NOW - 300), ("actions", NOW - 900, NOW - 300)]
