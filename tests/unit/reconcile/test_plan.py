"""Which steps the plan takes in one given situation."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import pytest

from backend.contract.words import Phase, SlotState
from backend.reconcile.plan import (
    Clear,
    Create,
    Drain,
    Fill,
    MarkDown,
    Remove,
    Situation,
    StartRollout,
    Step,
    Undrain,
    in_service,
    plan,
)
from tests.unit.reconcile.model import replica, slot, spec, wanted


def test_missing_replicas_get_the_lowest_free_names() -> None:
    steps = plan(Situation(specs=(spec(),), wanted=wanted(3), replicas=(replica("llm-1"),), slots=(slot("llm-1"),)))
    assert steps == (Create("llm", "llm-0"), Create("llm", "llm-2"))


def test_a_name_that_is_still_leaving_is_not_given_again() -> None:
    steps = plan(
        Situation(
            specs=(spec(),),
            wanted=wanted(1),
            replicas=(replica("llm-0"),),
            slots=(slot("llm-0"),),
            leaving=frozenset({"llm-0"}),
        )
    )
    assert steps == (Create("llm", "llm-1"),)
    gone = Situation(specs=(spec(),), wanted=wanted(1), leaving=frozenset({"llm-0"}))
    assert plan(gone) == (Create("llm", "llm-1"),), "its slot may yet have to be emptied"
    orphan = Situation(specs=(spec(),), wanted=wanted(1), slots=(slot("llm-0"),))
    assert plan(orphan) == (Clear("llm", "llm-0"), Create("llm", "llm-1"))


def test_spliced_replica_is_led_through_its_proxy_and_straight_again() -> None:
    own, through = replica("llm-0"), msgspec.structs.replace(replica("llm-0"), via_port=30000)
    checked = msgspec.structs.replace(through, health_port=20001, via_health_port=30001)
    straight, led = slot("llm-0"), slot("llm-0", port=30000)
    fill = (Fill("llm", "llm-0"),)
    for status, held, steps in (
        (own, straight, ()),
        (through, straight, fill),
        (through, led, ()),
        (own, led, fill),
        (checked, led, fill),
        (checked, msgspec.structs.replace(led, check_port=30001), ()),
    ):
        assert plan(Situation(specs=(spec(),), wanted=wanted(1), replicas=(status,), slots=(held,))) == steps
        assert in_service(spec(), status, held, down=False) == (not steps)


@dataclass
class One:
    """One replica `llm-0` of one wanted, and what is to be done about it."""

    phase: Phase
    state: SlotState | None
    expected: tuple[Step, ...]
    drained: bool = False
    down: bool = False
    port: int = 20000
    filled_pid: int = 1


@pytest.mark.parametrize(
    "case",
    [
        One(Phase.READY, None, (Fill("llm", "llm-0"),)),
        One(Phase.READY, SlotState.MAINT, (Fill("llm", "llm-0"),)),
        One(Phase.READY, SlotState.READY, ()),
        One(Phase.READY, SlotState.READY, (Fill("llm", "llm-0"),), down=True),
        One(Phase.READY, SlotState.READY, (Fill("llm", "llm-0"),), port=20001),
        One(Phase.READY, SlotState.DRAIN, (Undrain("llm", "llm-0"),)),
        One(Phase.READY, SlotState.DRAIN, (), drained=True),
        One(Phase.READY, SlotState.READY, (Drain("llm", "llm-0", "drained by name"),), drained=True),
        One(Phase.READY, None, (), drained=True),
        One(Phase.STARTING, None, ()),
        One(Phase.STARTING, SlotState.READY, ()),
        One(Phase.STARTING, SlotState.READY, (MarkDown("llm", "llm-0"),), filled_pid=7),
        One(Phase.READY, SlotState.READY, (MarkDown("llm", "llm-0"),), filled_pid=7),
        One(Phase.TERMINATING, SlotState.READY, (MarkDown("llm", "llm-0"),)),
        One(Phase.FAILED, SlotState.READY, (MarkDown("llm", "llm-0"),)),
        One(Phase.CRASH_LOOP, SlotState.DRAIN, (MarkDown("llm", "llm-0"),)),
        One(Phase.FAILED, SlotState.READY, (), down=True),
        One(Phase.FAILED, SlotState.MAINT, ()),
        One(Phase.NOT_READY, SlotState.READY, (Drain("llm", "llm-0", "not ready: readiness probe fails"),)),
        One(Phase.NOT_READY, SlotState.DRAIN, ()),
    ],
    ids=lambda case: f"{case.phase}-{case.state}-{'drained' if case.drained else ''}{'down' if case.down else ''}",
)
def test_a_slot_follows_its_replica(case: One) -> None:
    situation = Situation(
        specs=(spec(),),
        wanted=wanted(1, drained=["llm-0"] if case.drained else []),
        replicas=(replica("llm-0", case.phase, port=case.port),),
        slots=(slot("llm-0", case.state),) if case.state else (),
        down=frozenset({"llm-0"}) if case.down else frozenset(),
        filled={"llm-0": case.filled_pid},
    )
    assert plan(situation) == case.expected


def test_the_slot_of_a_replica_that_is_gone_is_cleared() -> None:
    assert plan(Situation(specs=(spec(),), wanted=wanted(0), slots=(slot("llm-0"),))) == (Clear("llm", "llm-0"),)


def test_a_death_comes_before_everything_else() -> None:
    steps = plan(
        Situation(
            specs=(spec(),),
            wanted=wanted(3),
            replicas=(replica("llm-0"), replica("llm-1", Phase.FAILED)),
            slots=(slot("llm-1"),),
        )
    )
    assert [type(step) for step in steps] == [MarkDown, Fill, Create]


def three(**more: object) -> dict[str, object]:
    return {
        "specs": (spec(),),
        "replicas": tuple(replica(f"llm-{n}", created=float(n)) for n in range(3)),
        "slots": tuple(slot(f"llm-{n}", number=n) for n in range(3)),
        **more,
    }


def removed(situation: Situation) -> list[str]:
    return [step.replica for step in plan(situation) if isinstance(step, Remove)]


def test_scale_down_takes_the_one_that_is_not_ready_first() -> None:
    replicas = (replica("llm-0", Phase.STARTING), replica("llm-1", created=1), replica("llm-2", created=2))
    situation = Situation(**three(wanted=wanted(2), replicas=replicas))  # type: ignore[arg-type]  # keyword table
    assert removed(situation) == ["llm-0"]


def test_scale_down_takes_what_starts_before_what_is_ready_and_not_yet_filled() -> None:
    replicas = (replica("llm-0", Phase.STARTING), replica("llm-1", created=1), replica("llm-2", created=2))
    situation = Situation(specs=(spec(),), wanted=wanted(2), replicas=replicas, slots=(slot("llm-1"),))
    assert removed(situation) == ["llm-0"]


def test_scale_down_takes_the_idle_one_then_the_youngest() -> None:
    busy = Situation(**three(wanted=wanted(2), in_flight={"llm-0": 0, "llm-1": 3, "llm-2": 3}))  # type: ignore[arg-type]  # keyword table
    assert removed(busy) == ["llm-0"]
    idle = Situation(**three(wanted=wanted(1)))  # type: ignore[arg-type]  # keyword table
    assert removed(idle) == ["llm-2", "llm-1"]


def test_scale_down_never_takes_what_a_drill_holds() -> None:
    situation = Situation(**three(wanted=wanted(0), protected=frozenset({"llm-2"})))  # type: ignore[arg-type]  # keyword table
    assert removed(situation) == ["llm-1", "llm-0"]


def test_a_removal_that_a_former_daemon_began_is_finished_and_not_taken_back() -> None:
    slots = (slot("llm-0", SlotState.DRAIN), slot("llm-1", number=1), slot("llm-2", number=2))
    situation = Situation(**three(wanted=wanted(2), slots=slots))  # type: ignore[arg-type]  # keyword table
    assert plan(situation) == (Remove("llm", "llm-0", "scaled down"),)


def test_a_new_revision_starts_a_rollout_unless_it_was_tried_in_vain() -> None:
    new = {"specs": (spec(revision="r2"),), "wanted": wanted(3)}
    assert plan(Situation(**three(**new))) == (StartRollout("llm"),)  # type: ignore[arg-type]  # keyword table
    assert plan(Situation(**three(**new, blocked={"llm": "r2"}))) == ()  # type: ignore[arg-type]  # keyword table


def test_a_rollout_surges_first_and_removes_only_when_the_new_one_serves() -> None:
    rolling = {"wanted": wanted(3), "rolling": {"llm": frozenset({"llm-0", "llm-1", "llm-2"})}}
    assert plan(Situation(**three(**rolling))) == (Create("llm", "llm-3"),)  # type: ignore[arg-type]  # keyword table
    four = three(**rolling)
    four["replicas"] = (*four["replicas"], replica("llm-3"))  # type: ignore[misc]  # keyword table
    assert plan(Situation(**four)) == (Fill("llm", "llm-3"),)  # type: ignore[arg-type]  # keyword table
    four["slots"] = (*four["slots"], slot("llm-3", number=3))  # type: ignore[misc]  # keyword table
    assert removed(Situation(**four)) == ["llm-2"]  # type: ignore[arg-type]  # keyword table
    four["leaving"] = frozenset({"llm-2"})
    assert plan(Situation(**four)) == (Create("llm", "llm-4"),)  # type: ignore[arg-type]  # keyword table


def test_a_rollout_removes_not_even_a_dead_old_one_before_the_new_one_serves() -> None:
    situation = Situation(
        specs=(spec(),),
        wanted=wanted(2),
        replicas=(replica("llm-0"), replica("llm-1", Phase.CRASH_LOOP), replica("llm-2", Phase.STARTING)),
        slots=(slot("llm-0"),),
        rolling={"llm": frozenset({"llm-0", "llm-1"})},
    )
    assert removed(situation) == []


def test_a_rollout_keeps_as_many_serving_as_are_wanted() -> None:
    situation = Situation(
        specs=(spec(),),
        wanted=wanted(2),
        replicas=(replica("llm-0"), replica("llm-1", Phase.NOT_READY), replica("llm-2")),
        slots=(slot("llm-0"), slot("llm-2", number=1)),
        rolling={"llm": frozenset({"llm-0", "llm-1"})},
        protected=frozenset({"llm-1"}),
    )
    assert removed(situation) == []


def test_a_rollout_goes_on_where_a_new_replica_was_drained_by_name() -> None:
    situation = Situation(
        specs=(spec(),),
        wanted=wanted(2, drained=["llm-2"]),
        replicas=(replica("llm-0"), replica("llm-1", created=1), replica("llm-2", created=2)),
        slots=(slot("llm-0"), slot("llm-1", number=1), slot("llm-2", SlotState.DRAIN, number=2)),
        rolling={"llm": frozenset({"llm-0", "llm-1"})},
    )
    assert removed(situation) == ["llm-1"]


def test_a_fixed_port_is_replaced_without_surge() -> None:
    fixed = spec(port=9000)
    situation = Situation(
        specs=(fixed,),
        wanted=wanted(1),
        replicas=(replica("llm-0"),),
        slots=(slot("llm-0"),),
        rolling={"llm": frozenset({"llm-0"})},
    )
    assert removed(situation) == ["llm-0"]
    gone = Situation(specs=(fixed,), wanted=wanted(1), replicas=(replica("llm-0"),), leaving=frozenset({"llm-0"}))
    assert [step for step in plan(gone) if isinstance(step, Create)] == []
    assert plan(Situation(specs=(fixed,), wanted=wanted(1))) == (Create("llm", "llm-0"),)


def test_maintenance_creates_and_removes_nothing_but_still_tells_the_truth_about_a_death() -> None:
    situation = Situation(
        specs=(spec(),),
        wanted=wanted(3, maintenance=True),
        replicas=(replica("llm-0", Phase.FAILED), replica("llm-1", Phase.NOT_READY)),
        slots=(slot("llm-0"), slot("llm-1", number=1)),
    )
    assert plan(situation) == (MarkDown("llm", "llm-0"),)


def test_replicas_of_a_workload_that_is_no_longer_declared_go() -> None:
    situation = Situation(specs=(), wanted=wanted(0), replicas=(replica("old-0"),))
    assert removed(situation) == ["old-0"]


def test_a_workload_without_routes_is_never_filled_and_rolls_out_on_readiness_alone() -> None:
    worker = spec("worker")
    quiet = type(worker)(name="worker", command=("work",), routes=(), revision="r1")
    situation = Situation(
        specs=(quiet,),
        wanted=wanted(1, "worker"),
        replicas=(replica("worker-0"), replica("worker-1")),
        rolling={"worker": frozenset({"worker-0"})},
    )
    assert plan(situation) == (Remove("worker", "worker-0", "replaced by a new replica"),)
