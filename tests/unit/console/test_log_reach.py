"""Looks around a place of the log show every matching line once, in order, whatever arrives late, and however small
the budget of a look is."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from console.state.log_query import LogQuery
from console.state.log_reach import KEPT, LogReach
from tests.unit.console.log_samples import chunk, holding, numbered

LINES = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 40), st.sampled_from(["x", "y"])), max_size=40)

ENOUGH = 1_000_000
"""Bytes for all there is: only what one look covers is sure to hold lines that arrive late."""


@settings(deadline=None, max_examples=120)
@given(
    LINES,
    LINES,
    st.lists(st.tuples(st.integers(-1, 45), st.integers(1, 6), st.integers(0, 6)), min_size=1, max_size=6),
    st.sampled_from([None, "x", "z"]),
    st.sampled_from([1, 40, ENOUGH]),
)
def test_what_was_read_is_exactly_what_matches_there(
    first: list[tuple[str, int, str]],
    late: list[tuple[str, int, str]],
    looks: list[tuple[int, int, int]],
    pattern: str | None,
    budget: int,
) -> None:
    query = LogQuery(include=(pattern,) if pattern else ())
    store = holding(*(chunk(replica, [(float(second), text)]) for replica, second, text in first))
    reach = LogReach(store, query)
    for turn, (second, above, below) in enumerate(looks):
        if turn == 1 and budget >= ENOUGH:
            for replica, at, text in late:
                store.append(chunk(replica, [(float(at), text)]))
        key = None if second < 0 else (float(second), -1, -1)
        for _ in range(200):
            if key is None:
                reach.newest_lines(above, budget)
            else:
                reach.around(key, above, below, budget)
            if reach.satisfied(key, above, 0 if key is None else below):
                break
        everything = store.after(None, 1000, query, budget_bytes=10**9).lines
        before = [line for line in everything if key is None or line.key < key]
        after = [line for line in everything if key is not None and line.key >= key]
        at = len(reach.lines) if key is None else reach.index(key)
        assert reach.lines[:at][-above:] == before[-above:]
        if key is not None:
            assert reach.lines[at:][:below] == after[:below]
        if turn < 1 or budget < ENOUGH or not late:
            low, high = reach.low, reach.high
            between = [line for line in everything if (low is None or line.key >= low)]
            assert reach.lines == [line for line in between if high is None or line.key <= high]


def test_only_some_screens_of_lines_are_kept() -> None:
    store = holding(chunk("a", numbered(4 * KEPT)))
    reach = LogReach(store, LogQuery())
    reach.newest_lines(50, 10**9)
    for start in range(4 * KEPT - 1, 0, -KEPT // 3):
        reach.around((1000.0 + start, -1, -1), KEPT // 2, 50, 10**9)
        assert len(reach.lines) <= KEPT
        assert reach.index((1000.0 + start, -1, -1)) > 0
    for start in range(0, 4 * KEPT, KEPT // 3):
        reach.around((1000.0 + start, -1, -1), 10, KEPT // 2, 10**9)
        assert len(reach.lines) <= KEPT


def test_a_rare_line_far_back_is_found_look_by_look() -> None:
    lines = [(1000.0 + n, f"{'rare' if n in (7, 19_000) else 'filler'} {'x' * 90}") for n in range(20_000)]
    store = holding(chunk("a", lines))
    reach = LogReach(store, LogQuery(include=("rare",)))
    looks = 0
    while not reach.satisfied(None, 2):
        reach.newest_lines(2, 100_000)
        looks += 1
    assert [line.ts for line in reach.lines] == [1007.0, 20_000.0]
    assert looks > 3
    store.append(chunk("a", [(30_000.0, "rare")]))
    reach.newest_lines(2, 100_000)
    assert [line.ts for line in reach.lines] == [1007.0, 20_000.0, 30_000.0]


def test_two_places_far_apart_are_not_joined_over_what_was_not_read() -> None:
    store = holding(chunk("a", numbered(1000)))
    reach = LogReach(store, LogQuery())
    for second in (1100.0, 1900.0, 1100.0):
        reach.around((second, -1, -1), 5, 5, 10**9)
        assert [line.ts for line in reach.lines] == [second + step for step in range(-5, 5)]
    reach.newest_lines(5, 10**9)
    assert [line.ts for line in reach.lines] == [1995.0 + step for step in range(5)]


def test_only_what_comes_from_a_line_on_is_looked_at_where_nothing_before_it_is_asked_for() -> None:
    reach = LogReach(holding(chunk("a", numbered(10))), LogQuery())
    reach.around((1004.0, -1, -1), 0, 3, ENOUGH)
    assert [line.key[0] for line in reach.lines] == [1004.0, 1005.0, 1006.0]


def test_a_look_that_its_budget_ended_goes_on_once_in_each_direction() -> None:
    reach = LogReach(holding(chunk("a", numbered(10)), chunk("b", numbered(10))), LogQuery())
    key = (1004.0, -1, -1)
    while not reach.satisfied(key, 3, 3):
        reach.around(key, 3, 3, 1)
    at = reach.index(key)
    assert [line.ts for line in reach.lines[at - 3 : at + 3]] == [1002.0, 1003.0, 1003.0, 1004.0, 1004.0, 1005.0]
