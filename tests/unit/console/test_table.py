"""The cursor and marks follow rows; order and filter never lose one."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from console.render import units
from console.render.columns import REPLICAS, WORKLOADS
from console.render.ledger_columns import ACTION_COLUMNS, EVENT_COLUMNS, REQUEST_COLUMNS
from console.render.merged_columns import MERGED_REPLICAS
from console.state.column import plain_name, window
from console.state.fuzzy import fuzzy_score
from console.state.merged import MergedList
from console.state.simulator import SimulatorSource
from console.state.table import Column, TableModel, fit_columns
from tests.unit.console import sample

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


def test_names_sort_as_people_count():
    model = TableModel(COLUMNS, lambda r: r[0], lambda r: r[0], sort_key="name")
    model.set_items([(name, 1) for name in ("llm-10", "LLM-2", "llm-02", "embedding-0", "llm-1", "llm-")])
    assert model.keys == ["embedding-0", "llm-", "llm-1", "LLM-2", "llm-02", "llm-10"]


def test_the_same_snapshot_again_costs_nothing():
    calls = Calls()
    items = (("a", 1), ("b", 2))
    calls.model.set_items(items)
    assert calls.since(lambda: calls.model.set_items(items)) == (0, 0, 0)
    calls.model.set_sort("size", descending=True)
    assert (calls.sorts, calls.model.total) == (0, 2)
    assert not calls.model.select("c")


def test_equal_rows_keep_their_order_both_ways():
    model = table(sort_key="size")
    model.set_items([("a", 1), ("b", 2), ("c", 1), ("d", float("nan"))])
    assert model.keys == ["a", "c", "b", "d"]
    model.reverse_sort()
    assert model.keys == ["b", "a", "c", "d"]


def test_sort_by_name_is_for_the_command_line():
    model = table()
    assert model.sort_by("SIZE", descending=True) == ""
    assert model.keys == ["a", "c", "b"]
    assert model.sort_by("colour") == "There is no column 'colour' here; there are name, size, note."
    assert model.sort_key == "size"


def test_a_range_of_marks_goes_from_the_last_mark_to_the_cursor():
    model = table()
    model.set_items([(name, 1) for name in "abcdef"])
    model.move_to(1)
    model.toggle_mark()
    model.move_to(4)
    model.mark_range()
    assert sorted(model.marks) == ["b", "c", "d", "e"]
    model.move_to(0)
    model.mark_range()
    assert sorted(model.marks) == ["a", "b", "c", "d", "e"]


def test_a_range_without_a_mark_before_it_is_the_cursors_row():
    model = table()
    model.move_to(1)
    model.mark_range()
    assert model.marks == {"b"}
    model.set_filter("nothing")
    model.mark_range()
    assert model.marks == {"b"}


def test_all_filtered_rows_are_marked_at_once_and_unmarked():
    model = table()
    model.set_items([("a1", 1), ("a2", 1), ("b", 1)])
    model.set_filter("a")
    model.mark_all()
    assert model.marks == {"a1", "a2"}
    model.set_filter("")
    assert model.hidden_marks == 0
    model.mark_all()
    assert model.marks == {"a1", "a2", "b"}
    model.mark_all()
    assert model.marks == set()


def test_marks_that_the_filter_hides_are_counted_and_still_chosen():
    model = table()
    model.mark_all()
    model.set_filter("b")
    assert (len(model.marks), model.hidden_marks) == (3, 2)
    assert [row[0] for row in model.chosen()] == ["b", "a", "c"]


def test_a_columns_name_that_is_only_begun_hides_nothing():
    model = table()
    assert model.typed("si") == ""
    assert model.typed("a si") == "a"
    assert model.typed("size>2") == "size>2"
    assert model.typed("zz") == "zz"
    model.set_items([("size-1", 1), ("b", 2)])
    assert model.typed("si") == "si", "a row says it"
    model.set_filter("b sise:3")
    assert (model.filter, len(model.notes), model.cursor, model.keys) == ("b sise:3", 1, 0, ["b"])


def test_a_table_shows_at_least_one_column():
    model = table()
    model.set_columns(COLUMNS[1:])
    model.set_columns(())
    assert [column.key for column in model.columns] == ["size", "note"]


def test_a_filter_on_ages_holds_as_time_goes_by():
    now = [100.0]
    ages = (
        Column(
            key="age",
            title="AGE",
            width=4,
            cell=lambda r, now: (str(now - r[1]), "text"),
            sort=lambda r: -r[1],
            value=lambda r, now: now - r[1],
            kind="seconds",
            timely=True,
        ),
    )
    model = TableModel(ages, lambda r: r[0], lambda r: r[0], clock=lambda: now[0])
    items = (("a", 50.0), ("b", 90.0), ("c", 95.0))
    model.set_items(items)
    model.set_filter("age>20s")
    assert model.keys == ["a"]
    now[0] = 112.0
    model.set_items(items)
    assert model.keys == ["a", "b"]
    model.set_filter("age<20s")
    now[0] = 200.0
    model.set_items(items)
    assert model.keys == []


class Calls:
    """Counts what an update of 1,000 rows asks of its columns."""

    def __init__(self):
        self.sorts = self.hays = self.keys = self.values = 0
        column = Column(
            key="size",
            title="SIZE",
            width=4,
            cell=lambda r, _: (str(r[1]), "text"),
            sort=self._sort,
            value=self._value,
            kind="number",
        )
        self.model = TableModel((column,), self._key, self._hay, sort_key="size", descending=True)

    def _sort(self, row):
        self.sorts += 1
        return row[1]

    def _value(self, row, _):
        self.values += 1
        return row[1]

    def _hay(self, row):
        self.hays += 1
        return row[0]

    def _key(self, row):
        self.keys += 1
        return row[0]

    def since(self, act):
        """(sorts, haystacks, values) that `act` asked for."""
        self.sorts = self.hays = self.values = self.keys = 0
        act()
        return self.sorts, self.hays, self.values


def test_an_update_asks_only_of_the_rows_that_changed():
    calls = Calls()
    rows = [(f"llm-{n}", n) for n in range(1000)]
    calls.model.set_items(rows)
    assert calls.since(lambda: calls.model.set_filter("llm size>=0")) == (0, 1000, 1000)
    changed = [(name, size + 7) if size % 20 == 0 else row for row in rows for name, size in [row]]
    assert calls.since(lambda: calls.model.set_items(changed)) == (50, 50, 50)
    assert calls.keys == 50
    assert calls.since(lambda: calls.model.set_items(list(changed))) == (0, 0, 0)
    assert calls.since(lambda: calls.model.set_filter("llm size>=1")) == (0, 0, 1000)
    shorter = [("new", 5), *changed[10:]]
    calls.model.set_filter("llm")
    assert calls.since(lambda: calls.model.set_items(shorter)) == (1, 1, 0)


row = st.tuples(st.sampled_from([f"r{n}" for n in range(12)]), st.none() | st.integers(0, 4))


@given(
    st.lists(st.lists(row, unique_by=lambda r: r[0], max_size=12), min_size=2, max_size=5)
    | st.lists(st.lists(st.none() | st.integers(0, 4), min_size=9, max_size=9), min_size=2, max_size=5).map(
        lambda versions: [[(f"r{n}", size) for n, size in enumerate(sizes)] for sizes in versions]
    ),
    st.sampled_from(["", "1", "size>1", "-size:2 r"]),
    st.sampled_from([None, "name", "size"]),
    st.booleans(),
)
def test_updates_lead_to_what_a_new_table_would_show(versions, text, sort_key, descending):
    columns = (COLUMNS[0], msgspec.structs.replace(COLUMNS[1], kind="number"))
    kept: dict = {}

    def build():
        return TableModel(columns, lambda r: r[0], lambda r: r[0], sort_key=sort_key, descending=descending)

    model = build()
    model.set_filter(text)
    for items in versions:
        same = [kept.setdefault(item, item) for item in items]
        model.set_items(same)
        anew = build()
        anew.set_items(same)
        anew.set_filter(text)
        assert model.order == anew.order
        assert model.keys == [item[0] for item in model.order]
        assert model.current is None or model.current in model.order


def test_columns_pass_by_behind_the_first_until_the_last_is_seen():
    columns = [
        Column(key=key, title=key, width=6, cell=lambda r, _: ("", ""), sort=lambda r: None, priority=at)
        for at, key in enumerate("abcdef")
    ]
    assert window([], 80) == window([], 80, 3)
    everything = window(columns, 60, 4)
    assert ([c.key for c, _ in everything.columns], everything.before, everything.after) == (
        list("abcdef"),
        False,
        False,
    )
    seen = []
    for left in range(5):
        shown = window(columns, 26, left)
        seen.append(("".join(c.key for c, _ in shown.columns), shown.before, shown.after, shown.left))
        assert sum(size for _, size in shown.columns) + 2 * (len(shown.columns) - 1) <= 24
    assert seen == [
        ("abc", False, True, 0),
        ("acd", True, True, 1),
        ("ade", True, True, 2),
        ("aef", True, False, 3),
        ("aef", True, False, 3),
    ]


@given(st.integers(1, 120))
def test_every_column_is_reached_by_going_right(width):
    columns = [column for column in REPLICAS if not column.hidden]
    seen = {column.key for left in range(len(columns)) for column, _ in window(columns, width, left).columns}
    assert seen == {column.key for column in columns}


def test_every_column_of_every_table_has_a_cell_a_place_and_a_value_for_any_row():
    from backend.contract.fleet import ExitRecord, ProbeStatus

    probe = ProbeStatus(name="liveness", ok=False)
    full = sample.replica("llm-0", last_exit=ExitRecord(ts=900.0, code=3), probes=(probe,), adopted=True)
    killed = sample.replica("llm-1", last_exit=ExitRecord(ts=900.0, signal=9, reason="Killed"))
    bare = msgspec.structs.replace(sample.replica("llm-2"), edge=None)
    first, second, third = (
        {column.title: column.cell(view, 1000.0)[0] for column in REPLICAS} for view in (full, killed, bare)
    )
    assert [first[title] for title in ("LAST EXIT", "PROBES", "ADOPTED", "EXITED")] == [
        "Error 3",
        "liveness",
        "yes",
        "1m",
    ]
    assert (second["LAST EXIT"], second["PROBES"]) == ("Killed signal 9", units.NOTHING)
    assert (third["SESSIONS"], first["SESSIONS"]) == (units.NOTHING, "10")
    for columns, rows in (
        (REPLICAS, [full, killed, bare]),
        (MERGED_REPLICAS, MergedList().take([("local", (full, bare), False), ("far", (killed,), True)])),
        (WORKLOADS, sample.snapshot().workloads),
        (REQUEST_COLUMNS, SimulatorSource(replicas=1, warm_s=30).world.requests),
        (EVENT_COLUMNS, [sample.event(1), sample.event(2, attributes={"a": 1})]),
        (ACTION_COLUMNS, [sample.action("1"), sample.action("2", undoable=True, args={"replicas": 3})]),
    ):
        keys = [column.key for column in columns]
        assert len(keys) == len(set(keys))
        names = [plain_name(column.title) for column in columns]
        assert len(names) == len(set(names)), names
        for column in columns:
            for item in rows:
                assert isinstance(column.cell(item, 1000.0)[0], str)
                value = (column.value or (lambda item, _, sort=column.sort: sort(item)))(item, 1000.0)
                assert value is None or isinstance(value, str) is (column.kind == "text"), column.key


def test_an_empty_table_has_no_cursor_and_no_mark():
    model = table()
    model.set_items([])
    model.move(1)
    model.toggle_mark()
    assert (model.current, model.cursor, model.marks) == (None, 0, set())


def test_a_row_that_only_looks_different_moves_nothing():
    model = table()
    shown = list(model.order)
    model.set_items([("a", 4), *shown[1:]])
    assert list(model.order) == [("a", 4), *shown[1:]]
    assert model.current == ("a", 4)
