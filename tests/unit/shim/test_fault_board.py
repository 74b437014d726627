"""The board of held faults on a clock of its own: answers tell the kernel's word, limits hold, undo is stubborn."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract.faults import FaultOrder, FaultReport
from backend.shim.faults.board import FaultBoard
from backend.shim.faults.catalogue import fault_for
from backend.shim.faults.frozen_engine import by_busyness
from backend.shim.faults.held import FaultError, HeldFault, Surroundings, in_pieces
from backend.shim.faults.whole_program import StoppedProgram
from backend.shim.faults.workers import check_room
from backend.shim.start_fault import wait_s


class Pretended(HeldFault):
    """A fault whose kernel is two flags."""

    def __init__(self, *, works: bool = True, sticks: bool = False, pid: int | None = None) -> None:
        super().__init__()
        self.works, self.sticks = works, sticks
        self.pid = pid
        self.on = False
        self.undos = 0
        self.failure: Exception | None = None

    def inject(self) -> None:
        self.on = self.works

    def step(self) -> None:
        if self.failure is not None:
            raise self.failure

    def active(self) -> bool:
        return self.on

    def undo(self) -> None:
        self.undos += 1
        self.on = self.on and self.sticks

    def undone(self) -> bool:
        return not self.on


class Rig:
    def __init__(self) -> None:
        self.now = 100.0
        self.fault: HeldFault = Pretended()
        self.board = FaultBoard(lambda _order: self.fault, lambda: self.now)
        self.answers: list[tuple[tuple[FaultReport, ...], str]] = []

    def apply(self, fault: HeldFault, name: str = "f", ttl_s: float = 10.0, kind: Any = "stop") -> None:
        self.fault = fault
        self.board.apply(FaultOrder(id=name, kind=kind, ttl_s=ttl_s), lambda *said: self.answers.append(said))

    def heal(self, name: str = "f") -> None:
        self.board.heal(name, lambda *said: self.answers.append(said))

    def to(self, now: float) -> None:
        """Let time pass as the shim's loop does: whenever the board is due."""
        while (due := self.board.due_s()) is not None and due <= now:
            self.now = max(self.now, due)
            self.board.run()
        self.now = now
        self.board.run()

    def report(self) -> FaultReport:
        return self.board.reports()[0]


@pytest.fixture(name="rig")
def _rig() -> Rig:
    return Rig()


def test_a_fault_that_takes_no_effect_is_reported_as_not_active(rig: Rig) -> None:
    rig.apply(Pretended(works=False))
    assert rig.answers == [], "it waits for the kernel first"
    rig.to(103.2)
    ((reports, error),) = rig.answers
    assert (reports[0].active, error) == (False, "")


