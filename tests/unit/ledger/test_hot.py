"""Hot rows: bounded, by time, latest action wins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract.rows import Row
from backend.contract.words import ActionOutcome
from backend.ledger.hot import HotRows
from tests.unit.ledger.rows import action, request

_BOUND = 50


def all_of(hot: HotRows) -> list[Row]:
    return list(hot.select(since_ts=0.0, until_ts=None, limit=10**9, where=None))


@given(
    st.lists(st.tuples(st.integers(0, 50), st.sampled_from("ab")), max_size=80),
    st.integers(0, 50),
    st.one_of(st.none(), st.integers(0, 60)),
    st.integers(0, 20),
    st.booleans(),
    st.booleans(),
)
def test_select_equals_filtering_a_sorted_list(
    arrivals: list[tuple[int, str]], since: int, until: int | None, limit: int, by_replica: bool, load: bool
) -> None:
    rows = [request(float(ts), str(n), replica) for n, (ts, replica) in enumerate(arrivals)]
    hot = HotRows(10_000)
    if load:
        hot.load(rows)
    else:
        for row in rows:
            hot.add(row)
    expected = [
        row
        for row in sorted(rows, key=lambda row: row.ts)
        if row.ts >= since and (until is None or row.ts < until) and (not by_replica or row.replica == "a")
    ]
    where = {"replica": "a"} if by_replica else None
    found = hot.select(since_ts=float(since), until_ts=until, limit=limit, where=where)
    assert list(found) == (expected[-limit:] if limit else [])


@pytest.mark.parametrize("load", [True, False])
def test_the_newest_stay(load: bool) -> None:
    rows = [request(float(n), str(n)) for n in range(5_000)]
    hot = HotRows(_BOUND)
    if load:
        hot.load(rows)
    else:
        for row in rows:
            hot.add(row)
    assert len(hot) == _BOUND
    assert [row.ts for row in all_of(hot)] == [float(n) for n in range(5_000 - _BOUND, 5_000)]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), max_size=60), st.booleans())
def test_one_row_an_action_the_latest(arrivals: list[tuple[int, int]], load: bool) -> None:
    rows = [
        action(float(ts), f"a{name}", ActionOutcome.OK if n % 2 else ActionOutcome.RUNNING)
        for n, (ts, name) in enumerate(arrivals)
    ]
    hot = HotRows(1000)
    if load:
        hot.load(rows)
    else:
        for row in rows:
            hot.add(row)
    latest = {row.id: row for row in rows}
    found = all_of(hot)
    assert sorted(latest.values(), key=lambda row: (row.ts, row.id)) == sorted(
        found, key=lambda row: (row.ts, getattr(row, "id", ""))
    )


def test_actions_forgotten_by_the_bound_may_come_again() -> None:
    hot = HotRows(10)
    for n in range(3_000):
        hot.add(action(float(n), f"a{n}"))
    hot.add(action(4_000.0, "a0", ActionOutcome.OK))
    assert len(hot) == 10
    newest = all_of(hot)[-1]
    assert newest.ts == 4_000.0
