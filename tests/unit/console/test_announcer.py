"""What the plain mode says: each change once, in words, and nothing while nothing changes."""

from __future__ import annotations

from typing import Any

from backend.contract.control import DrillView, Frame, Quantiles, Snapshot, WorkloadView
from backend.contract.rows import ActionRow
from backend.contract.words import ActionOutcome, DrillOutcome, Phase, Severity
from console.state.announcer import Announcer, said
from tests.unit.console.sample import action, event, point, replica, snapshot


def workload(**parts: Any) -> WorkloadView:
    values = {"name": "llm", "wanted": 2, "ready": 2, "total": 2, "slots": 8, "routes": (), "queued": 0, "in_flight": 0}
    return WorkloadView(**(values | parts))  # type: ignore[arg-type]


class Told:
    """An announcer that has said how things stand."""

    def __init__(self, **parts: Any) -> None:
        self.announcer = Announcer()
        self.seq = 0
        self.first = self.after(**parts)

    def after(self, *, events: tuple[Any, ...] = (), actions: tuple[ActionRow, ...] = (), **parts: Any) -> list[str]:
        self.seq += 1
        stamp: dict[str, Any] = {"seq": self.seq, "ts": 1000.0 + self.seq}
        now: Snapshot = snapshot(**(stamp | {"point": point(1000.0 + self.seq)} | parts))
        return self.announcer.take(Frame(seq=self.seq, snapshot=now, events=events, actions=actions))


def test_the_first_words_tell_how_things_stand() -> None:
    told = Told(
        health="degraded", health_reason="llm-1 is down", replicas=(replica(), replica("llm-1", phase=Phase.FAILED))
    )
    assert told.first == [
        "Fleet local is degraded: llm-1 is down.",
        "Workload llm: 2 of 2 ready, 8 slots.",
        "llm-1 is Failed.",
        (
            "2.0 requests a second, 0 errors a second, 0 waiting, 1 in flight. "
            "TTFT p50 50 ms, p95 200 ms, p99 400 ms over 3 requests in 60 s."
        ),
    ]


def test_nothing_is_said_while_nothing_changes() -> None:
    told = Told()
    assert told.after() == []
    assert told.announcer.take(Frame(seq=9)) == []


def test_before_any_fleet_answers() -> None:
    announcer = Announcer()
    assert announcer.summary() == ["No fleet has answered yet."]
    assert announcer.take(Frame(seq=1)) == []
    assert announcer.lost("No daemon.") == ["Connecting. No daemon."]
    assert announcer.lost("No daemon.") == []


def test_a_replica_that_turns_is_named_with_its_reason() -> None:
    told = Told()
    failed = replica("llm-1", phase=Phase.FAILED, reason="killed by signal 9")
    assert told.after(replicas=(replica(), failed)) == ["llm-1 went from Ready to Failed: killed by signal 9."]
    assert told.after(replicas=(replica(), replica("llm-1"))) == ["llm-1 went from Failed to Ready."]


def test_many_replicas_that_turn_alike_are_one_sentence() -> None:
    names = [f"llm-{number}" for number in range(6)]
    told = Told(replicas=tuple(replica(name) for name in names))
    turned = told.after(replicas=tuple(replica(name, phase=Phase.NOT_READY) for name in names))
    assert turned == ["6 replicas (llm-0, llm-1, llm-2 and 3 more) went from Ready to NotReady."]
    assert told.after(replicas=(replica("llm-0", phase=Phase.NOT_READY),)) == [
        "5 replicas (llm-1, llm-2, llm-3 and 2 more) are gone."
    ]
    fresh = told.after(replicas=(replica("llm-0", phase=Phase.NOT_READY), replica("a", phase=Phase.STARTING)))
    assert fresh == ["a is new and Starting."]
    assert told.after(replicas=(replica("llm-0", phase=Phase.NOT_READY),)) == ["a is gone."]


def test_health_and_workloads_are_told() -> None:
    told = Told(workloads=(workload(),))
    assert told.after(health="down", workloads=(workload(),)) == ["Fleet local is down now."]
    said_now = told.after(health="down", workloads=(workload(wanted=3, ready=1, maintenance=True),))
    assert said_now == [
        "Workload llm: 3 wanted, 2 before.",
        "Workload llm: 1 of 3 ready.",
        "Workload llm: maintenance began.",
    ]
    again = (workload(wanted=3, ready=1), workload(name="embedding", slots=0))
    assert told.after(health="down", workloads=again) == [
        "Workload llm: maintenance ended.",
        "Workload embedding: 2 of 2 ready.",
    ]
    assert "Workload llm: 2 of 2 ready, 8 slots, in maintenance." in Told(workloads=(workload(maintenance=True),)).first


def test_loud_events_are_told_and_quiet_ones_are_not() -> None:
    told = Told()
    events = (event(1), event(2, Severity.ERROR, message="no answer\x1b[2J"), event(3, Severity.WARNING))
    assert told.after(events=events) == ["Error, llm-0: no answer.", "Warning, llm-0: event 3."]
    assert "2 alarms not acknowledged." not in told.announcer.summary()
    assert "1 alarm not acknowledged." in told.announcer.summary()


