"""Charts fill exactly their cells, leave gaps where nothing was measured, stand still between cells and cost what a
second brings."""

from __future__ import annotations

import itertools
from collections import deque

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract.control import Quantiles
from console.render import ability
from console.render.chart_list import CHARTS, QUEUE_AND_FLIGHT, TOKENS, TTFT, legend
from console.render.charts import Chart, Frame, Look, Series, plot
from console.render.plotter import DASH_GLYPHS, Pen, Plotter, draw, rows_of, runs
from console.render.scales import GUTTER, ago, ruler, time_axis, value_labels
from console.render.spans import line_width
from console.state.series import FIELDS

from .sample import point

SPECS = (*CHARTS, QUEUE_AND_FLIGHT)
P50 = msgspec.structs.replace(TTFT, lines=TTFT.lines[:1], noted=())


def look(width=40, height=8, edge=1000.0, **parts):
    return Look(width=width, height=height, edge=edge, window_s=100.0, **parts)


def text_of(lines):
    return ["".join(text for text, _ in line) for line in lines]


def braille(text):
    return [at for at, c in enumerate(text) if 0x2800 < ord(c) <= 0x28FF]


def seconds(values, end=1000.0):
    """A point a second; the value is TTFT, queue, tokens and CPU at once, null where nobody measured."""
    start = end - len(values) + 1
    return [
        point(
            start + at,
            ttft=Quantiles(count=0 if value is None else 5, p50_s=value, p95_s=value, p99_s=value),
            queued=int(value or 0),
            tokens_per_s=value or 0.0,
            cpu_percent=min(100.0, value or 0.0),
        )
        for at, value in enumerate(values)
    ]


VALUES = st.lists(st.none() | st.floats(0, 1e4), max_size=120)


@given(VALUES, st.integers(1, 120), st.integers(1, 30), st.sampled_from(SPECS), st.booleans())
def test_a_chart_is_exactly_as_large_as_asked(values, width, height, spec, axis):
    given_look = look(width, height, axis=axis, marks=(("x" * width, "text"),) if height > 4 else None)
    lines = Chart(spec).lines(seconds(values), given_look)
    assert len(lines) == height
    assert all(line_width(line) == width for line in lines)


@given(
    st.lists(st.none() | st.floats(0, 50), min_size=2, max_size=90),
    st.sampled_from((P50, TTFT, TOKENS)),
    st.integers(20, 80),
)
def test_a_picture_that_grew_is_the_same_as_one_drawn_anew(values, spec, width):
    growing, points = deque(maxlen=60), seconds(values)
    grown = Chart(spec)
    for one in points:
        growing.append(one)
        given_look = look(width, edge=one.ts)
        picture = grown.lines(growing, given_look)
    assert picture == Chart(spec).lines(growing, given_look)


@pytest.mark.parametrize("spec", [TTFT, QUEUE_AND_FLIGHT, TOKENS])
def test_a_second_draws_the_newest_columns_only(spec):
    points = deque(seconds([0.2 + 0.01 * (at % 7) for at in range(900)]), maxlen=900)
    chart, given_look = Chart(spec), Look(width=60, height=10, edge=points[-1].ts, window_s=300.0)
    chart.lines(points, given_look)
    drawn = chart.plotter.drawn
    for second in range(1, 31):
        points.append(seconds([0.2], end=1000.0 + second)[0])
        chart.lines(points, msgspec.structs.replace(given_look, edge=points[-1].ts))
    assert (chart.plotter.drawn - drawn) / 30 <= 6


