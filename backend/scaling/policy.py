"""Scaling policies: from what is observed to a wanted replica count, with the reasons. Pure.

Owns the documented rule (`threshold`) and how a maximum follows from memory. Never scales, never looks at a clock.
"""

from __future__ import annotations

from typing import Final, Literal, Protocol

import msgspec

from backend.contract.rows import Scalar

STALE_AFTER_S: Final = 10.0
"""Telemetry older than this is no ground for a decision."""
UP_SHARE: Final = 0.8
DOWN_SHARE: Final = 0.3
CALM_QUEUE: Final = 10
MEMORY_SHARE: Final = 0.9
"""How much of the available memory replicas may be planned into."""

Desire = Literal["up", "down", "hold"]
Blocker = Literal["", "cooldown", "at-maximum", "at-minimum", "stale", "lease", "maintenance", "out-of-bounds"]


class ThresholdSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The documented environment variables: TARGET_CPU_PERCENT, TARGET_QUEUE_DEPTH, TARGET_TTFT_MS,
    MIN_INSTANCES, MAX_INSTANCES, COOLDOWN_SECONDS."""

    target_cpu_percent: float = 70.0
    target_queue_depth: float = 50.0
    target_ttft_ms: float = 100.0
    min_instances: int = 1
    max_instances: int = 10
    cooldown_s: float = 60.0


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """One instant of one workload. A null is a value nobody has: it triggers nothing and allows no scale-down
    by itself, except TTFT, which is null while idle and stands in the way of nothing."""

    mono_s: float
    current: int
    """Replicas wanted now."""
    ready: int
    cpu_percent: float | None
    """Of the whole machine, 0..100."""
    queue_depth: int | None
    """Requests waiting at the edge."""
    in_flight: int = 0
    ttft_p99_ms: float | None = None
    """p99 over the last 60 s of streaming requests."""
    age_s: float = 0.0
    """Since the telemetry was read."""
    maximum: int | None = None
    """What the machine holds, where that is less than the settings' maximum."""
    maximum_note: str = ""
    lease: str | None = None
    """Who else works on the workload (a rollout, a drill)."""
    maintenance: bool = False


