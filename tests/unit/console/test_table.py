"""The cursor and marks follow rows; order and filter never lose one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from console.state.fuzzy import fuzzy_score, row_matches
from console.state.table import Column, TableModel, fit_columns

COLUMNS = (
    Column(key="name", title="NAME", width=4, flex=1, cell=lambda r, _: (r[0], "text"), sort=lambda r: r[0]),
    Column(key="size", title="SIZE", width=6, priority=1, cell=lambda r, _: (str(r[1]), "text"), sort=lambda r: r[1]),
    Column(key="note", title="NOTE", width=9, priority=2, cell=lambda r, _: ("", "text"), sort=lambda r: None),
)


def table(**parts):
    model = TableModel(COLUMNS, lambda r: r[0], lambda r: r[0], **parts)
    model.set_items([("a", 3), ("b", None), ("c", 1)])
    return model


def test_cursor_stays_on_its_row_when_rows_move():
    model = table()
    model.select("c")
    model.set_items([("z", 0), ("c", 1), ("a", 3)])
    assert model.current == ("c", 1)
    model.set_sort("size")
    assert model.current == ("c", 1)


def test_cursor_of_a_row_that_left_stays_near_its_place():
    model = table()
    model.select("b")
    model.set_items([("a", 3), ("c", 1)])
    assert model.current == ("c", 1)


def test_newest_first_follows_the_first_row_until_the_cursor_moves():
    model = table(sort_key="name", descending=True, tail=True)
    assert model.current[0] == "c"
    model.set_items([("a", 1), ("d", 1)])
    assert model.current[0] == "d"
    model.move(1)
    model.set_items([("a", 1), ("d", 1), ("e", 1)])
    assert model.current[0] == "a"


def test_unknown_values_sort_last_in_both_directions():
    model = table()
    model.set_sort("size")
    assert model.keys == ["c", "a", "b"]
    model.reverse_sort()
    assert model.keys == ["a", "c", "b"]


def test_sort_walks_through_the_columns():
    model = table()
    assert [model.cycle_sort().key for _ in range(4)] == ["name", "size", "note", "name"]


def test_marks_choose_rows_and_go_with_them():
    model = table()
    assert [row[0] for row in model.chosen()] == ["a"]
    model.toggle_mark()
    model.select("c")
    model.toggle_mark()
    assert [row[0] for row in model.chosen()] == ["a", "c"]
    model.set_items([("c", 1)])
    assert model.marks == {"c"}
    model.toggle_mark()
    assert model.marks == set()


def test_filter_hides_rows_and_gives_them_back():
    model = table()
    model.set_filter("b")
    assert (model.keys, model.total) == (["b"], 3)
    model.set_filter("nothing")
    assert model.current is None
    assert model.chosen() == []
    model.set_filter("")
    assert len(model) == 3


@given(st.lists(st.tuples(st.text("abc", max_size=2), st.none() | st.integers()), unique_by=lambda r: r[0]), st.data())
def test_sorting_keeps_every_row(rows, data):
    model = table()
    model.set_items(rows)
    model.set_sort(data.draw(st.sampled_from(["name", "size", "note"])), descending=data.draw(st.booleans()))
    assert sorted(model.keys) == sorted(r[0] for r in rows)


@given(st.integers(1, 200))
def test_columns_fit_or_only_the_needed_ones_are_left(width):
    fitted = fit_columns(COLUMNS, width)
    total = sum(size for _, size in fitted) + 2 * (len(fitted) - 1)
    assert total <= width or [column.priority for column, _ in fitted] == [0]


def test_room_that_is_left_goes_to_flexible_columns():
    assert [(column.key, size) for column, size in fit_columns(COLUMNS, 30)] == [("name", 11), ("size", 6), ("note", 9)]


def test_fuzzy_prefers_whole_words():
    assert fuzzy_score("sc", "Scale to a number") > fuzzy_score("sc", "Restart a cat")
    assert fuzzy_score("xyz", "Scale") is None
    assert fuzzy_score("", "anything") == 0


def test_filter_words_must_all_match():
    assert row_matches("llm ready", "llm-0 Ready local")
    assert row_matches("l0", "llm-0 Ready")
    assert not row_matches("llm failed", "llm-0 Ready")