@pytest.mark.parametrize("spec", [TTFT, QUEUE_AND_FLIGHT, TOKENS])
def test_between_two_moves_only_the_newest_column_changes(spec):
    points = deque(seconds([0.2 + 0.05 * (at % 5) for at in range(400)]), maxlen=900)
    chart, before, moves, changed = Chart(spec), None, 0, []
    for second in range(1, 60):
        points.append(seconds([0.2 + 0.05 * (second % 5)], end=1000.0 + second)[0])
        given_look = Look(width=50, height=8, edge=points[-1].ts, window_s=300.0)
        end = chart.cells(given_look).end
        now = text_of(chart.lines(points, given_look))
        if before is not None and before[0] == end:
            columns = {x for old, new in zip(before[1], now, strict=True) for x in range(50) if old[x] != new[x]}
            changed.append(columns)
        elif before is not None:
            moves += 1
        before = (end, now)
    assert moves <= 12, "the picture moves by whole cells"
    assert all(len(columns) <= 1 for columns in changed)
    assert all(min(columns) >= 48 for columns in changed if columns)


def test_nothing_measured_draws_nothing():
    body = text_of(Chart(P50).lines(seconds([None] * 50), look()))[:-1]
    assert not any(braille(line) for line in body)
    assert Chart(P50).lines([], look())


def test_a_long_hole_is_a_gap_and_a_short_one_is_bridged():
    def steps(values):
        lines = text_of(Chart(P50).lines(seconds(values), look()))
        dotted = braille(next(line for line in lines if braille(line)))
        return [b - a for a, b in itertools.pairwise(dotted)]

    assert max(steps([5.0] * 40 + [None] * 20 + [5.0] * 40)) > 3, "20 s without a value must be a gap"
    assert max(steps([5.0, None, 5.0] * 30)) == 1


def test_a_gap_in_an_area_is_blank_and_nought_is_too():
    pen = Pen(("series1",), rows=2, top=8.0, reach=2, area=True)
    values = [[None] * 4 + [8.0, None, 8.0, None, None, None, 8.0, 0.0]]
    upper, lower = text_of(rows_of(draw(values, pen), 2))
    assert (upper, lower) == ("███   █ ", "███   █ ")


def test_time_alone_does_not_move_the_picture_within_a_cell():
    points = seconds([float(at % 7) for at in range(100)])
    pictures = {tuple(Chart(P50).lines(points, look(edge=1000.0 + shift))) for shift in (0.0, 0.3, 0.6)}
    assert len(pictures) == 1


def test_higher_values_stand_higher():
    lines = text_of(Chart(P50).lines(seconds([1.0] * 50 + [9.0] * 50), look()))[:-1]
    heights = {}
    for y, line in enumerate(lines):
        for x in braille(line):
            heights.setdefault(x, []).append(y)
    assert min(heights[35]) < min(heights[12])


def test_the_scale_is_that_of_what_is_seen():
    points = seconds([9.0] * 100 + [0.3] * 100)
    assert text_of(Chart(P50).lines(points, look()))[0].strip().startswith("500 ms"), "the peak has left the picture"
    cpu = next(spec for spec in CHARTS if spec.name == "cpu")
    assert text_of(Chart(cpu).lines(seconds([3.0] * 9), look()))[0].strip().startswith("100%")


def test_blocks_draw_the_same_lines_without_braille():
    lines = text_of(Chart(P50).lines(seconds([5.0] * 100), look(dots="block")))
    assert not any(braille(line) for line in lines)
    assert any(c in line for line in lines[:-1] for c in "▀▄")


def test_scale_and_axis_are_labelled():
    lines = text_of(Chart(QUEUE_AND_FLIGHT).lines(seconds([30.0] * 60), look()))
    assert lines[0].strip().startswith("50")
    assert lines[-2].strip().startswith("0")
    assert lines[-1].rstrip().endswith("now")
    assert "-" in lines[-1]
    assert value_labels(5.0, 6, QUEUE_AND_FLIGHT.label)[3] == "2.5"
    assert value_labels(4.0, 6, QUEUE_AND_FLIGHT.label)[3] == "2"


@given(st.sampled_from(SPECS), st.floats(0, 1e12))
def test_a_label_never_moves_the_picture(spec, value):
    assert len(spec.label(value)) < GUTTER


