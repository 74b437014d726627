"""Keeps what we know of an engine up to date: one list, then its events; again after every break.

Owns the connection's ups and downs (and says so by `trouble`), the events of containers as rows, and when Swarm has to
be looked at again. Asks for no list on a timer, but for tasks of a Swarm while some of them are on their way: Swarm
tells nobody of those.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, Final

import msgspec

from backend.config.fleet_file import DockerFile
from backend.contract.clock import Clock
from backend.contract.errors import TrinityError
from backend.contract.ledger import RowSink
from backend.contract.platform import Trouble
from backend.contract.rows import EventRow
from backend.contract.words import Severity
from backend.fleet.docker_engine.client import EngineClient, lines_of
from backend.fleet.docker_engine.errors import EngineTrouble, NotThere
from backend.fleet.docker_engine.facts import container_facts
from backend.fleet.docker_engine.happenings import ACTIONS, Happening, container_row, parse_happening
from backend.fleet.docker_engine.labels import OUR_STATE, OURS, SWARM_TASK, Member, member_of, selects
from backend.fleet.docker_engine.reading import text, texts, words
from backend.fleet.docker_engine.roster import Roster
from backend.fleet.docker_engine.swarm import SwarmView

_INSPECTS: Final = 6
"""At once: they go through threads, and an engine answers one in a few milliseconds."""
_LAST_WORDS: Final = 20
"""Of so many containers that had failed before we looked, the newest, the last lines are fetched."""
_FIRST_DELAY_S: Final = 0.05
_LAST_DELAY_S: Final = 2.0
_HEARTBEAT_S: Final = 5.0
_ANSWER_S: Final = 8.0
_SWARM_SOON_S: Final = 0.1
_SWARM_MOVING_S: Final = 1.0
_SWARM_FAR_S: Final = 5.0
"""How often tasks are listed where some run on other machines, of which no event reaches us."""

Died = Callable[[str, str], Awaitable[None]]
"""(container, replica): it has just ended."""


class Rosters(msgspec.Struct, frozen=True):
    """Where containers are remembered."""

    fleet: Roster
    """Those that the platform keeps: its replicas."""
    tasks: Roster
    """Those of Swarm tasks on this engine; the replicas are Swarm's."""
    ours: Roster
    """Those that our daemon keeps, under their replicas' names; the replicas are its own."""


