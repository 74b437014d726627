"""The fleet's containers as last seen: their statuses, crashes, ends and rates, and who is told of changes.

Owns that memory and nothing else: it is fed by the watch and asks the engine nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from backend.contract.clock import Clock
from backend.contract.fleet import ExitRecord, ReplicaStatus
from backend.contract.words import Phase
from backend.fleet.docker_engine.facts import STOP_SIGNAL, ContainerFacts, exit_record
from backend.fleet.docker_engine.happenings import Happening
from backend.fleet.docker_engine.labels import Member
from backend.fleet.docker_engine.phases import STEADY_S, Beyond, Reach, reach_of, replica_status
from backend.fleet.docker_engine.usage import Counters, Rates, rates

_EARLY_KEPT: Final = 256
_DIGITS: Final = re.compile(r"([0-9]{1,18})")
_GOING_S: Final = 15.0
"""An engine that is stopped stops its containers so long before it is gone itself."""
_WISH_HOLDS_S: Final = 60.0
"""A signal sent longer ago than this has not ended the container."""


class Container(msgspec.Struct, kw_only=True):
    """One container and what we remember of it."""

    facts: ContainerFacts
    member: Member
    beyond: Beyond = Beyond()
    status: ReplicaStatus
    reach: Reach | None = None
    killed_at: float | None = None
    killed_by: int = 0
    """The first signal of those sent since it was started."""
    oom: bool = False
    """The kernel's memory killer struck in this life."""
    counters: Counters | None = None
    inspect: object = None
    """What the engine said, for descriptions and clones."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What of the fleet and its engine goes into each status."""

    fleet: str
    engine: str = "127.0.0.1"
    """The address of the machine that published ports are on."""
    direct: bool = False
    """Whether containers' own addresses can be reached from here."""


