"""What a verb on many does together, and the merged list of many fleets."""

from __future__ import annotations

from typing import Any

import msgspec

from backend.contract.control import ReplicaView, WorkloadView
from backend.contract.words import Phase, Verb
from console.render.merged_columns import MERGED_REPLICAS, merged_haystack
from console.render.spans import line_width
from console.render.tab_line import Tab, tab_line
from console.state.bulk import serves, together
from console.state.merged import MergedList
from tests.unit.console.sample import replica


def workload(**parts: Any) -> WorkloadView:
    values: dict[str, Any] = {"name": "llm", "wanted": 3, "ready": 3, "total": 3, "slots": 12, "routes": ()}
    return WorkloadView(**(values | {"queued": 0, "in_flight": 0} | parts))


def quiet(name: str, **parts: Any) -> ReplicaView:
    return msgspec.structs.replace(replica(name, **parts), edge=None)


THREE = (replica("llm-0"), replica("llm-1"), quiet("llm-2"))


def test_killing_two_of_three_tells_what_is_left() -> None:
    found = together(Verb.KILL, ["llm-0", "llm-2"], THREE, [workload()])
    assert found.effects == ("llm: 3 → 1 ready, capacity 12 → 4 slots, 1 request in flight there",)
    assert not found.last


def test_killing_all_tells_that_nothing_serves() -> None:
    found = together(Verb.DRAIN, ["llm-0", "llm-1", "llm-2"], THREE, [workload(slots=0)])
    assert found.effects == ("llm: 3 → 0 ready, 2 requests in flight there: nothing of it serves meanwhile",)
    assert found.last


def test_a_workload_that_loses_nothing_is_not_named() -> None:
    down = (replica("llm-0"), replica("llm-1", phase=Phase.FAILED))
    assert not serves(down[1])
    assert together(Verb.KILL, ["llm-1"], down, [workload(ready=1), workload(name="embedding", ready=0)]).effects == ()


def test_verbs_that_stop_nothing_have_no_effect_together() -> None:
    assert together(Verb.UNDRAIN, ["llm-0"], THREE, [workload()]).effects == ()


def test_rows_of_unchanged_replicas_are_the_same_rows() -> None:
    merged = MergedList()
    first = merged.take([("blue", THREE, False), ("amber", THREE[:1], True)])
    assert [row.key for row in first] == ["0/llm-0", "0/llm-1", "0/llm-2", "1/llm-0"]
    again = merged.take([("blue", (THREE[0], replica("llm-1"), THREE[2]), False), ("amber", THREE[:1], False)])
    assert [old is new for old, new in zip(first, again, strict=True)] == [True, False, True, False]
    assert merged.take([("blue", THREE[:1], False)])[0] is again[0]


def test_the_merged_columns_show_the_fleet_and_what_is_stale() -> None:
    fresh, stale = MergedList().take([("blue", THREE[:1], False), ("amber", THREE[:1], True)])
    columns = {column.key: column for column in MERGED_REPLICAS}
    assert MERGED_REPLICAS[1].key == "fleet"
    assert columns["fleet"].cell(fresh, 0.0) == ("blue", "accent")
    assert columns["fleet"].cell(stale, 0.0) == ("✗ amber", "error")
    assert columns["fleet"].sort(stale) == "amber"
    name = MERGED_REPLICAS[0]
    assert name.cell(fresh, 0.0)[0] == name.cell(stale, 0.0)[0]
    assert name.cell(stale, 0.0)[1] == "faint"
    assert name.sort(fresh) == name.sort(stale)
    assert merged_haystack(fresh).startswith("blue ")


def test_tabs_tell_health_and_alarms_in_words_and_signs() -> None:
    tabs = [Tab("blue", "ok", 0, chosen=True), Tab("amber", "stale", 2, chosen=False), Tab("grey", "", 0, chosen=False)]
    line, places = tab_line(tabs, 60)
    text = "".join(text for text, _ in line)
    assert text.startswith("  ● blue    ✗ amber stale 2!    ? grey ")
    assert line_width(line) == 60
    assert [text[start:end].strip() for start, end in places] == ["● blue", "✗ amber stale 2!", "? grey"]


def test_the_chosen_tab_is_seen_however_narrow_the_line() -> None:
    tabs = [Tab(f"fleet-{number}", "ok", 0, chosen=number == 5) for number in range(9)]
    line, places = tab_line(tabs, 40)
    text = "".join(text for text, _ in line)
    assert text.startswith("<")
    assert "fleet-5" in text
    assert places[0] == (0, 0)
    assert text[slice(*places[5])].strip() == "● fleet-5"


def test_what_serves_nobody_now_is_not_said_to_be_busy() -> None:
    idle = tuple(quiet(f"llm-{at}") for at in range(3))
    (words,) = together(Verb.KILL, ["llm-0"], idle, [workload(slots=0)]).effects
    assert words == "llm: 3 → 2 ready"