class Watch:
    """Feeds rosters and Swarm's view. `digest` is what our own containers carry as OUR_STATE."""

    def __init__(
        self,
        client: EngineClient,
        settings: DockerFile,
        fleet: str,
        rosters: Rosters,
        swarm: SwarmView,
        sink: RowSink,
        clock: Clock,
        *,
        digest: str,
        died: Died,
        connected: Callable[[], None],
        frozen: Callable[[str, bool], None],
    ) -> None:
        self._client, self._settings, self._fleet, self._digest = client, settings, fleet, digest
        self._roster, self._tasks, self._ours, self._swarm = rosters.fleet, rosters.tasks, rosters.ours, swarm
        self._sink, self._clock = sink, clock
        self._died, self._connected, self._frozen = died, connected, frozen
        self.trouble: Trouble | None = None
        self.settled = asyncio.Event()
        """Set once the first list is in, or it is known why there is none."""
        self.lists = 0
        """Lists of containers asked for so far."""
        self._last_ns: int | None = None
        self._seen: set[tuple[int, str, str]] = set()
        """Events of the last instant seen: they come again after a break."""
        self._dirty: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._swarm_wake = asyncio.Event()
        self._side: set[asyncio.Task[None]] = set()

    def poke_swarm(self) -> None:
        """Look at Swarm's services and tasks again soon."""
        self._swarm_wake.set()

    def poke(self, identifier: str) -> None:
        """Look at a container again."""
        self._dirty[identifier] = None
        self._wake.set()

    async def run(self) -> None:
        """For ever; ends by being cancelled."""
        delay = _FIRST_DELAY_S
        try:
            while True:
                try:
                    await self._client.connect()
                    async with self._events() as lines:
                        await self._list()
                        self._recovered()
                        delay = _FIRST_DELAY_S
                        await _any_of(
                            self._follow(lines), self._heartbeat(), self._inspect(), self._tick(), self._look_at_swarm()
                        )
                except TrinityError as error:
                    self._troubled(error)
                await asyncio.sleep(delay)
                delay = min(_LAST_DELAY_S, delay * 2)
        finally:
            for task in self._side:
                task.cancel()

    # -- the events

    @contextlib.asynccontextmanager
    async def _events(self) -> AsyncIterator[AsyncIterator[bytes]]:
        filters = msgspec.json.encode({"type": ["container", "service", "node"], "event": list(ACTIONS)}).decode()
        params: dict[str, str | int] = {"filters": filters}
        if self._last_ns is not None:
            params["since"] = f"{self._last_ns // 1_000_000_000}.{self._last_ns % 1_000_000_000:09d}"
        async with self._client.stream("/events", params) as response:
            yield lines_of(response.aiter_raw())

    async def _follow(self, lines: AsyncIterator[bytes]) -> None:
        async for line in lines:
            try:
                happening = parse_happening(msgspec.json.decode(line))
            except (msgspec.DecodeError, RecursionError):
                continue
            if happening is not None and self._is_new(happening):
                self._handle(happening)
        raise EngineTrouble(
            "unreachable",
            f"The Docker engine at {self._client.endpoint.host} ended its events: it stops or starts again.",
            "It is tried again by itself. If this stays, see the engine's log.",
        )

    def _is_new(self, happening: Happening) -> bool:
        key = (happening.time_ns, happening.id, f"{happening.action}:{happening.detail}")
        if key in self._seen:
            return False
        if self._last_ns is None or happening.time_ns > self._last_ns:
            self._last_ns = happening.time_ns
            self._seen = {held for held in self._seen if held[0] >= happening.time_ns}
        self._seen.add(key)
        return True

    def _handle(self, happening: Happening) -> None:
        if happening.type != "container":
            self.poke_swarm()
            return
        if SWARM_TASK in happening.attributes:
            self.poke_swarm()
        rosters = self._place(happening.name, happening.attributes)
        if rosters is None:
            return
        roster, member = rosters
        if roster is self._ours and happening.action in ("pause", "unpause"):
            self._frozen(member.workload, happening.action == "pause")
        oom, wished = roster.happened(happening)
        if roster is self._roster:
            row = container_row(happening, happening.name, mono_s=self._clock.mono(), oom=oom, wished=wished)
            if row is not None:
                self._sink.append(row)
        if happening.action == "destroy":
            self._dirty.pop(happening.id, None)
            roster.drop(happening.id)
            return
        self.poke(happening.id)
        if happening.action == "die" and roster is not self._ours:
            self._aside(self._told_of_death(happening.id, happening.name))

    async def _told_of_death(self, identifier: str, name: str) -> None:
        with contextlib.suppress(TrinityError):  # it may be gone already
            await self._died(identifier, name)

    def _place(self, name: str, labels: dict[str, str]) -> tuple[Roster, Member] | None:
        """Which roster a container belongs to, and what it is there."""
        if OURS in labels:
            ours = labels.get(OUR_STATE) == self._digest
            return (self._ours, Member(labels[OURS], "ours")) if ours else None
        seen = self._swarm.active
        if SWARM_TASK in labels and seen:
            wanted = self._settings.services and selects(self._settings, labels)
            return (self._tasks, Member(name, "service")) if wanted else None
        member = member_of(self._settings, name, labels, services_seen=seen)
        return None if member is None else (self._roster, member)

    # -- containers

    async def _list(self) -> None:
        """All of them, each inspected: the only list until the next break."""
        self._swarm.active = self._settings.services and self._client.info.swarm_manager
        self._connected()
        self.lists += 1
        # Not filtered there: a project's containers, a stack's tasks and those that we keep have no label in common.
        listed = await self._client.call(lambda api: api.containers(all=True))
        found = []
        for entry in listed:
            names = words(entry, "Names")
            name = names[0].lstrip("/") if names else ""
            if self._place(name, texts(entry, "Labels")) is not None:
                found.append(text(entry, "Id"))
        if self._swarm.active:
            await self.refresh_swarm()
        else:
            self._swarm.clear()
        self._dirty.clear()
        await self._inspect_all(found)
        for roster in (self._roster, self._tasks, self._ours):
            roster.retain(found)
        failed = [c for c in self._roster.all() if c.facts.status == "exited" and c.facts.exit_code]
        for container in failed[-_LAST_WORDS:]:
            self._aside(self._told_of_death(container.facts.id, container.facts.name))

    async def _inspect(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            dirty, self._dirty = list(self._dirty), {}
            await self._inspect_all(dirty)

    async def _inspect_all(self, identifiers: list[str]) -> None:
        gate = asyncio.Semaphore(_INSPECTS)

        async def one(identifier: str) -> None:
            async with gate:
                await self.look_at(identifier)

        await asyncio.gather(*(one(identifier) for identifier in identifiers))

    async def look_at(self, identifier: str) -> None:
        """Inspect a container now. It may be gone, or none of the fleet's."""
        try:
            inspect: object = await self._client.call(lambda api: api.inspect_container(identifier))
        except NotThere:
            for roster in (self._roster, self._tasks, self._ours):
                roster.drop(identifier)
            return
        facts = container_facts(inspect)
        if facts is None:
            return
        placed = self._place(facts.name, facts.labels)
        if placed is not None:
            roster, member = placed
            if roster is self._ours:
                facts = msgspec.structs.replace(facts, name=member.workload)
            roster.put(facts, member, inspect)
            if roster is self._tasks:
                self._swarm.refresh(self._tasks)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(min(1.0, self._roster.next_tick_s() or 1.0))
            self._roster.tick()

    # -- Swarm

    async def _look_at_swarm(self) -> None:
        """When poked; by itself only while tasks move, or where they run on machines that we get no events of."""
        while True:
            wait_s = None
            if self._swarm.active:
                wait_s = _SWARM_MOVING_S if self._swarm.moving else _SWARM_FAR_S if self._swarm.spread else None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._swarm_wake.wait()
                    await asyncio.sleep(_SWARM_SOON_S)  # changes come in bunches
            self._swarm_wake.clear()
            if self._swarm.active:
                await self.refresh_swarm()

    async def refresh_swarm(self) -> None:
        """List services, tasks and nodes now."""
        services, tasks, nodes = await asyncio.gather(
            self._client.get("/services", status=1),
            self._client.get("/tasks"),
            self._client.get("/nodes"),
        )
        self._swarm.put(services, tasks, nodes, self._client.info.swarm_node, self._tasks)

    # -- up and down

    async def _heartbeat(self) -> None:
        """An engine that hangs, or whose machine has vanished, ends no stream."""
        while True:
            await asyncio.sleep(_HEARTBEAT_S)
            try:
                async with asyncio.timeout(_ANSWER_S):
                    await self._client.call(lambda api: api.ping())
            except TimeoutError:
                raise EngineTrouble(
                    "unreachable",
                    f"The Docker engine at {self._client.endpoint.host} does not answer (no answer in "
                    f"{_ANSWER_S:g} s).",
                    "See whether it hangs (`systemctl status docker`, its log), and restart it where it does.",
                ) from None

    def _recovered(self) -> None:
        if self.trouble is not None:
            gone_s = self._clock.now() - self.trouble.since_ts
            for roster in (self._roster, self._tasks, self._ours):
                roster.engine_was_away(self.trouble.since_ts, self._clock.now())
            self.trouble = None
            self._row("reachable", Severity.INFO, f"The Docker engine answers again, after {gone_s:.1f} s")
        self.settled.set()

    def _troubled(self, error: TrinityError) -> None:
        kind = error.trouble if isinstance(error, EngineTrouble) else "unreachable"
        known = self.trouble
        since_ts = self._clock.now() if known is None else known.since_ts
        self.trouble = Trouble(kind=kind, message=error.message, next_step=error.next_step, since_ts=since_ts)
        if known is None or known.message != error.message:
            self._row("trouble", Severity.ERROR, f"{error.message} {error.next_step}".strip())
        self.settled.set()

    def _row(self, kind: str, severity: Severity, message: str) -> None:
        self._sink.append(
            EventRow(
                ts=self._clock.now(),
                mono_s=self._clock.mono(),
                kind=f"docker.{kind}",
                severity=severity,
                subject=self._fleet,
                message=message,
            )
        )

    def _aside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._side.add(task)
        task.add_done_callback(self._side.discard)


async def _any_of(*work: Coroutine[Any, Any, None]) -> None:
    """Until the first of them ends; raises what it raised."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
