"""What the console knows: frames fold in, alarms ring once, what is lost is marked."""

from __future__ import annotations

import pytest

from backend.contract.control import Frame
from backend.contract.words import ActionOutcome, Severity, Verb
from console.state.store import FleetState

from .sample import action, event, point, snapshot


@pytest.fixture
def state():
    state = FleetState()
    state.load_history([point(998), point(999)], [event(1), event(2, Severity.ERROR)], [])
    return state


def test_a_frame_makes_it_live_and_lengthens_the_history(state):
    assert state.link == "connecting"
    state.apply(Frame(seq=1, snapshot=snapshot()))
    assert state.link == "live"
    assert [p.ts for p in state.points] == [998, 999, 1000]
    state.apply(Frame(seq=2, snapshot=snapshot()))
    assert len(state.points) == 3, "the same second twice is one point"


def test_new_alarms_ring_and_old_ones_do_not(state):
    assert [e.seq for e in state.apply(Frame(seq=1, events=(event(3, Severity.CRITICAL), event(4))))] == [3]
    assert state.apply(Frame(seq=2, events=(event(3, Severity.CRITICAL),))) == []


def test_history_rings_nothing():
    fresh = FleetState()
    assert fresh.apply(Frame(seq=1, events=(event(1, Severity.ERROR),))) == []


def test_acknowledging_silences_up_to_its_number(state):
    assert [e.seq for e in state.unacknowledged()] == [2]
    state.add_actions([action("x", verb=Verb.ACKNOWLEDGE, args={"seq": 2})])
    assert state.unacknowledged() == []
    assert [e.seq for e in state.apply(Frame(seq=1, events=(event(3, Severity.ERROR),)))] == [3]


def test_losing_the_daemon_keeps_the_data_and_shows_its_age(state):
    state.apply(Frame(seq=1, snapshot=snapshot()))
    state.lost("The daemon does not answer.")
    assert state.link == "stale"
    assert state.stale_s(1030.0) == 30.0
    assert len(state.replicas) == 2
    state.apply(Frame(seq=2, snapshot=snapshot(ts=1031.0, point=point(1031))))
    assert state.stale_s(1031.0) is None


def test_a_result_is_never_overwritten_by_its_intent(state):
    state.add_actions([action("a", ActionOutcome.OK, result="done"), action("a", ActionOutcome.RUNNING)])
    assert [row.result for row in state.actions] == ["done"]


def test_undo_offers_the_newest_action_that_has_one_and_only_once(state):
    state.add_actions([action("a", ts=1, undoable=True), action("b", ts=2, undoable=True), action("c", ts=3)])
    assert state.last_undoable().id == "b"
    state.add_actions([action("d", ts=4, verb="undo", undo_of="b")])
    assert state.last_undoable().id == "a"
    state.add_actions([action("e", ts=5, verb="undo", undo_of="a")])
    assert state.last_undoable() is None


def test_missed_events_are_counted(state):
    state.apply(Frame(seq=1, missed_events=7))
    assert state.missed_events == 7


def test_reading_by_name(state):
    state.apply(Frame(seq=1, snapshot=snapshot()))
    assert state.replica("llm-1").status.name == "llm-1"
    assert state.replica("gone") is None
    assert state.workload("llm").wanted == 2
    assert state.scaling_of("llm") is None


def test_what_was_recorded_last_is_there_until_something_newer_comes():
    state = FleetState(snapshot(ts=1000.0), [point(999.0), point(1000.0)])
    assert [one.ts for one in state.points] == [999.0, 1000.0]
    state.load_history([point(1000.0), point(1001.0)], [], [])
    assert [one.ts for one in state.points] == [999.0, 1000.0, 1001.0]


def test_an_acknowledgement_without_a_number_silences_nothing(state):
    state.add_actions([action("a", verb="acknowledge", args={"seq": "all"})])
    assert state.acked_seq == 0


def test_an_edge_and_its_slots_are_there_until_the_fleet_says_otherwise(state):
    assert (state.has_edge, state.edge_slots) == (True, True)
    state.apply(Frame(seq=1, snapshot=snapshot(edge_slots=False)))
    assert (state.has_edge, state.edge_slots) == (True, False)
    state.apply(Frame(seq=2, snapshot=snapshot(has_edge=False)))
    assert not state.has_edge
