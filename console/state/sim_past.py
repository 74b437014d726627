"""The pretended fleet's past: what changed each second, kept for half an hour, and any instant put back together.

Owns the recorded seconds; the world tells it what it touched. Bounded; no clock, no screen, no I/O.
"""

from __future__ import annotations

import bisect
import copy
import functools
import zlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

import msgspec

from backend.contract.control import DrillView, LoadView, Quantiles, SeriesPoint
from backend.contract.fleet import ExitRecord
from backend.contract.recording import RecordExtent, actions_as_of
from backend.contract.rows import ActionRow, EventRow
from backend.contract.words import Phase
from console.state.sim_platform import SimPlatform
from console.state.sim_world import WINDOW_S, SimReplica, SimWorld, quantiles_at

KEPT_S: Final = 1800
"""Seconds that can be looked at."""
KEPT_ROWS: Final = 250_000
"""Fewer seconds where more replicas than these changed in them."""
WHOLE_EVERY: Final = 60
"""Every so many seconds all replicas are written down, so that no instant is far from such a one."""
EVENTS: Final = 500
ACTIONS: Final = 200

Answers = dict[str, list[tuple[float, float]]]


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
    platform: SimPlatform | None

    def quantiles(self, replicas: list[SimReplica]) -> Quantiles:
        return quantiles_at(replicas, self.now)


class Note(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A replica as it is written down: what `SimReplica` holds but its answers, in its order."""

    name: str
    workload: str
    phase: Phase
    created_ts: float
    started_ts: float
    pid: int
    speed: float
    phase_since: float
    restarts: int
    reason: str
    draining: bool
    leaving: bool
    last_exit: ExitRecord | None
    in_flight: int
    waiting: int
    cpu: float
    memory: float
    tokens_per_s: float
    sessions: int
    looked_ts: float
    stays: bool


class _Page(msgspec.Struct, array_like=True):
    """What was written in a second: the replicas that differ (null: gone), what they answered."""

    changed: dict[str, Note | None] = {}
    answers: Answers = {}


@dataclass
class _Second:
    """One recorded second, packed: what differs from the one before, and all replicas in some."""

    world: PastWorld
    point: SeriesPoint
    rows: int = 0
    page: bytes = b""
    whole: bytes = b""


class SimPast:
    """Records the world after each second and gives instants back."""

    def __init__(self) -> None:
        self._seconds: deque[_Second] = deque()
        self._open = _Page()
        """The page of the newest second, as long as more may be done in it."""
        self._rows = 0
        self._since_whole = 0

    # -- writing ---------------------------------------------------------------------------------------------

    def record(self, world: SimWorld, point: SeriesPoint) -> None:
        """Write the world down as it is now; again in the same second for what was done to it since."""
        last = self._seconds[-1] if self._seconds else None
        if last is None or last.world.now != world.now:
            after = last.world.now if last is not None else 0.0
            self._open = _Page({}, {})
            for name, one in world.touched.items():
                if one is not None and (fresh := _newer(one.recent, after)):
                    self._open.answers[name] = fresh
            last = _Second(_world_of(world), point)
            self._seconds.append(last)
            self._since_whole += 1
        self._open.changed |= {name: None if one is None else _noted(one) for name, one in world.touched.items()}
        world.touched.clear()
        last.world, last.point, last.page = _world_of(world), point, _packed(self._open)
        self._rows += len(self._open.changed) - last.rows
        last.rows = len(self._open.changed)
        if len(self._seconds) == 1 or self._since_whole >= WHOLE_EVERY or last.whole:
            last.whole = _packed([_noted(one) for one in world.replicas])
            self._since_whole = 0
        self._forget(world.now - KEPT_S)

    def _forget(self, before: float) -> None:
        """What is too old goes, a minute at a time: the first second that stays has all replicas."""
        while self._seconds[0].world.now < before or self._rows > KEPT_ROWS:
            following = next((at for at, one in enumerate(self._seconds) if at and one.whole), None)
            if following is None or (self._seconds[following].world.now > before and self._rows <= KEPT_ROWS):
                return
            for _ in range(following):
                self._rows -= self._seconds.popleft().rows

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
        seconds = list(self._seconds)
        index = max(0, bisect.bisect_right(seconds, ts, key=lambda second: second.world.now) - 1)
        start = next(at for at in range(index, -1, -1) if seconds[at].whole)
        first = bisect.bisect_right(seconds, seconds[index].world.now - WINDOW_S, key=lambda second: second.world.now)
        known = {note.name: note for note in _WHOLE.decode(zlib.decompress(seconds[start].whole))}
        answers: Answers = {}
        for at in range(min(start + 1, first), index + 1):
            page = _page_of(seconds[at].page)
            if at > start:
                _apply(known, page.changed)
            if at >= first:
                for name, fresh in page.answers.items():
                    answers.setdefault(name, []).extend(fresh)
        world = copy.copy(seconds[index].world)
        world.replicas = [_replica(note, answers.get(note.name, ())) for note in known.values()]
        return world, [second.point for second in seconds[: index + 1]]


_PAGE: Final = msgspec.msgpack.Decoder(_Page)
_WHOLE: Final = msgspec.msgpack.Decoder(list[Note])
PAGES: Final = 128
"""Unpacked ones that are kept: the next instant that is looked at needs almost the same."""


@functools.lru_cache(maxsize=PAGES)
def _page_of(packed: bytes) -> _Page:
    return _PAGE.decode(zlib.decompress(packed))


_fields = attrgetter(*Note.__struct_fields__)


def _noted(one: SimReplica) -> Note:
    return Note(*_fields(one))


def _replica(note: Note, answers: Iterable[tuple[float, float]]) -> SimReplica:
    born = note.created_ts  # one of the same name may have answered before
    one = SimReplica(*_fields(note))
    one.recent = deque(answer for answer in answers if answer[0] > born)
    return one


def _packed(what: object) -> bytes:
    return zlib.compress(msgspec.msgpack.encode(what), 1)


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
        platform=copy.copy(world.platform),
    )


def _newer(recent: deque[tuple[float, float]], after: float) -> list[tuple[float, float]]:
    """The answers of the last second(s): they stand at the end, in any order within their second."""
    out: list[tuple[float, float]] = []
    for answer in reversed(recent):
        if answer[0] <= after:
            break
        out.append(answer)
    return out[::-1]


def _apply(known: dict[str, Note], changed: dict[str, Note | None]) -> None:
    for name, note in changed.items():
        before = known.get(name)
        if note is None:
            known.pop(name, None)
            continue
        if before is not None and before.created_ts != note.created_ts:
            del known[name]  # another one of the same name stands last
        known[name] = note


def events_until(rows: Iterable[EventRow], ts: float) -> tuple[EventRow, ...]:
    """The newest ones that had happened by then."""
    return tuple([row for row in rows if row.ts <= ts][-EVENTS:])


def actions_until(rows: Iterable[ActionRow], ts: float) -> tuple[ActionRow, ...]:
    """Those that had begun by then, as they stood."""
    return actions_as_of(rows, ts)[-ACTIONS:]
