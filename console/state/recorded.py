"""What the record knows of the time before a state's points: asked once for a stretch, thinned to what charts draw.

Owns when to ask and how; keeps one stretch, never draws.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, cast

import msgspec

from backend.contract.control import SeriesPoint
from backend.contract.rows import ActionRow, EventRow
from console.state.replica_ttft import COVERS, READING_S, READINGS, ReplicaTtft
from console.state.series import HELD_S, thinned
from console.state.source import FleetSource, PastSource

MOST_POINTS: Final = 2000
"""Points of a stretch: more than any terminal has columns."""
SERIES_S: Final = 3600
"""What one call for the newest seconds brings."""
LONGEST_S: Final = 86_400.0
"""No chart reaches further back."""
MOST_EVENTS: Final = 2000
MOST_ACTIONS: Final = 500
MOST_VIEWS: Final = 30_000
"""Replicas, over all readings, that the record is asked for to fill a heat map."""
_HOLE_S: Final = 3.0


class Stretch(msgspec.Struct, frozen=True):
    """A stretch that was asked for, and what came of it; `points` lie `step_s` apart or closer."""

    since: float = math.inf
    until: float = -math.inf
    step_s: float = 1.0
    points: Sequence[SeriesPoint] = ()

    def holds(self, since: float, until: float, step_s: float) -> bool:
        """Whether it says enough of another stretch."""
        return self.since <= since and until <= self.until + _HOLE_S and self.step_s <= 2 * step_s

    def begins(self, held_from: float) -> float | None:
        """Where the record itself begins, where that is within the stretch; `held_from` is the state's first point."""
        if self.until < self.since:
            return None
        first = self.points[0].ts if self.points else held_from
        return first if first > self.since + 2 * self.step_s else None


def wanted_step(window_s: float) -> float:
    """Seconds between two points of a picture that long."""
    return max(1.0, window_s / MOST_POINTS * 2)


def wanted(left: float, right: float, held: Sequence[SeriesPoint], known: Stretch) -> Stretch | None:
    """The stretch to ask for so that left to right can be drawn; null where what is held says it already.

    More than the picture is asked for, so that a cursor at its edge does not ask again with every step."""
    begin = held[0].ts if held else right
    if left >= begin:
        return None
    window = right - left
    step = wanted_step(window)
    until = min(begin, right)
    if known.holds(left, until, step):
        return None
    return Stretch(left - window / 2, min(begin, right + window / 2), step)


async def load(source: FleetSource, asked: Stretch, newest: float) -> Stretch:
    """Ask the source. Raises `TrinityError` where it does not answer; what is not recorded stays a gap."""
    found: list[SeriesPoint] = []
    back = newest - asked.since
    if back <= SERIES_S or not hasattr(source, "moment"):
        points = await source.series(min(SERIES_S, math.ceil(back) + 1))
        found = thinned([point for point in points if asked.since <= point.ts < asked.until], asked.step_s)
        return msgspec.structs.replace(asked, points=found)
    past = cast(PastSource, source)
    extent = await past.extent()
    since = max(asked.since, newest if extent.first_ts is None else extent.first_ts)
    end = asked.until
    while end > since:
        begin = max(since, end - SERIES_S)
        moment = await past.moment(end, window_s=math.ceil(end - begin) + 1)
        found = [*thinned([point for point in moment.points if begin <= point.ts < end], asked.step_s), *found]
        end = begin
    return msgspec.structs.replace(asked, points=found)


async def rows_of(source: FleetSource, asked: Stretch) -> tuple[list[EventRow], list[ActionRow]]:
    """Events and actions of a stretch, for its marks: the newest of them. Raises `TrinityError`."""
    since, until = asked.since, asked.until
    events = await source.rows("events", since_ts=since, until_ts=until, limit=MOST_EVENTS)
    actions = await source.rows("actions", since_ts=since, until_ts=until, limit=MOST_ACTIONS)
    return (
        [row for row in events if isinstance(row, EventRow)],
        [row for row in actions if isinstance(row, ActionRow)],
    )


async def fill_heat(source: FleetSource, heat: ReplicaTtft, newest: float, replicas: int) -> int:
    """Readings of the last minutes from the record, one a minute, where the state has none; how many came. Fewer for
    a large fleet. Raises `TrinityError` where the source does not answer."""
    if not hasattr(source, "moment"):
        return 0
    past = cast(PastSource, source)
    extent = await past.extent()
    came = 0
    for back in range(1, min(READINGS // COVERS, MOST_VIEWS // max(1, replicas)) + 1):
        ts = newest - back * COVERS * READING_S
        if extent.first_ts is None or ts < extent.first_ts:
            break
        if not heat.is_covered(ts):
            moment = await past.moment(ts, window_s=0)
            came += heat.add_past(moment.snapshot.ts, moment.snapshot.replicas)
    return came


async def reach_s(source: FleetSource, newest: float) -> float:
    """How far back everything goes, within a day. Raises `TrinityError` where the source does not answer."""
    if not hasattr(source, "extent"):
        return float(SERIES_S)
    first = (await cast(PastSource, source).extent()).first_ts
    return HELD_S if first is None else min(LONGEST_S, max(60.0, newest - first))
