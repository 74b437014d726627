"""The overview is laid out at any size: inside, without overlap, with the table always there or one pane alone."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.render.chart_list import CHARTS
from console.render.layout import PANES, RUN_PANES, charts_view, drill_run, one_pane, overview

CHART_NAMES = tuple(spec.name for spec in CHARTS)


def inside_and_apart(places, width, height):
    for place in places.values():
        assert place.x >= 0
        assert place.y >= 0
        assert place.x + place.width <= width
        assert place.y + place.height <= height
        assert place.width > 0
        assert place.height > 0
    for one, other in itertools.combinations(places.values(), 2):
        beside = one.x + one.width <= other.x or other.x + other.width <= one.x
        assert beside or one.y + one.height <= other.y or other.y + other.height <= one.y


@given(st.integers(1, 300), st.integers(1, 100), st.integers(0, 1000), st.sampled_from(PANES))
def test_panels_are_inside_and_do_not_overlap(width, height, rows, pane):
    places = overview(width, height, rows, pane)
    assert places
    inside_and_apart(places, width, height)


@given(st.integers(1, 260), st.integers(1, 80), st.sampled_from((*CHART_NAMES, "heat")))
def test_charts_are_inside_and_have_one_width(width, height, pane):
    places = charts_view(width, height, CHART_NAMES, pane)
    assert pane in places
    inside_and_apart(places, width, height)
    assert len({place.width for name, place in places.items() if name in CHART_NAMES}) <= 1


def test_charts_show_what_they_promise_at_the_designed_sizes():
    assert set(charts_view(40, 10, CHART_NAMES, "cpu")) == {"words", "cpu", "axis0"}
    everything = {"words", "axis0", "axis1", *CHART_NAMES}
    assert set(charts_view(80, 22, CHART_NAMES, "cpu")) == everything
    assert set(charts_view(120, 38, CHART_NAMES, "cpu")) == everything
    assert set(charts_view(200, 58, CHART_NAMES, "cpu")) == everything | {"heat"}
    assert set(charts_view(120, 38, CHART_NAMES, "heat")) == {"words", "heat"}
    assert set(charts_view(40, 10, CHART_NAMES, "heat")) == {"words", "heat"}
    assert charts_view(0, 5, CHART_NAMES, "cpu") == {}
    assert set(charts_view(80, 22, CHART_NAMES[:3], "cpu")) == {"words", "axis0", "axis1", *CHART_NAMES[:3]}


@pytest.mark.parametrize(
    ("size", "panels"),
    [
        ((40, 10), {"table"}),
        ((80, 22), {"table", "ttft", "queue", "feed", "logs"}),
        ((120, 38), set(PANES)),
        ((200, 58), set(PANES)),
    ],
)
def test_the_designed_sizes_show_what_they_promise(size, panels):
    assert set(overview(*size, 2, "table")) == panels


def test_a_small_terminal_shows_the_chosen_pane():
    assert one_pane(40, 10)
    assert set(overview(40, 10, 2, "logs")) == {"logs"}
    assert overview(0, 0, 2, "logs") == {}


@given(st.integers(1, 260), st.integers(4, 80), st.sampled_from(RUN_PANES), st.integers(1, 40))
def test_panels_of_a_running_drill_are_inside_and_do_not_overlap(width, height, pane, lines):
    places = drill_run(width, height, pane, rows=lambda name, _, room: min(room, lines))
    inside_and_apart({name: place for name, place in places.items() if place.width > 0}, width, height)


@pytest.mark.parametrize("size", [(80, 22), (120, 38), (200, 58)])
def test_a_running_drill_shows_all_its_panels_at_the_designed_sizes_and_the_timeline_is_the_largest(size):
    places = drill_run(*size, "timeline", rows=lambda name, width, room: min(room, 3))
    assert set(places) == {"head", *RUN_PANES}
    inside_and_apart(places, *size)
    assert max(places, key=lambda name: places[name].width * places[name].height) == "timeline"


def test_a_running_drill_in_a_small_terminal_is_its_head_and_the_chosen_panel():
    assert set(drill_run(40, 10, "faults", rows=lambda *_: 1)) == {"head", "faults"}
    assert drill_run(0, 10, "faults", rows=lambda *_: 1) == {}
