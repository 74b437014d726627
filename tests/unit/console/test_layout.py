"""The overview is laid out at any size: inside, without overlap, with the table always there or one pane alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.render.layout import PANES, one_pane, overview


@given(st.integers(1, 300), st.integers(1, 100), st.integers(0, 1000), st.sampled_from(PANES))
def test_panels_are_inside_and_do_not_overlap(width, height, rows, pane):
    places = overview(width, height, rows, pane)
    assert places
    taken = set()
    for place in places.values():
        assert place.x >= 0
        assert place.y >= 0
        assert place.x + place.width <= width
        assert place.y + place.height <= height
        assert place.width > 0
        assert place.height > 0
        cells = {(x, y) for x in (place.x, place.x + place.width - 1) for y in range(place.y, place.y + place.height)}
        assert not cells & taken
        taken |= {(x, y) for x in range(place.x, place.x + place.width) for y in range(place.y, place.y + place.height)}


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
