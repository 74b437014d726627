"""Deltas: put together again they are the snapshot, what did not change is the same object, and they are small."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract.control import ReplicaView, Snapshot, SnapshotDelta
from backend.contract.deltas import apply_delta, keep_unchanged, make_delta
from tests.unit.console.sample import replica, snapshot

NAMES = tuple(f"llm-{n}" for n in range(8))


@st.composite
def snapshots(draw: st.DrawFn, *, unique: bool = True) -> Snapshot:
    names = draw(st.lists(st.sampled_from(NAMES), unique=unique, max_size=8))
    views = tuple(replica(name, restarts=draw(st.integers(0, 2))) for name in names)
    return snapshot(seq=draw(st.integers(1, 9)), health=draw(st.sampled_from(("ok", "down"))), replicas=views)


def over_the_wire(delta: SnapshotDelta) -> SnapshotDelta:
    return msgspec.json.decode(msgspec.json.encode(delta), type=SnapshotDelta)


@given(snapshots(unique=False), snapshots(unique=False))
def test_a_delta_put_on_its_base_is_the_new_snapshot(base: Snapshot, new: Snapshot) -> None:
    delta = make_delta(base, new)
    if delta is None:
        names = [view.status.name for view in (*base.replicas, *new.replicas)]
        assert len(set(names)) < len(names), "replicas that have nothing in common are never out of order"
        return
    again = apply_delta(base, over_the_wire(delta))
    assert again == new
    known = {view.status.name: view for view in base.replicas}
    for view in again.replicas:
        before = known.get(view.status.name)
        assert before is None or before != view or before is view, "what did not change is the same object"


@given(snapshots(), st.lists(st.integers(0, 2), min_size=8, max_size=8))
def test_of_the_same_replicas_only_those_that_differ_are_told(base: Snapshot, restarts: list[int]) -> None:
    views = [replica(v.status.name, restarts=n) for v, n in zip(base.replicas, restarts, strict=False)]
    new = keep_unchanged(base, msgspec.structs.replace(base, seq=10, replicas=tuple(views)))
    delta = make_delta(base, new)
    assert delta is not None
    pairs = list(zip(base.replicas, new.replicas, strict=True))
    assert [view.status.name for view in delta.changed] == [view.status.name for old, view in pairs if old != view]
    assert all(old is view for old, view in pairs if old == view)
    assert apply_delta(base, over_the_wire(delta)) == new


@given(snapshots(), snapshots())
def test_keep_unchanged_changes_nothing_but_identity(base: Snapshot, new: Snapshot) -> None:
    kept = keep_unchanged(base, new)
    assert kept == new
    known = {view.status.name: view for view in base.replicas}
    assert all(view is known[view.status.name] for view in kept.replicas if view == known.get(view.status.name))


def test_another_order_and_two_of_one_name_are_told_whole() -> None:
    a, b = replica("a"), replica("b")
    assert make_delta(snapshot(replicas=(a, b)), snapshot(replicas=(b, a))) is None
    assert make_delta(snapshot(replicas=(a,)), snapshot(replicas=(b, a))) is None, "a new one before an old one"
    assert make_delta(snapshot(replicas=(a, a)), snapshot(replicas=(a,))) is None
    assert make_delta(snapshot(replicas=()), snapshot(replicas=(a, a))) is None


def test_a_delta_for_another_snapshot_is_refused() -> None:
    delta = make_delta(snapshot(seq=3), snapshot(seq=4))
    assert delta is not None
    with pytest.raises(ValueError, match="for snapshot 3, not 7"):
        apply_delta(snapshot(seq=7), delta)


def test_five_percent_of_a_thousand_replicas_cost_a_fifteenth_of_the_whole() -> None:
    views = [replica(f"llm-{n}") for n in range(1000)]
    base = snapshot(replicas=tuple(views))
    changed: list[ReplicaView] = [replica(f"llm-{n}", restarts=1) if n % 20 == 0 else views[n] for n in range(1000)]
    delta = make_delta(base, snapshot(seq=2, replicas=tuple(changed)))
    assert delta is not None
    assert len(delta.changed) == 50
    assert len(msgspec.json.encode(delta)) * 15 < len(msgspec.json.encode(base))
