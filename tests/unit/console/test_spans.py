"""Lines keep their width, and changed columns cover every difference."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from console.render.spans import (
    changed_columns,
    clean,
    crop_text,
    fit_line,
    fit_text,
    line_width,
    on,
    text_width,
)

TEXT = st.text(alphabet="ab cé…●漢字▁⣿", max_size=12)
LINE = st.lists(st.tuples(TEXT, st.sampled_from(["text", "muted", "ok b"])), max_size=6).map(tuple)


def cells(line):
    return [(c, style) for text, style in line for c in text for _ in range(text_width(c))]


@given(TEXT, st.integers(0, 20))
def test_cropped_text_never_exceeds_its_width(text, width):
    assert text_width(crop_text(text, width)) <= width


@given(TEXT, st.integers(0, 20), st.sampled_from(["left", "right"]))
def test_fitted_text_has_exactly_its_width(text, width, align):
    assert text_width(fit_text(text, width, align)) == width


@given(LINE, st.integers(0, 40))
def test_fitted_line_has_exactly_its_width(line, width):
    assert line_width(fit_line(line, width)) == width


@given(LINE, LINE, st.integers(1, 40))
def test_changed_columns_cover_every_difference(old, new, width):
    before, after = fit_line(old, width), fit_line(new, width)
    ranges = changed_columns(before, after)
    covered = {x for start, end in ranges for x in range(start, end)}
    differing = {x for x, (a, b) in enumerate(zip(cells(before), cells(after), strict=True)) if a != b}
    assert differing <= covered
    assert all(0 <= start <= end <= width for start, end in ranges)


def test_equal_lines_have_no_changed_columns():
    line = fit_line((("llm-0", "text"), ("12", "ok")), 20)
    assert changed_columns(line, line) == []


def test_one_changed_cell_of_a_table_row_is_one_small_range():
    old = (("llm-0  ", "text"), ("  12", "text"), ("   Ready", "ok"))
    new = (("llm-0  ", "text"), ("  13", "text"), ("   Ready", "ok"))
    assert changed_columns(old, new) == [(10, 11)]


def test_escape_sequences_and_controls_cannot_reach_the_terminal():
    assert clean("\x1b[2Jred\x1b[31m\tx\r\n\x07\u202eevil") == "red x    evil"


def test_surface_is_added_to_every_span():
    assert on((("a", "text"), ("b", "ok b")), "on-cursor") == (("a", "text on-cursor"), ("b", "ok b on-cursor"))
