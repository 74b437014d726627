"""Charts fill exactly their cells, leave gaps where nothing was measured, and stand still between cells."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from console.render.charts import Frame, Series, chart
from console.render.spans import line_width

VALUES = st.lists(st.none() | st.floats(0, 1e4), max_size=120)


def frame(width=40, height=8, now=1000.0, **parts):
    return Frame(width=width, height=height, now=now, window_s=100.0, label=lambda value: f"{value:.0f}", **parts)


def text_of(lines):
    return ["".join(text for text, _ in line) for line in lines]


def series(values, end=1000.0):
    return Series("a", "series1", [(end - len(values) + 1 + at, value) for at, value in enumerate(values)])


@given(VALUES, st.integers(1, 120), st.integers(1, 30), st.booleans())
def test_a_chart_is_exactly_as_large_as_asked(values, width, height, area):
    lines = chart([series(values)], frame(width, height, area=area))
    assert len(lines) == height
    assert all(line_width(line) == width for line in lines)


def test_nothing_measured_draws_nothing():
    body = text_of(chart([series([None] * 50)], frame()))[:-1]
    assert not any(0x2800 <= ord(c) <= 0x28FF for line in body for c in line)


def test_a_long_hole_is_a_gap_and_a_short_one_is_bridged():
    values = [5.0] * 40 + [None] * 20 + [5.0] * 40
    holed = text_of(chart([series(values)], frame(floor=10)))
    row = next(line for line in holed if any(0x2800 < ord(c) <= 0x28FF for c in line))
    dotted = [at for at, c in enumerate(row) if 0x2800 < ord(c) <= 0x28FF]
    steps = [b - a for a, b in itertools.pairwise(dotted)]
    assert max(steps) > 3, "20 s without a value must be a gap"
    short = [5.0, None, 5.0] * 30
    row = next(
        line
        for line in text_of(chart([series(short)], frame(floor=10)))
        if any(0x2800 < ord(c) <= 0x28FF for c in line)
    )
    dotted = [at for at, c in enumerate(row) if 0x2800 < ord(c) <= 0x28FF]
    assert max(b - a for a, b in itertools.pairwise(dotted)) == 1


def test_time_alone_does_not_move_the_picture_within_a_cell():
    points = series([float(at % 7) for at in range(100)])
    pictures = {tuple(chart([points], frame(now=1000.0 + shift))) for shift in (0.0, 0.3, 0.6)}
    assert len(pictures) == 1


def test_higher_values_stand_higher():
    lines = text_of(chart([series([1.0] * 50 + [9.0] * 50)], frame(floor=10)))[:-1]
    heights = {}
    for y, line in enumerate(lines):
        for x, c in enumerate(line):
            if 0x2800 < ord(c) <= 0x28FF:
                heights.setdefault(x, []).append(y)
    left, right = min(heights[12]), min(heights[35])
    assert right < left


def test_scale_and_axis_are_labelled():
    lines = text_of(chart([series([30.0] * 60)], frame()))
    assert lines[0].strip().startswith("50")
    assert lines[-2].strip().startswith("0")
    assert lines[-1].rstrip().endswith("now")
    assert "-" in lines[-1]


def test_area_has_an_edge_and_a_quiet_body():
    lines = chart([series([10.0] * 100)], frame(area=True, floor=10))
    assert any(style == "series1" and "█" in text for text, style in lines[0])
    assert any(style == "rule" and "█" in text for text, style in lines[-2])
