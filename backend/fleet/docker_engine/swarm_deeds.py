"""What is done to Swarm services and nodes: scaled, updated anew, rolled back, cordoned, drained.

Owns the requests and the waiting for their end. Sees services through the view; Swarm itself replaces the tasks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from backend.contract.clock import Clock
from backend.contract.errors import Refused, TrinityError, Unreachable, UsageError
from backend.contract.platform import Progress
from backend.contract.words import Phase
from backend.fleet.docker_engine.client import EngineClient
from backend.fleet.docker_engine.errors import Conflict
from backend.fleet.docker_engine.reading import dig, fields, text, whole
from backend.fleet.docker_engine.swarm import SwarmView
from backend.fleet.docker_engine.swarm_facts import NodeFacts, ServiceFacts, service_facts
from backend.fleet.docker_engine.watch import Watch

_LOOK_S: Final = 0.2
_TRIES: Final = 5
"""A service that somebody else changes at the same instant is read and changed again."""
ROLLOUT_S: Final = 1800.0


class SwarmDeeds:
    """Verbs on services and nodes."""

    def __init__(self, client: EngineClient, view: SwarmView, watch: Watch, clock: Clock) -> None:
        self._client, self._view, self._watch, self._clock = client, view, watch, clock

    async def scale(self, service: ServiceFacts, replicas: int) -> int:
        """Want that many tasks; returns how many were wanted before. Raises Refused for a global service."""
        if service.replicas is None:
            raise Refused(f"{service.name} runs once on each node; it has no number of replicas.", "Add nodes instead.")
        if replicas < 0:
            raise UsageError(f"{service.name} cannot have {replicas} replicas.", "Name a number from 0 on.")
        before = service.replicas

        def change(spec: dict[str, Any]) -> None:
            nonlocal before
            before = whole(spec, "Mode", "Replicated", "Replicas") or 0
            spec["Mode"] = {"Replicated": {"Replicas": replicas}}

        await self._update(service, change)
        return before

    async def rollout(self, service: ServiceFacts, progress: Progress) -> str:
        """Replace every task by the service's own update settings, to the end. Raises TrinityError where it stops."""

        def change(spec: dict[str, Any]) -> None:
            template = spec.setdefault("TaskTemplate", {})
            template["ForceUpdate"] = (whole(template, "ForceUpdate") or 0) + 1

        await self._update(service, change)
        return await self._follow(service, progress, "rollout")

    async def rollback(self, service: ServiceFacts, progress: Progress) -> str:
        """Return to the former specification, to the end. Raises Refused where there is none."""
        if not service.has_former:
            raise Refused(f"{service.name} has no former revision.", "It was never updated; there is nothing to undo.")
        await self._update(service, lambda spec: None, rollback="previous")
        return await self._follow(service, progress, "rollback")

    async def set_availability(self, node: NodeFacts, availability: str) -> None:
        """`active`, `pause` (no new tasks) or `drain` (its tasks go elsewhere)."""
        held = await self._client.get(f"/nodes/{node.id}")
        spec = {**fields(held, "Spec"), "Availability": availability}
        await self._client.post(f"/nodes/{node.id}/update", spec, version=whole(held, "Version", "Index") or 0)
        self._watch.poke_swarm()

    async def drain(self, node: NodeFacts, progress: Progress, *, deadline_s: float) -> str:
        """Drain it and wait until no task runs there. Raises TrinityError at the deadline; it stays drained."""
        await self.set_availability(node, "drain")
        end, said = self._clock.mono() + deadline_s, ""
        while True:
            await self._watch.refresh_swarm()
            left = [held for held in self._view.nodes() if held.name == node.name and held.replicas]
            count = left[0].replicas if left else 0
            if not count:
                return f"{node.name}: no task of this fleet runs there any more; it takes no new ones"
            if (words := f"{node.name}: {count} still run there") != said:
                progress(said := words)
            if self._clock.mono() >= end:
                raise TrinityError(
                    f"{node.name} still runs {count} tasks after {deadline_s:g} s.",
                    "They go on ending; the node takes no new ones. See `trinity describe`.",
                )
            await asyncio.sleep(_LOOK_S)

    async def _update(self, service: ServiceFacts, change: Callable[[dict[str, Any]], None], **params: Any) -> None:
        for attempt in range(_TRIES):
            held = await self._client.get(f"/services/{service.id}")
            spec: dict[str, Any] = dict(fields(held, "Spec"))
            spec["TaskTemplate"] = dict(fields(spec, "TaskTemplate"))
            change(spec)
            version = whole(held, "Version", "Index") or 0
            try:
                await self._client.post(f"/services/{service.id}/update", spec, version=version, **params)
            except Unreachable:
                raise
            except (Conflict, TrinityError) as error:
                if "out of sequence" in error.message and attempt < _TRIES - 1:
                    continue
                raise
            break
        await self._watch.refresh_swarm()

    async def _follow(self, service: ServiceFacts, progress: Progress, what: str) -> str:
        """Until Swarm says that the update has ended."""
        end, said = self._clock.mono() + ROLLOUT_S, ""
        while True:
            held = await self._client.get(f"/services/{service.id}")
            now = service_facts(held)
            if now is None:
                raise TrinityError(f"{service.name} is gone in the middle of its {what}.", "See `trinity ps`.")
            await self._watch.refresh_swarm()
            words = self._view.rollout_words(now)
            if words and words != said:
                progress(f"{service.name}: {words}")
                said = words
            ended = self._ended(now, dig(held, "UpdateStatus"), what)
            if ended is not None:
                return ended
            if self._clock.mono() >= end:
                raise TrinityError(
                    f"The {what} of {service.name} has not ended after {ROLLOUT_S:g} s ({words}).",
                    "It goes on by itself. See `docker service ps`.",
                )
            await asyncio.sleep(_LOOK_S)

    def _ended(self, service: ServiceFacts, status: object, what: str) -> str | None:
        state, message = service.update_state, text(status, "Message").rstrip(".")
        if state in ("paused", "rollback_paused"):
            raise TrinityError(
                f"The {what} of {service.name} stopped: {message or 'Swarm paused it'}.",
                "Mend the service, then roll out again, or roll back.",
            )
        if state == "rollback_completed":
            if what == "rollback":
                return f"{service.name} is back at its former revision"
            raise TrinityError(
                f"The {what} of {service.name} failed and Swarm took it back: {message or 'see its tasks'}.",
                "See `docker service ps --no-trunc` for why its new tasks failed.",
            )
        if state != "completed":
            return None
        seen = self._view.of(service.name)
        if any(held.status.phase == Phase.TERMINATING for held in seen):
            return None
        count = len(seen)
        return (
            f"{service.name} is back at its former revision"
            if what == "rollback"
            else f"{service.name}: all {count} replaced"
        )