class PolicyState(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy needs to remember."""

    last_action_mono_s: float | None = None
    """The last time the count was changed, by the autoscaler or by anybody."""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """`wanted` is the count to have now. `desire` is what the signals ask for, `blocker` what stands against it."""

    wanted: int
    desire: Desire
    blocker: Blocker
    reasons: tuple[str, ...]
    inputs: dict[str, Scalar]
    cooldown_left_s: float = 0.0

    def sentence(self, current: int) -> str:
        """For people: what is done and why."""
        deed = f"{current} → {self.wanted}" if self.wanted != current else f"stay at {current}"
        return f"{deed}: {'; '.join(self.reasons)}" if self.reasons else deed


class Policy(Protocol):
    """A pure rule. It sees nothing but its arguments."""

    @property
    def name(self) -> str: ...

    def bounds(self, observation: Observation) -> tuple[int, int]:
        """The least and the greatest count it would choose."""
        ...

    def decide(self, observation: Observation, state: PolicyState) -> Decision: ...


class Threshold:
    """The documented rule: up by 1 if cpu > 0.8 of its target, or queue > target, or TTFT > target; down by 1 if
    cpu < 0.3 of it and queue < 10 and instances > min; a cooldown between actions."""

    name: Final = "threshold"

    def __init__(self, settings: ThresholdSettings) -> None:
        self.settings = settings

    def bounds(self, observation: Observation) -> tuple[int, int]:
        maximum = self.settings.max_instances
        if observation.maximum is not None:
            maximum = min(maximum, observation.maximum)
        minimum = min(self.settings.min_instances, maximum)
        return minimum, maximum

    def decide(self, observation: Observation, state: PolicyState) -> Decision:
        minimum, maximum = self.bounds(observation)
        current, inputs = observation.current, self._inputs(observation)
        cooldown_left_s = self._cooldown_left(observation, state)

        def decision(wanted: int, desire: Desire, blocker: Blocker, *reasons: str) -> Decision:
            return Decision(
                wanted=wanted,
                desire=desire,
                blocker=blocker,
                reasons=reasons,
                inputs=inputs,
                cooldown_left_s=cooldown_left_s,
            )

        frozen = _frozen(observation)
        if frozen is not None:
            return decision(current, "hold", *frozen)
        up, down = self._up_reasons(observation), self._down_reasons(observation)
        waits = f"cooldown: {cooldown_left_s:.0f} s left"
        if current < minimum or current > maximum:
            desire: Desire = "up" if current < minimum else "down"
            text = f"{current} is outside {minimum} to {maximum}"
            if cooldown_left_s > 0:
                return decision(current, desire, "cooldown", text, waits)
            return decision(current + (1 if desire == "up" else -1), desire, "", text)
        if up:
            if current >= maximum:
                note = f" ({observation.maximum_note})" if observation.maximum_note else ""
                return decision(current, "up", "at-maximum", *up, f"at the maximum of {maximum}{note}")
            if cooldown_left_s > 0:
                return decision(current, "up", "cooldown", *up, waits)
            return decision(current + 1, "up", "", *up)
        if down:
            if current <= minimum:
                return decision(current, "hold", "at-minimum", *down, f"at the minimum of {minimum}")
            if cooldown_left_s > 0:
                return decision(current, "down", "cooldown", *down, waits)
            return decision(current - 1, "down", "", *down)
        return decision(current, "hold", "", "within the targets")

    def _up_reasons(self, observation: Observation) -> list[str]:
        settings, reasons = self.settings, []
        cpu_limit = settings.target_cpu_percent * UP_SHARE
        if observation.cpu_percent is not None and observation.cpu_percent > cpu_limit:
            reasons.append(f"CPU {observation.cpu_percent:.0f} % > {cpu_limit:.0f} %")
        if observation.queue_depth is not None and observation.queue_depth > settings.target_queue_depth:
            reasons.append(f"queue {observation.queue_depth} > {settings.target_queue_depth:g}")
        ttft_ms = present_ttft_ms(observation)
        if ttft_ms is not None and ttft_ms > settings.target_ttft_ms:
            reasons.append(f"TTFT p99 {ttft_ms:.0f} ms > {settings.target_ttft_ms:g} ms")
        return reasons

    def _down_reasons(self, observation: Observation) -> list[str]:
        cpu_limit = self.settings.target_cpu_percent * DOWN_SHARE
        if observation.cpu_percent is None or observation.queue_depth is None:
            return []
        if observation.cpu_percent < cpu_limit and observation.queue_depth < CALM_QUEUE:
            return [
                f"CPU {observation.cpu_percent:.0f} % < {cpu_limit:.0f} %",
                f"queue {observation.queue_depth} < {CALM_QUEUE}",
            ]
        return []

    def _cooldown_left(self, observation: Observation, state: PolicyState) -> float:
        if state.last_action_mono_s is None:
            return 0.0
        return max(0.0, state.last_action_mono_s + self.settings.cooldown_s - observation.mono_s)

    def _inputs(self, observation: Observation) -> dict[str, Scalar]:
        settings = self.settings
        return {
            "cpu_percent": observation.cpu_percent,
            "cpu_percent_target": settings.target_cpu_percent,
            "queue_depth": observation.queue_depth,
            "queue_depth_target": settings.target_queue_depth,
            "ttft_p99_ms": present_ttft_ms(observation),
            "ttft_p99_ms_target": settings.target_ttft_ms,
            "in_flight": observation.in_flight,
            "ready": observation.ready,
        }


def present_ttft_ms(observation: Observation) -> float | None:
    """TTFT, or null when the workload is idle: what the last minute's requests waited says nothing about a
    moment without any, and would scale up after the load has ended."""
    if not observation.in_flight and not observation.queue_depth:
        return None
    return observation.ttft_p99_ms


def _frozen(observation: Observation) -> tuple[Blocker, str] | None:
    if observation.maintenance:
        return "maintenance", "frozen: in maintenance"
    if observation.lease is not None:
        return "lease", f"frozen: {observation.lease} is working on it"
    if observation.age_s > STALE_AFTER_S:
        return "stale", f"frozen: telemetry is older than {STALE_AFTER_S:g} s"
    return None


def clamp_maximum(
    maximum: int, memory_available_bytes: int, per_replica_bytes: int, *, current: int = 0
) -> tuple[int, str]:
    """The greatest replica count that memory holds, at most `maximum`, and a note where it is less (else "").

    `memory_available_bytes` is what is free beside the `current` replicas; never below 1 or below `current`.
    """
    if per_replica_bytes <= 0:
        return maximum, ""
    more = max(0, int(memory_available_bytes * MEMORY_SHARE) // per_replica_bytes)
    holds = max(1, current, current + more)
    if holds >= maximum:
        return maximum, ""
    note = (
        f"memory holds {holds} of {maximum}: {memory_available_bytes / 2**20:.0f} MiB available, "
        f"{per_replica_bytes / 2**20:.0f} MiB a replica"
    )
    return holds, note
