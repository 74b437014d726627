from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backend.contract.fleet import ProbeSpec, ProbesSpec
from backend.probes.ask import ProbeAnswer
from backend.probes.lifecycle import ProbeLifecycle, ProbeName, Verdict

GOOD = ProbeAnswer(ok=True, detail="HTTP 200", latency_s=0.001)
BAD = ProbeAnswer(ok=False, detail="HTTP 503", latency_s=0.001)
ALL = ProbesSpec(
    startup=ProbeSpec(period_s=1.0, failure_threshold=5),
    readiness=ProbeSpec(period_s=1.0, failure_threshold=3, success_threshold=2),
    liveness=ProbeSpec(period_s=2.0, failure_threshold=2),
)


class Rig:
    """A lifecycle on a clock of its own; `answers` says what each probe gets at an instant."""

    def __init__(self, spec: ProbesSpec) -> None:
        self.life = ProbeLifecycle(spec)
        self.now = 0.0
        self.bad: set[ProbeName] = set()
        self.asked: list[tuple[float, ProbeName]] = []
        self.said: list[tuple[float, Verdict]] = []

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            for name, _ in self.life.due(self.now):
                self.asked.append((round(self.now, 3), name))
                verdicts = self.life.record(name, BAD if name in self.bad else GOOD, self.now, 1000 + self.now)
                self.said += [(round(self.now, 3), verdict) for verdict in verdicts]
            due = self.life.next_due_s()
            if due is None or due > end:
                self.now = end
                return
            self.now = max(due, self.now)


def test_without_probes_a_process_is_ready_at_once() -> None:
    life = ProbeLifecycle(ProbesSpec())
    assert life.started
    assert life.ready
    assert life.due(0.0) == []


def test_startup_gates_the_others() -> None:
    rig = Rig(ALL)
    rig.bad = {"startup"}
    rig.run(2.0)
    assert {name for _, name in rig.asked} == {"startup"}
    assert rig.life.why_not_ready() == "startup probe: HTTP 503"
    rig.bad = set()
    rig.run(1.0)
    assert [verdict for _, verdict in rig.said] == ["started", "ready"]


def test_startup_is_asked_eagerly_but_fails_by_its_period() -> None:
    rig = Rig(ALL)
    rig.bad = {"startup"}
    rig.run(10.0)
    failed_at = next(at for at, verdict in rig.said if verdict == "startup-failed")
    assert 3.5 <= failed_at <= 4.5
    assert len(rig.asked) > 30
    assert rig.life.next_due_s() is None


def test_readiness_needs_its_successes_and_tolerates_fewer_failures_than_its_threshold() -> None:
    rig = Rig(ALL)
    rig.run(5.0)
    rig.bad = {"readiness"}
    rig.run(2.0)
    assert rig.life.ready
    rig.bad = set()
    rig.run(2.0)
    rig.bad = {"readiness"}
    rig.run(3.5)
    assert not rig.life.ready
    rig.bad = set()
    rig.run(0.3)
    assert rig.life.ready
    assert [verdict for _, verdict in rig.said] == ["started", "ready", "not-ready", "ready"]


def test_liveness_gives_up_once_after_its_threshold() -> None:
    rig = Rig(ALL)
    rig.run(5.0)
    rig.bad = {"liveness"}
    rig.run(20.0)
    assert [verdict for _, verdict in rig.said].count("liveness-failed") == 1
    at = next(at for at, verdict in rig.said if verdict == "liveness-failed")
    assert at - 5.0 <= 4.1


def test_steady_state_asks_once_a_period() -> None:
    rig = Rig(ALL)
    rig.run(1.0)
    rig.asked.clear()
    rig.run(10.0)
    names = [name for _, name in rig.asked]
    assert 9 <= names.count("readiness") <= 11
    assert 4 <= names.count("liveness") <= 6


def test_a_probe_in_flight_is_not_asked_again() -> None:
    life = ProbeLifecycle(ProbesSpec(readiness=ProbeSpec(period_s=1.0)))
    assert [name for name, _ in life.due(0.0)] == ["readiness"]
    assert life.due(100.0) == []
    assert life.next_due_s() is None


def test_status_tells_the_last_answer() -> None:
    life = ProbeLifecycle(ProbesSpec(readiness=ProbeSpec()))
    assert life.statuses()[0].ok is None
    life.record("readiness", BAD, 1.0, 1001.0)
    status = life.statuses()[0]
    assert (status.name, status.ok, status.detail, status.last_ts, status.failures) == (
        "readiness",
        False,
        "HTTP 503",
        1001.0,
        1,
    )


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 4), st.integers(1, 4))
def test_readiness_changes_only_after_a_full_run_of_answers(answers: list[bool], failures: int, successes: int) -> None:
    life = ProbeLifecycle(
        ProbesSpec(readiness=ProbeSpec(period_s=1.0, failure_threshold=failures, success_threshold=successes))
    )
    for index, ok in enumerate(answers):
        before = life.ready
        life.record("readiness", GOOD if ok else BAD, float(index), float(index))
        if life.ready != before:
            need = successes if life.ready else failures
            assert answers[index + 1 - need : index + 1] == [life.ready] * need
