"""Seconds in buckets: only what is new is added, and the cursor stays on the instant it was put on."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract.control import Quantiles
from console.state.series import FIELDS, ZOOMS, Buckets, TimeLens, grid, point_of, thinned

from .sample import point

MEASURED = st.lists(st.tuples(st.integers(1, 4), st.none() | st.floats(0, 9)), min_size=1, max_size=60)


def seconds(values, start=1000.0):
    return [point(start + at, queued=value) for at, value in enumerate(values)]


def history(steps):
    ts, out = 1000.0, []
    for step, p95 in steps:
        ts += step
        out.append(point(ts, ttft=Quantiles(count=1, p95_s=p95), requests_per_s=float(step)))
    return out


@given(MEASURED, st.floats(0.3, 20), st.data())
def test_buckets_fed_second_by_second_are_those_of_all_at_once(steps, step_s, data):
    points = history(steps)
    fields = [FIELDS[name] for name in ("p95", "requests", "n")]
    live, growing = Buckets(fields, step_s), deque(maxlen=900)
    for one in points:
        growing.append(one)
        if data.draw(st.booleans()):
            live.follow(growing)
    live.follow(growing)
    at_once = Buckets(fields, step_s)
    at_once.follow(points)
    first = int(1000 / step_s) - 1
    assert live.window(first, 400) == at_once.window(first, 400)


def test_nothing_measured_is_a_gap_and_peaks_are_kept():
    buckets = Buckets([FIELDS["queued"], FIELDS["p95"], FIELDS["requests"]], 5.0)
    buckets.follow(
        [
            point(1000, queued=2, requests_per_s=1, ttft=Quantiles()),
            point(1001, queued=9, requests_per_s=3, ttft=Quantiles()),
            point(1002, queued=4, requests_per_s=2, ttft=Quantiles()),
            point(1011, queued=1),
        ]
    )
    assert buckets.window(199, 5) == [
        [None, 9.0, None, 1.0, None],
        [None, None, None, 0.2, None],
        [None, 2.0, None, 2.0, None],
    ]
    assert buckets.near(1006.0, 1) == [9.0, 0.2, 2.0], "the nearest that was measured, of each"
    assert buckets.near(1050.0, 1) == [None, None, None]


def test_another_history_starts_anew_and_older_seconds_stand_before_it():
    buckets = Buckets([FIELDS["queued"]], 1.0)
    buckets.follow(seconds([1, 2, 3]))
    live = seconds([7], start=1002.0)
    buckets.follow(live, seconds([5, 5, 5]))
    assert buckets.window(1000, 4) == [[5.0, 5.0, 7.0, None]]


def test_what_is_kept_is_bounded(monkeypatch):
    monkeypatch.setattr("console.state.series._MOST_BUCKETS", 20)
    buckets, live = Buckets([FIELDS["queued"]], 1.0), deque(maxlen=10)
    for one in seconds([1] * 100):
        live.append(one)
        buckets.follow(live)
    assert len(buckets._values[0]) <= 21
    assert buckets.window(1090, 10) == [[1.0] * 10]


@given(st.floats(1e6, 2e9), st.sampled_from([60.0, 300.0, 3600.0, 21600.0]), st.integers(8, 200), st.integers(1, 2))
def test_the_newest_cell_holds_the_edge_and_cells_are_whole(edge, window, columns, per_cell):
    cells = grid(edge, window, columns, per_cell)
    assert cells.column_of(edge) == columns - 1
    assert cells.column_of(cells.left_s - cells.cell_s) is None
    assert cells.end % per_cell == 0
    assert cells.right_s - cells.left_s == pytest.approx(window)
    assert cells.column_of(cells.middle_of(3)) == 3


def test_a_stride_moves_the_picture_rarely():
    ends = {grid(1000.0 + second, 300.0, 30, 1, stride=4).end for second in range(80)}
    assert len(ends) == 2
    assert all(end % 4 == 0 for end in ends)


def test_the_cursor_begins_at_the_newest_second_and_stays_on_its_instant():
    lens = TimeLens()
    lens.move(-5, newest=1000.0, oldest=100.0)
    assert (lens.at, lens.edge(1000.0)) == (995.0, 1000.0)
    assert lens.edge(1100.0) == 1100.0, "the picture goes on"
    assert lens.at == 995.0
    assert lens.edge(2000.0) == pytest.approx(995 + 300 * 15 / 16), "but never leaves the cursor behind"
    lens.move(900, newest=1000.0, oldest=100.0)
    assert lens.at == 1000.0
    assert lens.clear()
    assert lens.at is None
    assert not lens.clear()


def test_the_cursor_takes_the_picture_along_at_its_left_edge_and_stops_where_nothing_is_known():
    lens = TimeLens()
    lens.move(-600, newest=1000.0, oldest=500.0)
    assert lens.at == 500.0
    assert lens.edge(1000.0) < 1000.0
    lens.move(60, newest=1000.0, oldest=500.0)
    left = lens.edge(1000.0) - lens.window_s
    assert left < lens.at < lens.edge(1000.0)


@given(st.floats(0, 290), st.lists(st.sampled_from([-1, 1]), max_size=12))
def test_zooming_keeps_the_cursor_in_the_picture(back, steps):
    newest = 1_000_000.0
    lens = TimeLens()
    lens.point(newest - back, newest)
    for step in steps:
        level = lens.level
        assert lens.zoom(step, newest) == (0 <= level + step < len(ZOOMS))
        assert lens.edge(newest) - lens.window_s <= lens.at <= lens.edge(newest) <= newest
    assert lens.at == newest - back


def test_zooming_in_and_out_again_shows_the_same_stretch():
    lens = TimeLens(level=2)
    lens.point(700.0, 1000.0)
    before = lens.edge(1000.0)
    lens.zoom(-1, 1000.0)
    assert lens.edge(1000.0) == pytest.approx(800.0)
    lens.zoom(1, 1000.0)
    assert lens.edge(1000.0) == pytest.approx(before)


def test_everything_is_as_long_as_the_record():
    lens = TimeLens(level=len(ZOOMS) - 1)
    lens.all_s = 1234.5
    assert lens.window_s == 1260.0
    lens.all_s = 3.0
    assert lens.window_s == 60.0


def test_the_mouse_wins_over_the_cursor_while_it_is_there():
    lens = TimeLens()
    lens.point(900.0, 1000.0)
    lens.hover = 950.0
    assert lens.at == 950.0
    lens.hover = None
    assert lens.at == 900.0


def test_hours_are_thinned_as_charts_would_reduce_them():
    points = history([(1, 0.1), (1, 0.5), (1, None), (1, None), (20, 0.2)])
    few = thinned(points, 10.0)
    assert [one.ts for one in few] == [1001.0, 1024.0]
    assert few[0].ttft.p95_s == 0.5
    assert few[0].requests_per_s == 1.0
    assert few[1] is points[-1]
    assert thinned([], 10.0) == []


def test_a_second_is_the_same_after_a_way_through_its_fields():
    one = point(queued=4, errors_per_s=0.5)
    values = {name: value for name, field in FIELDS.items() if (value := field.of(one)) is not None}
    assert point_of(one.ts, values) == one


def test_zooming_without_a_cursor_goes_on_with_what_comes():
    lens = TimeLens()
    assert lens.zoom(1, newest=1000.0)
    assert (lens.at, lens.anchor, lens.edge(1000.0)) == (None, None, 1000.0)
    while lens.zoom(1, newest=1000.0):
        pass
    assert not lens.zoom(1, newest=1000.0), "there is no further level"
