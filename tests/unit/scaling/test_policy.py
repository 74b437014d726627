"""The documented rule, line by line, and the maximum that memory holds."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.scaling.policy import Observation, PolicyState, Threshold, ThresholdSettings, clamp_maximum

CALM = Observation(mono_s=1000.0, current=2, ready=2, cpu_percent=40.0, queue_depth=0, in_flight=1)
FRESH = PolicyState()


def decide(policy: Any = None, state: Any = FRESH, **changes: Any) -> tuple[int, str, str]:
    made = (policy or Threshold(ThresholdSettings())).decide(msgspec.structs.replace(CALM, **changes), state)
    return made.wanted, made.desire, made.blocker


def test_the_defaults_are_the_documented_ones() -> None:
    settings = ThresholdSettings()
    assert (settings.target_cpu_percent, settings.target_queue_depth, settings.target_ttft_ms) == (70, 50, 100)
    assert (settings.min_instances, settings.max_instances, settings.cooldown_s) == (1, 10, 60)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"cpu_percent": 56.0}, 2),
        ({"cpu_percent": 56.1}, 3),
        ({"queue_depth": 50}, 2),
        ({"queue_depth": 51}, 3),
        ({"ttft_p99_ms": 100.0}, 2),
        ({"ttft_p99_ms": 100.1}, 3),
        ({"ttft_p99_ms": None, "cpu_percent": 20.9}, 1),
        ({"ttft_p99_ms": 50.0, "cpu_percent": 20.9}, 1),
        ({"ttft_p99_ms": 500.0, "cpu_percent": 20.9}, 3),
        ({"cpu_percent": 21.0}, 2),
        ({"cpu_percent": 20.9, "queue_depth": 9}, 1),
        ({"cpu_percent": 20.9, "queue_depth": 10}, 2),
        ({"cpu_percent": None, "queue_depth": 0}, 2),
        ({"cpu_percent": 5.0, "queue_depth": None}, 2),
        ({"cpu_percent": None, "queue_depth": 51}, 3),
    ],
)
def test_the_rule(changes: dict[str, object], wanted: int) -> None:
    assert decide(**changes)[0] == wanted


def test_ttft_of_requests_long_gone_scales_nothing() -> None:
    """The window is a minute long: after a load has ended it still holds that load's requests."""
    assert decide(ttft_p99_ms=900.0, in_flight=0, cpu_percent=5.0) == (1, "down", "")


def test_bounds_block_and_say_why() -> None:
    policy = Threshold(ThresholdSettings(min_instances=2, max_instances=2))
    assert decide(policy, cpu_percent=99.0) == (2, "up", "at-maximum")
    assert decide(policy, cpu_percent=1.0) == (2, "hold", "at-minimum")
    made = Threshold(ThresholdSettings()).decide(
        msgspec.structs.replace(CALM, cpu_percent=99.0, maximum=2, maximum_note="memory holds 2 of 10"), FRESH
    )
    assert made.wanted == 2 and "memory holds 2 of 10" in made.reasons[-1]


def test_a_count_outside_the_bounds_moves_into_them() -> None:
    policy = Threshold(ThresholdSettings(min_instances=3))
    assert decide(policy)[0] == 3
    assert decide(maximum=1) == (1, "down", "")


@pytest.mark.parametrize(
    ("changes", "blocker"),
    [
        ({"age_s": 10.1}, "stale"),
        ({"lease": "rollout by cli:ann"}, "lease"),
        ({"maintenance": True}, "maintenance"),
    ],
)
def test_it_is_frozen_while_it_cannot_know_or_another_works(changes: dict[str, object], blocker: str) -> None:
    assert decide(cpu_percent=99.0, **changes) == (2, "hold", blocker)
    assert decide(cpu_percent=1.0, **changes) == (2, "hold", blocker)


def test_the_cooldown_is_kept_to_the_second() -> None:
    recent = PolicyState(last_action_mono_s=940.1)
    assert decide(state=recent, cpu_percent=99.0) == (2, "up", "cooldown")
    assert decide(state=recent, cpu_percent=1.0) == (2, "down", "cooldown")
    assert decide(state=PolicyState(last_action_mono_s=940.0), cpu_percent=99.0) == (3, "up", "")


observations = st.builds(
    Observation,
    mono_s=st.floats(0, 1e6),
    current=st.integers(0, 20),
    ready=st.integers(0, 20),
    cpu_percent=st.none() | st.floats(0, 100),
    queue_depth=st.none() | st.integers(0, 1000),
    in_flight=st.integers(0, 100),
    ttft_p99_ms=st.none() | st.floats(0, 1e5),
    age_s=st.floats(0, 100),
    maximum=st.none() | st.integers(1, 20),
    lease=st.none() | st.just("a drill"),
)


@given(observations, st.none() | st.floats(0, 1e6), st.integers(1, 5), st.integers(1, 12))
def test_it_moves_by_one_towards_or_within_its_bounds(
    observation: Observation, last: float | None, minimum: int, maximum: int
) -> None:
    policy = Threshold(ThresholdSettings(min_instances=minimum, max_instances=max(minimum, maximum)))
    low, high = policy.bounds(observation)
    made = policy.decide(observation, PolicyState(last_action_mono_s=last))
    assert abs(made.wanted - observation.current) <= 1
    if made.wanted > observation.current:
        assert made.wanted <= high
    if made.wanted < observation.current:
        assert made.wanted >= low
    if made.wanted != observation.current:
        assert made.blocker == "" and made.cooldown_left_s == 0 and observation.lease is None
    assert made.reasons


MIB = 2**20


def test_memory_clamps_the_maximum_and_says_so() -> None:
    assert clamp_maximum(10, 10_000 * MIB, 500 * MIB) == (10, "")
    holds, note = clamp_maximum(10, 2_000 * MIB, 500 * MIB)
    assert holds == 3
    assert note == "memory holds 3 of 10: 2000 MiB available, 500 MiB a replica"
    assert clamp_maximum(10, 0, 500 * MIB, current=2)[0] == 2, "what runs already fits"
    assert clamp_maximum(10, 0, 500 * MIB)[0] == 1
    assert clamp_maximum(10, 100, 0) == (10, "")


@given(st.integers(1, 50), st.integers(0, 2**40), st.integers(1, 2**36), st.integers(0, 50))
def test_the_clamp_stays_in_its_range(maximum: int, available: int, each: int, current: int) -> None:
    holds, note = clamp_maximum(maximum, available, each, current=current)
    assert 1 <= holds <= maximum
    assert bool(note) == (holds < maximum)