def test_a_picture_that_stands_still_shows_times_of_day():
    import re

    held = text_of(Chart(QUEUE_AND_FLIGHT).lines(seconds([30.0] * 60), look(held=True)))[-1]
    assert re.search(r"\d\d:\d\d:\d\d\s*$", held)
    standing = text_of([time_axis(7, 90, 300.0, 1_000_000.0)])[0]
    assert len(re.findall(r"\d\d:\d\d:\d\d", standing)) == 6
    assert "now" not in standing
    assert [ago(s) for s in (30, 300, 90, 5400, 21600)] == ["-30s", "-5m", "-1.5m", "-1.5h", "-6h"]
    assert len("".join(text for text, _ in time_axis(7, 2, 300.0))) == 9


def test_area_has_an_edge_and_a_quiet_body():
    lines = Chart(TOKENS).lines(seconds([100.0] * 100), look())
    assert any(style == "series4" and "█" in text for text, style in lines[0])
    assert any(style == "rule" and "█" in text for text, style in lines[-2])


def test_lines_through_the_plot_hide_nothing():
    points, rulers = seconds([5.0] * 100), {10: ("│", "accent on-cursor"), 20: ("┊", "rule")}
    plain = text_of(Chart(P50).lines(points, look()))
    lines = Chart(P50).lines(points, look(rulers=rulers))
    ruled = text_of(lines)
    assert sum("│" in line for line in ruled) >= 6
    for before, after in zip(plain, ruled, strict=True):
        assert all(new == old or (old == " " and new in "│┊") for old, new in zip(before, after, strict=True))
    surfaces = [text for line in lines[:-1] for text, style in line if style.endswith("on-cursor")]
    assert all(len(text) == 1 for text in surfaces), "the surface does not run on into blanks"
    assert len(surfaces) == len(lines) - 1


def test_the_value_at_an_instant_is_the_one_in_the_picture():
    chart, given_look = Chart(TTFT), look()
    assert chart.at(1000.0, given_look) == {}
    chart.lines(seconds([0.1] * 50 + [None] * 20 + [0.4] * 30), given_look)
    assert chart.at(990.0, given_look)["p95"] == 0.4
    assert chart.at(925.0, given_look)["p95"] == 0.1
    assert chart.at(960.0, given_look)["p95"] is None


def test_legends_take_the_fullest_form_that_fits():
    values = {name: FIELDS[name].of(point()) for name in TTFT.fields}

    def said(width, when=""):
        return text_of([legend(TTFT, values, width, when)])[0]

    assert said(120, "14:05:30") == "14:05:30  p50 50 ms  p95 200 ms  p99 400 ms  n 3"
    assert said(60) == "p50 50 ms  p95 200 ms  p99 400 ms  n 3"
    assert said(40) == "p50 50 p95 200 p99 400 ms n3"
    assert said(36) == "p50 50 p95 200 p99 400 ms n3"
    assert said(32) == "p50 50 p95 200 p99 400 n3"
    assert text_of([legend(TTFT, values | {"p99": 2.25}, 36)])[0] == "p50 0.1 p95 0.2 p99 2.2 s n3"
    assert text_of([legend(TTFT, values | {"n": 0.0}, 60)])[0] == "idle, n 0"
    assert text_of([legend(TTFT, dict.fromkeys(values), 60, "14:05:30")])[0] == "14:05:30  no data"
    tokens = {name: FIELDS[name].of(point()) for name in TOKENS.fields}
    assert text_of([legend(TOKENS, tokens, 60)])[0] == "tok/s 80  req/s 2.0"
    assert text_of([legend(TOKENS, tokens, 20)])[0] == "tok/s 80"