def test_a_no_op_stand_in_of_a_real_fault_is_reported_as_not_active(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program here is this very process: nothing stops it, and /proc says so."""
    import os

    class Here:
        pid = os.getpid()

        def count(self, pid: int) -> None: ...

        def join_cgroup(self) -> None: ...

    around = Surroundings(
        program=Here,
        memory_limit_bytes=None,
        nice=0,
        log_dir="/nowhere",
        lost_lines=lambda: 0,
        tell_losses=lambda: None,
        bound_files=lambda _on: None,
        mono=lambda: rig.now,
    )
    monkeypatch.setattr(os, "kill", lambda *_: None)
    rig.apply(StoppedProgram(around))
    rig.to(103.2)
    assert rig.answers[0][0][0].active is False
    for kind in ("exhaust-descriptors", "fill-disk"):
        monkeypatch.setattr("backend.shim.faults.whole_program.resource.prlimit", lambda *_: (64, 64))
        rig.apply(fault_for(FaultOrder(id=kind, kind=kind, ttl_s=5.0), around), name=kind, kind=kind)  # type: ignore[arg-type] - a literal
        rig.to(rig.now + 3.2)
        assert rig.answers[-1][0][0].active is False


def test_the_same_order_twice_is_one_fault_and_answers_twice(rig: Rig) -> None:
    rig.apply(Pretended())
    rig.apply(Pretended())
    assert [reports[0].active for reports, _ in rig.answers] == [True, True]
    assert len(rig.board.reports()) == 1


def test_a_second_one_of_its_kind_is_refused_until_the_first_is_gone(rig: Rig) -> None:
    rig.apply(Pretended())
    rig.apply(Pretended(), name="g")
    assert "already (f)" in rig.answers[-1][1]
    rig.heal()
    rig.apply(Pretended(), name="g")
    assert rig.answers[-1][1] == ""


def test_its_time_limit_ends_it_and_says_so(rig: Rig) -> None:
    fault = Pretended()
    rig.apply(fault, ttl_s=3.0)
    rig.to(102.9)
    assert rig.report().active
    assert rig.report().left_s == pytest.approx(0.1)
    rig.to(103.0)
    assert not fault.on
    assert (rig.report().active, rig.report().ended_by) == (False, "ttl")
    rig.heal()
    assert rig.answers[-1][0][0].ended_by == "ttl"


def test_what_will_not_go_is_told_as_active_and_undone_again_and_again(rig: Rig) -> None:
    fault = Pretended(sticks=True)
    rig.apply(fault)
    rig.heal()
    rig.to(103.2)
    assert (rig.answers[-1][0][0].active, rig.answers[-1][0][0].ended_by) == (True, "")
    before = fault.undos
    rig.to(104.3)
    assert fault.undos >= before + 4
    fault.sticks = False
    rig.to(104.6)
    assert rig.report().ended_by == "heal"


def test_a_shim_that_was_stopped_itself_still_looks_before_it_says_no(rig: Rig) -> None:
    fault = Pretended(works=False)
    rig.apply(fault, ttl_s=60.0)
    rig.now = 110.0  # nobody looked in between
    rig.board.run()
    assert rig.answers == []
    fault.on = True
    rig.board.run()
    assert rig.answers[-1][0][0].active
    fault.sticks = True
    rig.heal()
    rig.now = 120.0
    rig.board.run()
    assert len(rig.answers) == 1
    fault.on = False
    rig.board.run()
    assert rig.answers[-1][0][0].ended_by == "heal"


def test_what_was_for_a_program_is_gone_with_it(rig: Rig) -> None:
    rig.apply(Pretended(pid=7))
    rig.apply(Pretended(), name="g", kind="burn-cpu")
    rig.board.program_ended(7)
    assert [(report.active, report.ended_by) for report in rig.board.reports()] == [(False, "gone"), (True, "")]


def test_a_fault_that_cannot_go_on_leaves_nothing_and_answers_with_the_reason(rig: Rig) -> None:
    fault = Pretended(works=False)
    rig.apply(fault)
    fault.failure = FaultError("No thread is left.")
    rig.to(100.1)
    assert rig.answers == [((), "No thread is left.")]
    assert rig.board.reports() == ()
    assert fault.undos == 1


@pytest.mark.parametrize("ttl_s", [0.0, -1.0, float("nan"), float("inf"), 1e6])
def test_an_order_without_a_sensible_time_limit_is_refused(rig: Rig, ttl_s: float) -> None:
    rig.apply(Pretended(), ttl_s=ttl_s)
    assert "ttl_s" in rig.answers[0][1]
    assert rig.board.due_s() is None


def test_healing_nothing_is_answered_at_once(rig: Rig) -> None:
    rig.heal("unknown")
    rig.heal("")
    assert rig.answers == [((), ""), ((), "")]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("apply"), st.sampled_from("abc"), st.floats(0.05, 3.0), st.booleans(), st.booleans()),
            st.tuples(st.just("heal"), st.sampled_from(["a", "b", "c", ""])),
            st.tuples(st.just("wait"), st.floats(0.0, 2.0)),
            st.tuples(st.just("end")),
        ),
        max_size=20,
    )
)
def test_nothing_outlives_its_time_and_every_question_is_answered(deeds: list[tuple[Any, ...]]) -> None:
    rig, made, asked = Rig(), [], 0
    for deed in deeds:
        match deed:
            case ("apply", name, ttl_s, works, bound):
                made.append(Pretended(works=works, pid=7 if bound else None))
                rig.apply(made[-1], name=name, ttl_s=ttl_s, kind={"a": "stop", "b": "burn-cpu", "c": "fill-disk"}[name])
                asked += 1
            case ("heal", name):
                rig.heal(name)
                asked += 1
            case ("wait", seconds):
                rig.to(rig.now + seconds)
            case _:
                rig.board.program_ended(7)
    rig.to(rig.now + 10.0)
    assert not any(fault.on for fault in made)
    assert len(rig.answers) == asked
    assert rig.board.due_s() is None


def test_the_busiest_thread_comes_first_and_a_long_life_decides_among_the_idle() -> None:
    ms = 1_000_000
    assert by_busyness({1: 100, 2: 900 * ms}, {1: 60 * ms, 2: 901 * ms, 3: 20 * ms}, 0.15) == [1, 3, 2]
    assert by_busyness({1: 100, 2: 900 * ms}, {1: 2 * ms, 2: 900 * ms}, 0.15) == [2, 1]
    assert by_busyness({}, {}, 0.15) == []


def test_a_tenth_of_the_memory_is_left_to_the_others() -> None:
    check_room(100, total_bytes=1_000, available_bytes=200)
    with pytest.raises(FaultError, match="10%"):
        check_room(101, total_bytes=1_000, available_bytes=200)


def test_pieces_add_up() -> None:
    assert list(in_pieces(10, 4)) == [4, 4, 2]
    assert list(in_pieces(0, 4)) == []


def test_a_slow_start_never_waits_beyond_the_end_of_its_fault() -> None:
    assert wait_s(100.0, 110.0, 3.0) == 3.0
    assert wait_s(108.0, 110.0, 3.0) == 2.0
    assert wait_s(111.0, 110.0, 3.0) == 0.0
