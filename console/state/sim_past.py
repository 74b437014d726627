"""The pretended fleet's past: what changed each second, kept for half an hour, and any instant put back together.

Owns the recorded seconds; the world tells it what it touched. Bounded; no clock, no screen, no I/O.
"""

from __future__ import annotations

import bisect
import copy
import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from backend.contract.control import DrillView, LoadView, Quantiles, SeriesPoint
from backend.contract.recording import RecordExtent
from backend.contract.rows import ActionRow, EventRow
from console.state.past import as_of
from console.state.sim_world import WINDOW_S, SimReplica, SimWorld, quantiles_at

KEPT_S: Final = 1800
"""Seconds that can be looked at."""
WHOLE_EVERY: Final = 60
"""Every so many seconds all replicas are written down, so that no instant is far from such a one."""
EVENTS: Final = 500
ACTIONS: Final = 200

Answers = dict[str, tuple[tuple[float, float], ...]]


@dataclass
class PastWorld:
    """The world at an instant, as far as a screen sees it."""

    now: float
    replicas: list[SimReplica]
    wanted: dict[str, int]
    maintenance: frozenset[str]
    autoscale: bool
    load: LoadView
    queued: int
    drill: DrillView | None
    drills_blocked: str

    def of(self, workload: str) -> list[SimReplica]:
        return [one for one in self.replicas if one.workload == workload]

    def quantiles(self, replicas: list[SimReplica]) -> Quantiles:
        return quantiles_at(replicas, self.now)


@dataclass
class _Second:
    """One recorded second: the fleet's own numbers, the replicas that differ, what they answered."""

    world: PastWorld
    point: SeriesPoint
    changed: dict[str, SimReplica | None] = field(default_factory=dict)
    """Null for one that is gone."""
    answers: Answers = field(default_factory=dict)
    whole: dict[str, SimReplica] | None = None
    """All replicas, in order, in some seconds."""


class SimPast:
    """Records the world after each second and gives instants back."""

    def __init__(self) -> None:
        self._seconds: deque[_Second] = deque()
        self._since_whole = 0

    # -- writing ---------------------------------------------------------------------------------------------

    def record(self, world: SimWorld, point: SeriesPoint) -> None:
        """Write the world down as it is now; again in the same second for what was done to it since."""
        last = self._seconds[-1] if self._seconds else None
        second = _Second(_world_of(world), point)
        after = last.world.now if last is not None else 0.0
        for name, one in world.touched.items():
            if one is None:
                second.changed[name] = None
                continue
            state = SimReplica.__new__(SimReplica)  # copy.copy takes four times as long
            state.__dict__.update(one.__dict__, recent=_NOTHING)
            second.changed[name] = state
            fresh = tuple(_newer(one.recent, after))
            if fresh:
                second.answers[name] = fresh
        world.touched.clear()
        if last is not None and last.world.now == world.now:
            last.world, last.point = second.world, point
            last.changed |= second.changed
            if last.whole is not None:
                last.whole = _applied(last.whole, second.changed)
            return
        self._since_whole += 1
        if last is None or self._since_whole >= WHOLE_EVERY:
            second.whole = _applied(self._replicas(len(self._seconds) - 1) if last else {}, second.changed)
            self._since_whole = 0
        self._seconds.append(second)
        self._forget(world.now - KEPT_S)

    def _forget(self, before: float) -> None:
        """What is too old goes, a minute at a time: the first second that stays has all replicas."""
        while self._seconds[0].world.now < before:
            following = next((at for at, one in enumerate(self._seconds) if at and one.whole is not None), None)
            if following is None or self._seconds[following].world.now > before:
                return
            for _ in range(following):
                self._seconds.popleft()

    # -- reading ---------------------------------------------------------------------------------------------

    def extent(self) -> RecordExtent:
        """From the first recorded second to the newest."""
        if not self._seconds:
            return RecordExtent(origin="simulator")
        first, last = self._seconds[0].world.now, self._seconds[-1].world.now
        return RecordExtent(first_ts=first, last_ts=last, origin="simulator")

    def at(self, ts: float) -> tuple[PastWorld, list[SeriesPoint]]:
        """The world in the newest second at or before `ts` (the first one for what is older), and all points until
        then. Raises LookupError where nothing is recorded."""
        if not self._seconds:
            raise LookupError("nothing is recorded")
        index = max(0, bisect.bisect_right(self._seconds, ts, key=lambda second: second.world.now) - 1)
        found = self._seconds[index].world
        answers: dict[str, list[tuple[float, float]]] = {}
        for second in self._between(found.now - WINDOW_S, index):
            for name, fresh in second.answers.items():
                answers.setdefault(name, []).extend(fresh)
        replicas = []
        for name, state in self._replicas(index).items():
            one = copy.copy(state)
            if name in answers:
                born = one.created_ts  # one of the same name may have answered before
                one.recent = deque(answer for answer in answers[name] if answer[0] > born)
            replicas.append(one)
        world = copy.copy(found)
        world.replicas = replicas
        return world, [second.point for second in self._between(-math.inf, index)]

    def _between(self, after: float, index: int) -> Iterator[_Second]:
        """Seconds later than `after`, up to the one at `index`, oldest first."""
        return (one for at, one in enumerate(self._seconds) if at <= index and one.world.now > after)

    def _replicas(self, index: int) -> dict[str, SimReplica]:
        """All of them after the second at `index`: from the last whole one on."""
        start = next(at for at in range(index, -1, -1) if self._seconds[at].whole is not None)
        known = dict(self._seconds[start].whole or {})
        for at in range(start + 1, index + 1):
            _apply(known, self._seconds[at].changed)
        return known


_NOTHING: Final[deque[tuple[float, float]]] = deque(maxlen=1)
"""What a recorded replica holds instead of its answers, which are kept by the second."""


def _world_of(world: SimWorld) -> PastWorld:
    return PastWorld(
        now=world.now,
        replicas=[],
        wanted=dict(world.wanted),
        maintenance=frozenset(world.maintenance),
        autoscale=world.autoscale,
        load=world.load,
        queued=world.queued,
        drill=world.drill,
        drills_blocked=world.drills_blocked,
    )


def _newer(recent: deque[tuple[float, float]], after: float) -> list[tuple[float, float]]:
    """The answers of the last second(s): they stand at the end, in any order within their second."""
    out: list[tuple[float, float]] = []
    for answer in reversed(recent):
        if answer[0] <= after:
            break
        out.append(answer)
    return out[::-1]


def _apply(known: dict[str, SimReplica], changed: dict[str, SimReplica | None]) -> None:
    for name, state in changed.items():
        before = known.get(name)
        if state is None:
            known.pop(name, None)
            continue
        if before is not None and before.created_ts != state.created_ts:
            del known[name]  # another one of the same name stands last
        known[name] = state


def _applied(known: dict[str, SimReplica], changed: dict[str, SimReplica | None]) -> dict[str, SimReplica]:
    fresh = dict(known)
    _apply(fresh, changed)
    return fresh


def events_until(rows: Iterable[EventRow], ts: float) -> tuple[EventRow, ...]:
    """The newest ones that had happened by then."""
    return tuple([row for row in rows if row.ts <= ts][-EVENTS:])


def actions_until(rows: Iterable[ActionRow], ts: float) -> tuple[ActionRow, ...]:
    """Those that had begun by then, as they stood."""
    return tuple([as_of(row, ts) for row in rows if row.ts <= ts][-ACTIONS:])