def test_without_colour_lines_are_told_apart_by_their_dashes():
    flat = seconds([0.2] * 200)
    points = [msgspec.structs.replace(p, ttft=Quantiles(count=9, p50_s=0.1, p95_s=0.25, p99_s=0.4)) for p in flat]
    lines = text_of(Chart(TTFT).lines(points, look(80, 10, dashed=True)))
    drawn = [sum(bin(ord(line[at])).count("1") - 2 for at in braille(line)) for line in lines if braille(line)]
    dotted, dashed, solid = drawn
    assert solid > dashed > dotted > 20
    said = text_of([legend(TTFT, {"p50": 0.1, "p95": 0.2, "p99": 0.4, "n": 9.0}, 80, dashed=True)])[0]
    assert said == "━p50 100 ms  ╍p95 200 ms  ┅p99 400 ms  n 9"
    assert text_of([legend(TTFT, {"p50": 0.1, "p95": 0.2, "p99": 0.4, "n": 9.0}, 36, dashed=True)])[0].endswith("n9")
    assert text_of([legend(TOKENS, {"tokens": 5.0}, 80, dashed=True)])[0].startswith("tok/s"), "one needs no dashes"
    plain = [glyph.translate(ability.ASCII) for glyph in DASH_GLYPHS]
    assert len(set(plain)) == 3
    assert all(glyph.isascii() for glyph in plain)


def test_dashes_move_with_the_picture():
    apart = Quantiles(count=9, p50_s=0.1, p95_s=0.25, p99_s=0.4)
    points, chart = deque(maxlen=200), Chart(TTFT)
    for second in range(160):
        points.append(point(1000.0 + second, ttft=apart))
        given_look = look(60, edge=points[-1].ts, dashed=True)
        picture = chart.lines(points, given_look)
        assert second < 120 or picture == Chart(TTFT).lines(points, given_look)


def test_the_cursors_line_has_a_surface_of_its_own():
    assert ruler("cursor")[1].endswith("on-cursor")
    assert ruler("mark")[0] != ruler("cursor")[0]


def test_points_of_any_kind_can_be_plotted():
    """What the drill's timeline uses: series of its own, beginning at 0."""
    frame = Frame(width=20, height=4, now=9.99, window_s=10.0, label=str)
    rising = Series("a", "series1", [(float(at), float(at)) for at in range(10)])
    lines = text_of(plot([rising], frame, 20, 4, 10.0))
    assert min(braille(lines[0])) > max(braille(lines[3]))
    mean = Series("a", "series1", [(0.1, 0.0), (0.2, 10.0), (0.3, None), (99.0, 5.0)], "mean")
    lines = text_of(plot([mean], frame, 20, 4, 10.0))
    assert any(braille(line) for line in lines[1:3])


def test_a_plotter_starts_anew_where_nothing_is_the_same():
    plotter, pen = Plotter(), Pen(("series1",), rows=3, top=10.0)
    values = [[1.0] * (pen.lead + 20)]
    plotter.columns(values, 0, pen)
    assert plotter.drawn == 10
    plotter.columns(values, 0, pen)
    assert plotter.drawn == 10, "the same picture again is free"
    plotter.columns(values, -100, pen)
    plotter.columns(values, 1000, pen)
    plotter.columns(values, 1000, msgspec.structs.replace(pen, top=20.0))
    assert plotter.drawn == 40
    assert rows_of([], 3) == [(), (), ()]


def test_a_line_that_does_not_move_paints_no_cell_while_time_goes_on() -> None:
    """A braille cell is two buckets wide: the half that has not come yet is drawn as the half that has."""
    pen = Pen(styles=("series1",), rows=3, top=1.0, reach=2)
    plotter = Plotter()
    level: list[float | None] = [0.5] * (pen.lead + 20)
    whole = plotter.columns([level], 0, pen)
    half: list[float | None] = [*level[:-1], None]
    assert Plotter().columns([half], 0, pen) == whole
    gone: list[float | None] = [*level[:-2], None, None]
    assert Plotter().columns([gone], 0, pen) != whole


def test_no_cells_are_an_empty_line():
    assert runs([], []) == ()


def test_marks_stand_between_the_plot_and_its_axis_and_either_may_be_left_out():
    chart, marks = Chart(TTFT), (("A", "accent"),)
    both = text_of(chart.lines(seconds([1.0] * 5), look(marks=marks)))
    assert both[-2].split() == ["A"]
    assert "now" in both[-1]
    alone = text_of(chart.lines(seconds([1.0] * 5), look(marks=marks, axis=False)))
    assert alone[-1].split() == ["A"]
    assert len(both) == len(alone) == 8