class Roster:
    """`told` hears each status that changed in phase, pid, readiness or address, and a last one of what is gone."""

    def __init__(self, place: Place, clock: Clock, told: Callable[[ReplicaStatus], None]) -> None:
        self.place, self._clock, self._told = place, clock, told
        self.ports: dict[str, int] = {}
        """Workload -> the container port that serves it, where somebody said so."""
        self._containers: dict[str, Container] = {}
        self._names: dict[str, str] = {}
        self._away = (0.0, 0.0)
        """From when until when (wall seconds) the engine was away last."""
        self._early: dict[str, list[Happening]] = {}
        """Events of containers that have not been looked at yet."""

    def all(self) -> list[Container]:
        """By workload and number, as people look for them: a container made anew stays in its place."""
        return sorted(self._containers.values(), key=_place)

    def get(self, name: str) -> Container | None:
        """By its name."""
        return self._containers.get(self._names.get(name, ""))

    def by_id(self, identifier: str) -> Container | None:
        return self._containers.get(identifier)

    def of(self, workload: str) -> list[Container]:
        """A workload's containers, by number."""
        found = [c for c in self._containers.values() if c.member.workload == workload]
        return sorted(found, key=_place)

    def put(self, facts: ContainerFacts, member: Member, inspect: object) -> Container:
        """What the engine says of a container now."""
        known = self._containers.get(facts.id)
        if known is None:
            blank = ReplicaStatus(name=facts.name, fleet="", workload="", phase=Phase.PENDING, created_ts=0.0)
            known = Container(facts=facts, member=member, status=blank, beyond=Beyond(restarts=facts.restarts))
            self._containers[facts.id] = known
            for happening in self._early.pop(facts.id, ()):
                self.happened(happening)
        former, known.facts, known.member, known.inspect = known.facts, facts, member, inspect
        if former.started_ts is not None and facts.started_ts is not None and facts.started_ts > former.started_ts:
            more = max(1, facts.restarts - former.restarts)
            restarts = known.beyond.restarts + more
            known.beyond = msgspec.structs.replace(known.beyond, restarts=restarts, with_engine=False)
            known.counters = None
        if not facts.running:
            known.counters = None
        if former.name != facts.name and self._names.get(former.name) == facts.id:
            del self._names[former.name]
            self._told(_gone(known.status))
        self._names[facts.name] = facts.id
        self._refresh(known)
        return known

    def drop(self, identifier: str) -> None:
        """It is gone."""
        known = self._containers.pop(identifier, None)
        self._early.pop(identifier, None)
        if known is None:
            return
        if self._names.get(known.facts.name) == identifier:
            del self._names[known.facts.name]
            self._told(_gone(known.status))

    def retain(self, identifiers: Iterable[str]) -> None:
        """All others are gone."""
        kept = set(identifiers)
        for identifier in [i for i in self._containers if i not in kept]:
            self.drop(identifier)

    def happened(self, happening: Happening) -> tuple[bool, bool]:
        """Remember what an event says beyond the engine's description. (memory killer, wished) of a `die`."""
        known = self._containers.get(happening.id)
        if known is None:
            return self._happened_early(happening)
        ts = happening.time_ns / 1e9
        match happening.action:
            case "kill" if known.killed_at is None or ts - known.killed_at > _WISH_HOLDS_S:
                known.killed_at, known.killed_by = ts, happening.signal or 0
            case "oom":
                known.oom = True
            case "start":
                known.killed_at, known.oom = None, False
            case "die":
                return self._died(known, happening, ts)
        return known.oom, False

    def _happened_early(self, happening: Happening) -> tuple[bool, bool]:
        while len(self._early) >= _EARLY_KEPT and happening.id not in self._early:
            del self._early[next(iter(self._early))]
        before = self._early.setdefault(happening.id, [])
        before.append(happening)
        oom = any(held.action == "oom" for held in before)
        return oom, any(held.action == "kill" and held.signal == STOP_SIGNAL for held in before)

    def lines(self, identifier: str, lines: tuple[str, ...]) -> None:
        """The last lines of a container that ended."""
        known = self._containers.get(identifier)
        last = None if known is None else known.status.last_exit
        if known is not None and last is not None and lines:
            self._beyond(known, last_exit=msgspec.structs.replace(last, last_lines=lines))

    def leaving(self, name: str, what: str) -> None:
        """We are ending it (`what`: `stopping`), or are not any more (empty)."""
        known = self.get(name)
        if known is not None:
            self._beyond(known, leaving=what)

    def measured(self, identifier: str, counters: Counters) -> Rates | None:
        """A reading of its counters; what went on since the last. Null where it is gone or ended meanwhile."""
        known = self._containers.get(identifier)
        if known is None or not known.facts.running:
            return None
        found = rates(known.counters, counters)
        known.counters = counters
        self._beyond(known, rates=found)
        return found

    def engine_was_away(self, since_ts: float, until_ts: float) -> None:
        """What it stopped as it went, or as it came back, nobody wished to be stopped."""
        self._away = (since_ts - _GOING_S, until_ts)
        for known in list(self._containers.values()):
            last = known.beyond.last_exit
            if last is not None and last.reason == "Stopped" and not known.facts.running and self._was_away(last.ts):
                self._beyond(known, with_engine=True)

    def _was_away(self, ts: float) -> bool:
        return self._away[0] <= ts <= self._away[1]

    def tick(self) -> None:
        """Let time show: a container that has run long enough is in no crash loop any more."""
        for known in list(self._containers.values()):
            if known.status.phase == Phase.CRASH_LOOP:
                self._refresh(known)

    def refresh_all(self) -> None:
        """After `place` or `ports` changed."""
        for known in list(self._containers.values()):
            self._refresh(known)

    def next_tick_s(self) -> float | None:
        """Seconds until the next status changes by itself; null where none does."""
        now = self._clock.now()
        ends = [
            known.facts.started_ts + STEADY_S - now
            for known in self._containers.values()
            if known.status.phase == Phase.CRASH_LOOP and known.facts.running and known.facts.started_ts is not None
        ]
        return max(0.05, min(ends)) if ends else None

    def _died(self, known: Container, happening: Happening, ts: float) -> tuple[bool, bool]:
        recent = known.killed_at is not None and ts - known.killed_at < _WISH_HOLDS_S
        wished = (recent and known.killed_by == known.facts.stop_signal) or bool(known.beyond.leaving)
        code = happening.exit_code
        oom = known.oom and code != 0
        record: ExitRecord = exit_record(ts, code, oom=oom, stopped=wished, pid=known.facts.pid)
        started = known.facts.started_ts
        quick = started is not None and ts - started < STEADY_S
        if wished or (code == 0 and not known.facts.restart_policy):
            crashes = 0
        else:
            crashes = known.beyond.crashes + 1 if quick else 1
        known.killed_at = None
        with_engine = wished and not known.beyond.leaving and self._was_away(ts)
        self._beyond(known, last_exit=record, crashes=crashes, rates=None, with_engine=with_engine)
        return oom, wished

    def _beyond(self, known: Container, **changes: object) -> None:
        known.beyond = msgspec.structs.replace(known.beyond, **changes)
        self._refresh(known)

    def _refresh(self, known: Container) -> None:
        before, facts, member = known.status, known.facts, known.member
        reach = reach_of(facts, self.ports.get(member.workload), engine=self.place.engine, direct=self.place.direct)
        known.reach = reach
        known.status = replica_status(
            facts,
            fleet=self.place.fleet,
            workload=member.workload,
            owner=f"{member.kind} {member.workload}" if member.kind != "container" or member.grouped else "",
            now=self._clock.now(),
            beyond=known.beyond,
            reach=reach,
        )
        if _told_apart(before, known.status):
            self._told(known.status)


def _place(container: Container) -> tuple[tuple[object, ...], int, float, str]:
    member, facts = container.member, container.facts
    return in_words(member.workload), member.number, facts.created_ts, facts.name


def in_words(name: str) -> tuple[object, ...]:
    """What names are ordered by: `web-2` comes before `web-10`."""
    parts = _DIGITS.split(name.casefold())
    return (*(int(part) if at % 2 else part for at, part in enumerate(parts)), name)


def at_rest(container: Container) -> bool:
    """Whether it ended as it should (finished, or was stopped by somebody): none that its workload misses."""
    status = container.status
    if container.facts.status != "exited" or container.facts.restarting or container.facts.error:
        return False
    if container.beyond.with_engine:
        return False
    last = status.last_exit
    return last is not None and (last.reason in ("Completed", "Stopped") or last.signal == STOP_SIGNAL)


def _told_apart(before: ReplicaStatus, now: ReplicaStatus) -> bool:
    return (before.name, before.phase, before.pid, before.port, before.host, before.reason, before.workload) != (
        now.name,
        now.phase,
        now.pid,
        now.port,
        now.host,
        now.reason,
        now.workload,
    )


def _gone(status: ReplicaStatus) -> ReplicaStatus:
    return msgspec.structs.replace(status, phase=Phase.TERMINATING, pid=None, reason="gone")
