"""The autoscaler over simulated time: spacing, steps of load, and what it records."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

import msgspec
import pytest

from backend.contract.errors import Refused
from backend.contract.rows import EventRow
from backend.scaling.controller import Autoscaler
from backend.scaling.policy import Observation, Threshold, ThresholdSettings
from tests.fakes.clock import FakeClock
from tests.fakes.ledger import MemoryLedger


class Plant:
    """A workload whose CPU and queue follow its load: `load` requests at once, 4 slots a replica."""

    def __init__(self, settings: ThresholdSettings, *, current: int = 1) -> None:
        self.clock, self.ledger = FakeClock(), MemoryLedger()
        self.current, self.load = current, 0
        self.ttft_window_until = 0.0
        self.scalings: list[tuple[float, int]] = []
        self.refuse: Exception | None = None
        self.changes: dict[str, object] = {}
        self.scaler = Autoscaler(
            "llm", Threshold(settings), self.observe, self.scale, self.ledger, self.clock, enabled=True
        )

    def observe(self) -> Observation:
        if self.load:
            self.ttft_window_until = self.clock.mono() + 60
        seen = Observation(
            mono_s=self.clock.mono(),
            current=self.current,
            ready=self.current,
            cpu_percent=95.0 if self.load else 3.0,
            queue_depth=max(0, self.load - 4 * self.current),
            in_flight=min(self.load, 4 * self.current),
            ttft_p99_ms=400.0 if self.clock.mono() < self.ttft_window_until else None,
        )
        return msgspec.structs.replace(seen, **self.changes)

    async def scale(self, n: int, reason: str) -> None:
        assert reason
        if self.refuse is not None:
            raise self.refuse
        self.scalings.append((self.clock.mono(), n))
        self.current = n

    async def run(self, seconds: int) -> None:
        for _ in range(seconds):
            await self.scaler.tick()
            self.clock.advance(1.0)

    def decisions(self, condition: Callable[[EventRow], bool] = lambda _: True) -> list[EventRow]:
        return [event for event in self.ledger.events("scaling.decision") if condition(event)]


@pytest.mark.parametrize(("cooldown", "most"), [(60, 10), (5, 4), (1, 3)])
async def test_a_step_of_load_scales_up_a_cooldown_apart_and_back_within_n_cooldowns(cooldown: int, most: int) -> None:
    plant = Plant(ThresholdSettings(max_instances=most, cooldown_s=cooldown))
    plant.load = 500
    await plant.run(most * cooldown + 10)
    assert plant.current == most
    ended = plant.clock.mono()
    plant.load = 0
    await plant.run(most * cooldown)
    assert plant.current == 1
    counts = [n for _, n in plant.scalings]
    assert counts == [*range(2, most + 1), *range(most - 1, 0, -1)], "steps of one, never back and forth"
    times = [at for at, _ in plant.scalings]
    assert all(later - earlier >= cooldown for earlier, later in itertools.pairwise(times))
    assert times[-1] - ended <= most * cooldown


async def test_load_that_ends_on_the_way_up_never_scales_up_again() -> None:
    plant = Plant(ThresholdSettings())
    plant.load = 500
    await plant.run(70)
    assert plant.current == 3
    plant.load = 0
    await plant.run(3 * 60)
    assert [n for _, n in plant.scalings] == [2, 3, 2, 1]


async def test_decisions_are_recorded_when_they_change_and_not_every_second() -> None:
    plant = Plant(ThresholdSettings(max_instances=3))
    await plant.run(30)
    assert len(plant.decisions()) == 1
    plant.load = 500
    await plant.run(300)
    scalings = plant.decisions(lambda event: event.attributes["wanted"] != event.attributes["current"])
    assert [event.attributes["wanted"] for event in scalings] == [2, 3]
    assert len(plant.decisions()) <= 6
    last = plant.decisions()[-1]
    assert last.attributes["blocker"] == "at-maximum"
    assert last.attributes["cpu_percent"] == 95.0 and last.attributes["cpu_percent_target"] == 70.0
    assert "at the maximum of 3" in last.message


async def test_switched_off_it_does_nothing_but_shows_the_inputs() -> None:
    plant = Plant(ThresholdSettings())
    plant.scaler.set_enabled(False)
    plant.load = 500
    await plant.run(100)
    assert plant.scalings == [] and plant.ledger.events() == []
    view = plant.scaler.view()
    assert not view.enabled and view.inputs["cpu_percent"] == 95.0 and view.policy == "threshold"
    assert (view.current, view.minimum, view.maximum) == (1, 1, 10)
    plant.scaler.set_enabled(True)
    await plant.run(1)
    assert plant.current == 2


async def test_somebody_elses_choice_stands_for_a_cooldown() -> None:
    plant = Plant(ThresholdSettings(), current=1)
    await plant.run(100)
    plant.current = 4
    by_hand = plant.clock.mono()
    await plant.run(200)
    assert plant.scalings[0] == (by_hand + 60, 3)


async def test_a_refused_scaling_is_recorded_once_and_not_tried_every_second() -> None:
    plant = Plant(ThresholdSettings())
    plant.load, plant.refuse = 500, Refused("llm is being worked on by a rollout.")
    await plant.run(180)
    assert len(plant.ledger.events("scaling.failed")) == 1
    assert plant.current == 1
    plant.refuse = None
    await plant.run(60)
    assert plant.current == 2


async def test_the_view_tells_the_cooldown_and_the_last_decision() -> None:
    plant = Plant(ThresholdSettings())
    plant.load = 500
    await plant.run(11)
    view = plant.scaler.view()
    assert view.cooldown_left_s == pytest.approx(49)
    assert view.last_decision.startswith("stay at 2: CPU 95 % > 56 %")
    plant.changes = {"age_s": 30.0}
    await plant.run(1)
    assert "telemetry is older than 10 s" in plant.scaler.view().last_decision


async def test_a_broken_observation_is_recorded_and_ends_nothing() -> None:
    plant = Plant(ThresholdSettings())
    plant.changes = {"cpu_percent": "hot"}
    heard = asyncio.Event()
    plant.ledger.subscribe("events", lambda _: heard.set())
    running = asyncio.create_task(plant.scaler.run())
    await asyncio.wait_for(heard.wait(), 30)
    assert not running.done()
    running.cancel()
    (event,) = plant.ledger.events("scaling.failed")
    assert "TypeError" in event.message
