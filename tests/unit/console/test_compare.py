"""Two instants compared: what became of whom, the numbers with arrows and signs, what happened between."""

from __future__ import annotations

import msgspec
import pytest

from backend.contract.control import LoadView, Quantiles, WorkloadView
from backend.contract.fleet import ExitRecord
from backend.contract.words import Phase, Severity
from console.render.compare import comparison_lines, how_to_lines, step_words
from console.render.spans import line_width
from console.state.compare import Side, compare
from console.state.scrub import happenings

from .sample import action, event, point, replica, snapshot

A, B = 1000.0, 1450.0
KILLED = ExitRecord(ts=1100.0, signal=9, reason="Killed")


def workload(name="llm", **parts):
    values = {"wanted": 3, "ready": 3, "total": 3, "slots": 12, "routes": ("/v1",), "queued": 0, "in_flight": 0}
    return WorkloadView(name=name, **(values | parts))


def sides(old, new):
    return Side("A", A, old), Side("B", B, new)


def between(old=None, new=None, found=()):
    return compare(*sides(old or snapshot(), new or snapshot()), found)


def text(lines):
    return ["".join(part for part, _ in line) for line in lines]


def words(found, width=140, **parts):
    return "\n".join(text(comparison_lines(found, width, B, **parts)))


def of(found, subject):
    return next(change for change in found.changes if change.subject == subject)


def test_the_same_fleet_differs_in_nothing():
    found = between()
    assert found.changes == ()
    assert {number.tone for number in found.numbers} == {"same"}
    said = words(found)
    assert "nothing: the same replicas in the same phases" in said
    assert "nothing happened" in said


def test_the_earlier_instant_comes_first_whichever_was_marked():
    later, earlier = Side("A", B, snapshot()), Side("B", A, snapshot())
    found = compare(later, earlier)
    assert (found.before.name, found.after.name) == ("B", "A")
    assert "B " in words(found).splitlines()[0]
    assert "7m 30s later" in words(found)
    assert words(found, 36).splitlines()[0].rstrip().endswith("7m 30s"), "no word is cut"


def test_replicas_that_appeared_went_and_changed_by_importance():
    old = snapshot(
        replicas=(
            replica("llm-0"),
            replica("llm-1"),
            replica("llm-2", phase=Phase.STARTING),
            replica("llm-3"),
            replica("llm-4", phase=Phase.PENDING),
            replica("llm-6"),
        )
    )
    new = snapshot(
        replicas=(
            replica("llm-0", phase=Phase.FAILED, last_exit=KILLED),
            replica("llm-1", phase=Phase.NOT_READY),
            replica("llm-2"),
            replica("llm-4", phase=Phase.STARTING),
            replica("llm-5", phase=Phase.PENDING),
            replica("llm-6", restarts=2, last_exit=ExitRecord(ts=1.0, code=1, reason="Error")),
        )
    )
    found = between(old, new)
    assert [change.subject for change in found.changes] == [
        "llm-0",
        "llm-1",
        "llm-3",
        "llm-6",
        "llm-4",
        "llm-5",
        "llm-2",
    ]
    said = words(found)
    for line in (
        "▼ llm-0  ● Ready → ✗ Failed  ended: Killed, signal 9",
        "▼ llm-1  ● Ready → ◑ NotReady",
        "- llm-3  gone, was ● Ready",
        "~ llm-6  ● Ready  restarted 2 times: Error, exit code 1",
        "~ llm-4  ○ Pending → ◔ Starting",
        "+ llm-5  new, ○ Pending",
        "▲ llm-2  ◔ Starting → ● Ready",
    ):
        assert line in said
    assert "What differs  7" in said


@pytest.mark.parametrize(
    ("parts", "note"),
    [
        ({"restarts": 1}, "restarted"),
        ({"restarts": 1, "last_exit": KILLED}, "restarted: Killed, signal 9"),
        ({"host": "10.0.0.2"}, "moved 127.0.0.1:None → 10.0.0.2:None"),
        ({"port": 18001}, "moved 127.0.0.1:None → 127.0.0.1:18001"),
        ({"restarts": 1, "port": 18001}, "restarted"),
        ({"revision": "6a"}, "revision none → 6a"),
        ({"created_ts": 1200.0}, "replaced under its name"),
    ],
)
def test_what_became_of_a_replica_in_words(parts, note):
    found = between(new=snapshot(replicas=(replica("llm-0", **parts), replica("llm-1"))))
    assert of(found, "llm-0").notes == (note,)
    assert len(found.changes) == 1


def test_workloads_and_the_fleet_itself():
    old = snapshot(workloads=(workload(), workload("old")), health="ok", version="1")
    new = snapshot(
        workloads=(workload(wanted=5, ready=4, slots=16, maintenance=True, autoscale=True), workload("new")),
        health="degraded",
        version="2",
        edge_up=False,
        load=LoadView(running=True, rate=20.0),
        drills_blocked="ada",
        dropped_rows=3,
    )
    found = between(old, new)
    fleet = of(found, "local")
    assert found.changes[0] is fleet
    assert fleet.tone == "worse"
    assert set(fleet.notes) == {
        "health ok → degraded",
        "the edge went down",
        "demo load 20/s started",
        "drills are blocked",
        "version 1 → 2",
        "3 rows lost",
    }
    llm = of(found, "llm")
    assert llm.tone == "worse"
    assert llm.notes == ("wanted 3 → 5", "ready 3 → 4", "slots 12 → 16", "maintenance on", "autoscaling on")
    assert of(found, "old").notes == ("workload went",)
    assert of(found, "new").notes == ("new workload, 3 wanted",)
    back = compare(Side("A", A, new), Side("B", B, old))
    assert of(back, "local").tone == "better"
    assert {"the edge came up", "demo load stopped", "drills may start again"} <= set(of(back, "local").notes)
    assert of(back, "llm").tone == "changed"
    assert "▼ local  " in words(found)


