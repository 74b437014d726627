"""The log ring is bounded, ordered, and counts what it no longer holds."""

from __future__ import annotations

from backend.contract.rows import LogRow
from console.state.logs import LogRing, without


def rows(*stamps, replica="a"):
    return [LogRow(ts=float(ts), replica=replica, message=f"line {ts}") for ts in stamps]


def test_what_the_ring_lets_go_is_counted():
    ring = LogRing(capacity=3)
    ring.extend(rows(1, 2))
    ring.extend(rows(3, 4, 5))
    assert [row.ts for row in ring.rows] == [3, 4, 5]
    assert (ring.received, ring.released) == (5, 2)


def test_late_lines_of_another_replica_are_put_in_order():
    ring = LogRing()
    ring.extend(rows(1, 3))
    ring.extend(rows(2, 4, replica="b"))
    assert [row.ts for row in ring.rows] == [1, 2, 3, 4]
    assert ring.newest_ts == 4


def test_find_counts_and_windows():
    ring = LogRing()
    ring.extend(rows(1, 2, 12))
    ring.set_find("LINE 1")
    assert ring.count() == 2
    assert [row.ts for row in ring.matching(1)] == [12]
    assert [row.ts for row in ring.matching(1, skip=1)] == [1]


def test_clearing_keeps_the_filter():
    ring = LogRing()
    ring.set_find("x")
    ring.extend(rows(1))
    ring.clear()
    assert (len(ring.rows), ring.find, ring.extend([])) == (0, "x", 0)


def test_following_from_the_newest_instant_repeats_no_line_and_loses_none():
    ring = LogRing()
    ring.extend([*rows(1, 2), *rows(2, replica="b")])
    held = ring.newest()
    for batch in ([], rows(2), [*rows(2, replica="b"), *rows(2, replica="c")], rows(2, 3)):
        ring.extend(without(batch, held))
    assert [(row.ts, row.replica) for row in ring.rows] == [(1, "a"), (2, "a"), (2, "b"), (2, "c"), (2, "a"), (3, "a")]
