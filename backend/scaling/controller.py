"""The autoscaler of one workload: asks its policy once a second and scales through the gateway.

Owns the rhythm, the cooldown's memory and the record of decisions. Never decides (the policy does) and never
touches the fleet: `scale` is an action like an operator's, with actor `autoscaler`. Off until switched on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from backend.contract.clock import Clock
from backend.contract.control import ScalingView
from backend.contract.errors import TrinityError
from backend.contract.events import EventRecorder
from backend.contract.ledger import RowSink
from backend.contract.words import Severity
from backend.scaling.policy import Decision, Observation, Policy, PolicyState

TICK_S: Final = 1.0
"""Also how often the count is looked at; a cooldown is kept to the tick."""


class Autoscaler:
    """`scale(n, reason)` is awaited for each scaling and raises TrinityError where it was refused or failed."""

    def __init__(
        self,
        workload: str,
        policy: Policy,
        observe: Callable[[], Observation],
        scale: Callable[[int, str], Awaitable[object]],
        sink: RowSink,
        clock: Clock,
        *,
        enabled: bool = False,
    ) -> None:
        self.workload, self.policy = workload, policy
        self._observe, self._scale = observe, scale
        self._clock, self._events = clock, EventRecorder(sink, clock)
        self._enabled = enabled
        self._state = PolicyState()
        self._seen: int | None = None
        self._recorded: tuple[str, str] | None = None
        self._last: tuple[float, str] | None = None
        self._problem = ""

    @property
    def enabled(self) -> bool:
        return self._enabled

    def set_enabled(self, on: bool) -> None:
        """Switch it; the daemon writes that down with the reconciler."""
        if on != self._enabled:
            self._enabled, self._recorded, self._seen = on, None, None

    async def run(self) -> None:
        """Tick once a second until cancelled."""
        while True:
            try:
                await self.tick()
            except Exception as exc:  # recorded: one bad observation must not end the autoscaler
                self._record_problem(f"{type(exc).__name__}: {exc}")
            await asyncio.sleep(TICK_S)

    async def tick(self) -> Decision | None:
        """Look once and scale where the policy says so. None while switched off."""
        if not self._enabled:
            return None
        observation = self._observe()
        if self._seen is not None and observation.current != self._seen:
            # somebody else changed the count: their choice stands for a cooldown
            self._state = PolicyState(last_action_mono_s=observation.mono_s)
        self._seen = observation.current
        decision = self.policy.decide(observation, self._state)
        scales = decision.wanted != observation.current
        if scales or (decision.desire, decision.blocker) != self._recorded:
            self._record(observation, decision)
        self._recorded = (decision.desire, decision.blocker)
        if scales:
            self._state = PolicyState(last_action_mono_s=observation.mono_s)
            try:
                await self._scale(decision.wanted, "; ".join(decision.reasons))
            except TrinityError as exc:
                self._record_problem(str(exc))
            else:
                self._problem = ""
                self._seen = decision.wanted
        return decision

    def view(self) -> ScalingView:
        """The scaling panel, with inputs of this instant, whether it is on or off."""
        observation = self._observe()
        decision = self.policy.decide(observation, self._state)
        minimum, maximum = self.policy.bounds(observation)
        return ScalingView(
            workload=self.workload,
            policy=self.policy.name,
            enabled=self._enabled,
            current=observation.current,
            minimum=minimum,
            maximum=maximum,
            maximum_note=observation.maximum_note,
            cooldown_left_s=decision.cooldown_left_s,
            last_decision=self._last[1] if self._last else "",
            last_decision_ts=self._last[0] if self._last else None,
            inputs=decision.inputs,
        )

    def _record(self, observation: Observation, decision: Decision) -> None:
        sentence = decision.sentence(observation.current)
        self._last = (self._clock.now(), sentence)
        self._events.record(
            "scaling.decision",
            Severity.INFO,
            self.workload,
            f"{self.workload}: {sentence}",
            **decision.inputs
            | {
                "policy": self.policy.name,
                "current": observation.current,
                "wanted": decision.wanted,
                "desire": decision.desire,
                "blocker": decision.blocker,
            },
        )

    def _record_problem(self, problem: str) -> None:
        if problem != self._problem:
            words = f"{self.workload} was not scaled: {problem}"
            self._events.record("scaling.failed", Severity.WARNING, self.workload, words)
        self._problem = problem
