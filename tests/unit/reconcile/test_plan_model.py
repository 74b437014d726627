"""Properties of the plan over whole histories: it converges, it stays, it never takes too much away."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from backend.contract.words import Phase
from backend.reconcile.plan import Remove
from tests.unit.reconcile.model import Model, replica

LONG_ENOUGH = 60


def converge(model: Model) -> None:
    """Steps until the plan is empty twice; what starts gets Ready in between."""
    quiet = 0
    for _ in range(LONG_ENOUGH):
        steps = model.step()
        model.settle()
        quiet = 0 if steps or model.leaving or model.rolling & model.replicas.keys() else quiet + 1
        if quiet == 3:
            return
    raise AssertionError(f"still busy after {LONG_ENOUGH} passes: {model.situation()}")


class Histories(RuleBasedStateMachine):
    """Anything may happen in any order; in the end all is as wanted."""

    @initialize(count=st.integers(0, 5))
    def begin(self, count: int) -> None:
        self.model = Model(count)

    @rule()
    def step(self) -> None:
        self.model.step()

    @rule()
    def settle(self) -> None:
        self.model.settle()

    @rule(count=st.integers(0, 8))
    def scale(self, count: int) -> None:
        self.model.want(replicas=count)

    @rule(pick=st.integers(0, 7), phase=st.sampled_from([Phase.FAILED, Phase.CRASH_LOOP, Phase.NOT_READY]))
    def falter(self, pick: int, phase: Phase) -> None:
        if names := sorted(self.model.replicas):
            name = names[pick % len(names)]
            was = self.model.replicas[name]
            self.model.replicas[name] = replica(
                name, phase, revision=was.revision, created=was.created_ts, port=was.port or 20000
            )

    @rule(pick=st.integers(0, 7))
    def toggle_drain(self, pick: int) -> None:
        if names := sorted(self.model.replicas.keys() - self.model.leaving):
            name = names[pick % len(names)]
            drained = set(self.model.wanted.of("llm").drained)
            self.model.want(drained=tuple(sorted(drained ^ {name})))

    @rule(number=st.integers(1, 3))
    def revise(self, number: int) -> None:
        self.model.spec = msgspec.structs.replace(self.model.spec, revision=f"r{number}")

    @rule()
    def roll_out(self) -> None:
        self.model.rolling = set(self.model.replicas) - self.model.leaving

    @rule()
    def daemon_dies(self) -> None:
        self.model.daemon_dies()

    @invariant()
    def names_and_slots_are_unique(self) -> None:
        if hasattr(self, "model"):
            numbers = [slot.slot for slot in self.model.slots.values()]
            assert len(numbers) == len(set(numbers))

    def teardown(self) -> None:
        if not hasattr(self, "model"):
            return
        model = self.model
        converge(model)
        wanted = model.wanted.of("llm")
        assert len(model.replicas) == wanted.replicas
        assert model.serving() == model.replicas.keys() - set(wanted.drained)
        assert all(status.revision == model.spec.revision for status in model.replicas.values())
        assert model.slots.keys() <= model.replicas.keys()
        assert set(wanted.drained) <= model.replicas.keys()


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)


@given(
    count=st.integers(1, 6),
    new_revision=st.booleans(),
    waits=st.lists(st.integers(0, 3), min_size=40, max_size=40),
    death_at=st.one_of(st.none(), st.integers(1, 30)),
)
@settings(max_examples=200, deadline=None)
def test_a_rollout_never_drops_below_wanted(
    count: int, new_revision: bool, waits: list[int], death_at: int | None
) -> None:
    """However slowly new replicas get Ready, and wherever the daemon dies in it."""
    model = Model(count)
    converge(model)
    old = {status.created_ts for status in model.replicas.values()}
    if new_revision:
        model.spec = msgspec.structs.replace(model.spec, revision="r2")
    else:
        model.rolling = set(model.replicas)
    for number, wait in enumerate(waits):
        if number == death_at:
            model.daemon_dies()
        for _ in range(wait):
            model.step()
            assert len(model.serving() - model.leaving) >= count
            assert len(model.replicas.keys() - model.leaving) <= count + 1
        model.settle()
    converge(model)
    assert len(model.serving()) == count
    if new_revision:
        assert {status.revision for status in model.replicas.values()} == {"r2"}
    elif death_at is None:
        assert not old & {status.created_ts for status in model.replicas.values()}


@given(
    start=st.integers(0, 8),
    end=st.integers(0, 8),
    starting=st.sets(st.integers(0, 7)),
)
@settings(max_examples=200, deadline=None)
def test_scaling_down_keeps_as_many_serving_as_it_can(start: int, end: int, starting: set[int]) -> None:
    model = Model(start)
    converge(model)
    for number in starting:
        if (name := f"llm-{number}") in model.replicas:
            model.replicas[name] = replica(name, Phase.STARTING)
    model.step()
    before = len(model.serving())
    model.want(replicas=end)
    steps = model.step()
    removed = {step.replica for step in steps if isinstance(step, Remove)}
    assert len(removed) == max(0, start - end)
    assert len(model.serving() - model.leaving) >= min(before, end)