def test_numbers_have_arrows_signs_and_a_judgement():
    old = point(ttft=Quantiles(count=9, p50_s=0.05, p95_s=0.21, p99_s=0.4), queued=0, errors_per_s=0.0, ready=3)
    new = point(
        ttft=Quantiles(count=9, p50_s=0.052, p95_s=0.33, p99_s=0.2),
        queued=14,
        errors_per_s=0.5,
        ready=2,
        requests_per_s=9.0,
        cpu_percent=20.2,
    )
    found = between(snapshot(point=old), snapshot(point=new))
    tones = {number.label: number.tone for number in found.numbers}
    assert tones["ready"] == tones["queue"] == tones["errors/s"] == tones["TTFT p95"] == "worse"
    assert tones["TTFT p99"] == "better"
    assert tones["TTFT p50"] == tones["cpu"] == "same"
    assert tones["requests/s"] == "changed"
    steps = {number.label: step_words(number) for number in found.numbers}
    assert steps["TTFT p95"] == "▲ +120 ms"
    assert steps["TTFT p99"] == "▼ -200 ms"
    assert steps["queue"] == "▲ +14"
    assert steps["ready"] == "▼ -1"
    assert steps["errors/s"] == "▲ +0.5"
    assert steps["cpu"] == "="
    said = words(found)
    assert "210 ms   ▲ +120 ms   330 ms" in said
    assert "40%" in said


def test_a_small_difference_is_neither_worse_nor_better_and_an_unknown_one_has_no_step():
    def p95(value):
        return snapshot(point=point(ttft=Quantiles(count=9, p50_s=None, p95_s=value)))

    numbers = {number.label: number for number in between(p95(0.2), p95(0.21)).numbers}
    assert numbers["TTFT p95"].tone == "changed"
    assert numbers["TTFT p50"].tone == "same"
    numbers = {number.label: number for number in between(p95(None), p95(0.21)).numbers}
    assert numbers["TTFT p95"].tone == "changed"
    assert step_words(numbers["TTFT p95"]) == ""


def test_what_happened_between_is_counted_by_kind():
    rows = [
        event(1, ts=A - 1, kind="replica.ready"),
        event(2, ts=A + 1, kind="replica.ready"),
        event(3, ts=A + 2, kind="replica.ready"),
        event(4, Severity.ERROR, ts=A + 3, kind="replica.died"),
        event(5, Severity.WARNING, ts=A + 4, kind="replica.ready"),
        event(6, ts=B + 1, kind="replica.ready"),
    ]
    deeds = [action("a1", ts=A + 5, verb="kill"), action("a2", ts=A + 6, verb="kill", actor="cli:bob")]
    found = between(found=happenings(rows, deeds))
    assert [(count.kind, count.number) for count in found.happened] == [
        ("kill", 2),
        ("replica.died", 1),
        ("replica.ready", 3),
    ]
    assert found.happened[2].severity == Severity.WARNING
    said = words(found)
    assert "   2 ◆ kill  console:ada, cli:bob" in said
    assert "   1 ✗ replica.died" in said
    assert "known from" not in said
    assert "known from" in words(found, known_from=A + 10)
    assert "asking what happened" in words(found, known_from=float("inf"))


@pytest.mark.parametrize("width", [20, 38, 78, 118, 198])
def test_every_width_is_filled_and_nothing_is_lost(width):
    crowd = tuple(replica(f"llm-{n}", phase=Phase.FAILED) for n in range(12))
    calm = tuple(replica(f"llm-{n}") for n in range(12))
    found = between(snapshot(replicas=calm), snapshot(replicas=crowd), happenings([event(1, ts=A + 1)], []))
    lines = comparison_lines(found, width, B)
    assert all(line_width(line) <= max(width, 60) for line in lines)
    said = "\n".join(text(lines))
    assert all(f"llm-{n}" in said for n in range(12))
    assert "Numbers" in said
    assert "Between them" in said
    if width == 78:
        assert said.index("llm-0") < said.index("Numbers") < said.index("llm-9")


def test_unchanged_objects_cost_no_look():
    same = replica("llm-0")
    found = between(snapshot(replicas=(same,)), snapshot(replicas=(same,)))
    assert found.changes == ()
    gone = msgspec.structs.replace(snapshot(), replicas=())
    assert of(between(snapshot(replicas=(replica("x", phase=Phase.FAILED),)), gone), "x").tone == "changed"


def test_before_anything_is_marked_the_view_says_how():
    said = "\n".join(text(how_to_lines(60)))
    assert "c marks the instant A" in said