def test_an_action_is_told_once_for_each_outcome() -> None:
    told = Told()
    running = action("a", ActionOutcome.RUNNING)
    assert told.after(actions=(running,)) == ["console:ada: scale llm began."]
    assert told.after(actions=(running, action("a", result="2 replicas"))) == [
        "console:ada: scale llm is done: 2 replicas."
    ]
    assert told.after(actions=(action("b", ActionOutcome.REFUSED, result="no."),)) == [
        "console:ada: scale llm was refused: no."
    ]
    assert told.after(actions=(action("c", ActionOutcome.FAILED, target=""),)) == ["console:ada: scale failed."]


def test_the_memory_of_actions_is_bounded() -> None:
    told = Told()
    for number in range(600):
        told.after(actions=(action(str(number)),))
    assert len(told.announcer._outcomes) == 500


def test_numbers_are_told_when_they_moved_far() -> None:
    told = Told()
    near = point(1010.0, ttft=Quantiles(count=3, p50_s=0.1, p95_s=0.39, p99_s=0.4))
    far = point(1011.0, ttft=Quantiles(count=4, p50_s=0.1, p95_s=0.4, p99_s=0.4))
    back = point(1012.0, ttft=Quantiles(count=1, p50_s=0.1, p95_s=0.1, p99_s=0.4))
    assert told.after(point=near) == []
    assert told.after(point=far) == ["p95 TTFT is 400 ms over 4 requests, it was 200 ms."]
    assert told.after(point=far) == []
    assert told.after(point=back) == ["p95 TTFT is 100 ms over 1 request, it was 400 ms."]


def test_a_first_latency_has_no_before() -> None:
    told = Told(point=point(ttft=Quantiles()))
    assert told.first[-1].endswith("No answer has been streamed lately.")
    assert told.after() == ["p95 TTFT is 200 ms over 3 requests."]


def test_the_queue_is_told_when_it_begins_grows_and_ends() -> None:
    told = Told()
    assert told.after(point=point(1.0, queued=1)) == ["1 request is waiting."]
    assert told.after(point=point(2.0, queued=9)) == []
    assert told.after(point=point(3.0, queued=10)) == ["10 requests are waiting."]
    assert told.after(point=point(4.0)) == ["No request is waiting."]


def drill(run_id: str = "r1", **parts: Any) -> DrillView:
    values: dict[str, Any] = {
        "name": "llm-kill",
        "outcome": DrillOutcome.RUNNING,
        "phase": "baseline",
        "started_ts": 1.0,
    }
    return DrillView(run_id=run_id, **(values | parts))


def test_a_drill_is_told_by_its_phases_and_its_end() -> None:
    told = Told()
    assert told.after(drill=drill()) == ["Drill llm-kill began.", "Drill llm-kill: phase baseline."]
    assert told.after(drill=drill()) == []
    assert told.after(drill=drill(phase="recovery")) == ["Drill llm-kill: phase recovery."]
    assert "Drill llm-kill is running, phase recovery." in told.announcer.summary()
    done = drill(outcome=DrillOutcome.PASS, ended_ts=9.0, detail="all held")
    assert told.after(drill=done) == ["Drill llm-kill ended: pass. all held."]
    assert told.after(drill=done) == []
    assert told.after(drill=drill("r2", outcome=DrillOutcome.FAIL, ended_ts=10.0)) == [
        "Drill llm-kill began.",
        "Drill llm-kill ended: fail.",
    ]


def test_a_lost_daemon_is_told_once_and_its_return() -> None:
    told = Told()
    assert told.announcer.lost("No daemon.") == [
        "The fleet is out of sight: No daemon. What was said before may be old."
    ]
    assert told.announcer.lost("No daemon.") == []
    assert told.after() == ["The daemon answers again."]


def test_lost_events_are_counted() -> None:
    told = Told()
    assert told.announcer.take(Frame(seq=7, missed_events=3)) == ["Lost because they came too fast: 3 events."]


def test_lines_carry_the_time_and_cannot_move_a_cursor() -> None:
    (line,) = said(["a\x1b[2Jb"], 0.0)
    assert line.endswith(" ab")
    assert len(line.split(" ")[0]) == len("00:00:00")


def test_two_that_do_the_same_are_named_together_and_many_are_counted() -> None:
    for count, words in ((2, "llm-0 and llm-1"), (5, "5 replicas (llm-0, llm-1, llm-2 and 2 more)")):
        fleet = tuple(replica(f"llm-{at}") for at in range(count))
        told = Told(replicas=fleet)
        down = tuple(replica(view.status.name, phase=Phase.FAILED) for view in fleet)
        assert told.after(replicas=down) == [f"{words} went from Ready to Failed."]


def test_no_answers_are_no_news() -> None:
    told = Told()
    assert told.after(point=point(1002.0, ttft=Quantiles(count=0))) == []
