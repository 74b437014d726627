"""The overview is laid out at any size: inside, without overlap, with the table always there or one pane alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.render.chart_list import CHARTS
from console.render.layout import PANES, charts_view, one_pane, overview

CHART_NAMES = tuple(spec.name for spec in CHARTS)


def inside_and_apart(places, width, height):
    taken = set()
    for place in places.values():
        assert place.x >= 0
        assert place.y >= 0
        assert place.x + place.width <= width
        assert place.y + place.height <= height
        assert place.width > 0
        assert place.height > 0
        cells = {(x, y) for x in range(place.x, place.x + place.width) for y in range(place.y, place.y + place.height)}
        assert not cells & taken
        taken |= cells


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
    assert charts_view(0, 5, CHART_NAMES, "cpu") == {}


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
