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
    join,
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


def test_what_joins_a_letter_takes_no_cell():
    assert text_width("e\u0301a\u200dü漢") == 5


def test_only_what_is_there_is_joined():
    assert join([(), (("a", "text"),), (), (("b", "ok"),)], (" ", "muted")) == (
        ("a", "text"),
        (" ", "muted"),
        ("b", "ok"),
    )
    assert join([(), ()], (" ", "muted")) == ()


def test_changes_close_together_are_one_range():
    old = (("1", "text"), ("  ", "text"), ("1", "ok"), ("     ", "text"), ("1", "ok"))
    new = (("2", "text"), ("  ", "text"), ("2", "ok"), ("     ", "text"), ("2", "ok"))
    assert changed_columns(old, new) == [(0, 4), (9, 10)]


def test_what_two_cells_have_in_common_at_both_ends_is_left_out():
    assert changed_columns((("up 12 s", "text"),), (("up 34 s", "text"),)) == [(3, 5)]
    assert changed_columns((("漢 12", "text"),), (("漢 34", "text"),)) == [(0, 5)], "wide text is changed as a whole"


def test_lines_cut_differently_change_between_their_common_ends():
    assert changed_columns((("ab", "text"), ("cdef", "ok")), (("ab", "text"), ("cX", "ok"), ("ef", "ok"))) == [(3, 4)]
    assert changed_columns((("ab", "text"), ("cdef", "ok")), (("ab", "text"), ("c", "ok"), ("Xef", "ok"))) == [(3, 4)]
    assert changed_columns((("same", "text"),), (("same", "text"), ("", "ok"))) == [(4, 4)], "no cell"
    assert changed_columns((("same", "text"),), (("", "ok"), ("same", "text"))) == [(0, 0)], "no cell"
    assert changed_columns((("abc", "text"),), (("ab", "text"),)) == [(2, 3)], "a line that got shorter"


def test_an_ellipsis_that_has_no_room_itself_leaves_no_letter():
    assert crop_text("abc", 1) == "…"
    assert crop_text("漢字", 3) == "漢…"
    assert crop_text("abc", 2, "") == "ab"
