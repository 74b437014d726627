"""Seconds of the fleet as charts need them: named fields, buckets fixed to the wall clock, the stretch looked at.

Owns bucketing (only what is new is added), zoom levels and the cursor. Never draws, never asks a source.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

import msgspec

from backend.contract.control import Quantiles, SeriesPoint

Reduce = Literal["max", "mean"]
ZOOMS: Final[tuple[float | None, ...]] = (60.0, 300.0, 900.0, 3600.0, 21600.0, None)
"""Seconds across the picture; the last is everything that is recorded."""
DEFAULT_ZOOM: Final = 1
HELD_S: Final = 900.0
"""What is taken for everything until somebody says how far the record reaches."""
LEFT_MARGIN: Final = 1 / 16
"""A cursor that the picture's left edge has reached stays this far inside."""
_MOST_BUCKETS: Final = 16384


class Field(msgspec.Struct, frozen=True):
    """One number of a second, and what stands for several of them."""

    name: str
    of: Callable[[SeriesPoint], float | None]
    reduce: Reduce = "max"


FIELDS: Final[dict[str, Field]] = {
    field.name: field
    for field in (
        Field("p50", lambda point: point.ttft.p50_s),
        Field("p95", lambda point: point.ttft.p95_s),
        Field("p99", lambda point: point.ttft.p99_s),
        Field("n", lambda point: float(point.ttft.count)),
        Field("queued", lambda point: float(point.queued)),
        Field("in_flight", lambda point: float(point.in_flight)),
        Field("requests", lambda point: point.requests_per_s, "mean"),
        Field("errors", lambda point: point.errors_per_s),
        Field("tokens", lambda point: point.tokens_per_s, "mean"),
        Field("cpu", lambda point: point.cpu_percent),
        Field("memory", lambda point: point.memory_percent),
        Field("ready", lambda point: float(point.ready), "mean"),
        Field("wanted", lambda point: float(point.wanted)),
    )
}
"""Peaks are kept where a peak is what one looks for; rates are averaged."""


class Grid(msgspec.Struct, frozen=True):
    """Cells of time, fixed to the wall clock. A cell holds `per_cell` buckets of `step_s`; `end` is the first bucket
    right of the picture, so the picture moves by whole cells (by `stride` of them)."""

    step_s: float
    per_cell: int
    columns: int
    end: int

    @property
    def first(self) -> int:
        """The leftmost bucket."""
        return self.end - self.columns * self.per_cell

    @property
    def cell_s(self) -> float:
        return self.step_s * self.per_cell

    @property
    def left_s(self) -> float:
        """Wall seconds of the left edge."""
        return self.first * self.step_s

    @property
    def right_s(self) -> float:
        return self.end * self.step_s

    def column_of(self, ts: float) -> int | None:
        """The cell an instant falls into; null outside."""
        column = (math.floor(ts / self.step_s) - self.first) // self.per_cell
        return column if 0 <= column < self.columns else None

    def middle_of(self, column: int) -> float:
        """Wall seconds in the middle of a cell."""
        return self.left_s + (column + 0.5) * self.cell_s


def grid(edge: float, window_s: float, columns: int, per_cell: int, stride: int = 1) -> Grid:
    """The cells of a picture whose newest cell holds `edge`."""
    step = window_s / (columns * per_cell)
    block = per_cell * max(1, stride)
    return Grid(step, per_cell, columns, (math.floor(edge / step) // block + 1) * block)


class Buckets:
    """Points of one or more fields in buckets. `follow` costs what is new; another history starts anew."""

    def __init__(self, fields: Sequence[Field], step_s: float) -> None:
        self.step_s = step_s
        self.fields = tuple(fields)
        self._points: Sequence[SeriesPoint] | None = None
        self._older: Sequence[SeriesPoint] = ()
        self._last = -math.inf
        self._values: list[dict[int, float]] = []
        self._counts: list[dict[int, int]] = []
        self._reset()

    def follow(self, points: Sequence[SeriesPoint], older: Sequence[SeriesPoint] = ()) -> None:
        """Take what came since the last call; `older` is what the record knew before the points begin."""
        if points is not self._points or older is not self._older or len(self._values[0]) > _MOST_BUCKETS:
            self._points, self._older = points, older
            self._reset()
            begin = points[0].ts if points else math.inf
            for point in older:
                if point.ts < begin:
                    self._add(point)
        fresh: list[SeriesPoint] = []
        for point in reversed(points):
            if point.ts <= self._last:
                break
            fresh.append(point)
        for point in reversed(fresh):
            self._add(point)

    def window(self, first: int, count: int) -> list[list[float | None]]:
        """`count` values of each field from bucket `first` on; null where nobody measured."""
        return [list(map(values.get, range(first, first + count))) for values in self._values]

    def near(self, ts: float, reach: int) -> list[float | None]:
        """Each field's value in the bucket of an instant, else in the nearest within `reach` buckets."""
        at = math.floor(ts / self.step_s)
        around = sorted(range(at - reach, at + reach + 1), key=lambda index: abs(index - at))
        return [next((values[index] for index in around if index in values), None) for values in self._values]

    def _reset(self) -> None:
        self._last = -math.inf
        self._values = [{} for _ in self.fields]
        self._counts = [{} for _ in self.fields]

    def _add(self, point: SeriesPoint) -> None:
        self._last = point.ts
        index = math.floor(point.ts / self.step_s)
        for field, values, counts in zip(self.fields, self._values, self._counts, strict=True):
            value = field.of(point)
            if value is None:
                continue
            before = values.get(index)
            if before is None:
                values[index] = value
                counts[index] = 1
            elif field.reduce == "max":
                values[index] = max(before, value)
            else:
                counts[index] += 1
                values[index] = before + (value - before) / counts[index]


class TimeLens:
    """The stretch of time that charts show together: how much, where it ends, and the cursor in it."""

    def __init__(self, level: int = DEFAULT_ZOOM) -> None:
        self.level = level
        self.cursor: float | None = None
        self.hover: float | None = None
        """Where the mouse is; it wins over the cursor while it is there."""
        self.anchor: float | None = None
        """The right edge, where it does not follow the newest second."""
        self.all_s = HELD_S
        """How far everything reaches."""

    @property
    def window_s(self) -> float:
        size = ZOOMS[self.level]
        return max(60.0, math.ceil(self.all_s / 60) * 60.0) if size is None else size

    @property
    def at(self) -> float | None:
        """The instant that is pointed at."""
        return self.cursor if self.hover is None else self.hover

    def edge(self, newest: float) -> float:
        """The picture's right edge. It follows the newest second until the cursor would leave at the left."""
        edge = newest if self.anchor is None else min(newest, self.anchor)
        if self.cursor is not None:
            edge = max(self.cursor, min(edge, self.cursor + self.window_s * (1 - LEFT_MARGIN)))
        return edge

    def move(self, seconds: float, newest: float, oldest: float) -> None:
        """Move the cursor; it begins at the newest second and takes the picture along at its edges."""
        begin = newest if self.at is None else self.at
        self.point(max(oldest, begin + seconds), newest)

    def point(self, ts: float, newest: float) -> None:
        """Put the cursor on an instant."""
        self.hover = None
        edge = self.edge(newest)
        self.cursor = min(ts, newest)
        self.anchor = None if edge >= newest else edge
        self.anchor = None if (edge := self.edge(newest)) >= newest else edge

    def zoom(self, step: int, newest: float) -> bool:
        """A level in (-1) or out (1); what is pointed at stays where it is. False at the last level."""
        level = min(len(ZOOMS) - 1, max(0, self.level + step))
        if level == self.level:
            return False
        edge, before = self.edge(newest), self.window_s
        self.level = level
        if self.at is not None:
            wanted = self.at + (edge - self.at) * self.window_s / before
            self.anchor = None if wanted >= newest else wanted
        return True

    def clear(self) -> bool:
        """Let go of the cursor and follow the newest second again. False where there was nothing to let go."""
        had = self.cursor is not None or self.anchor is not None
        self.cursor = self.hover = self.anchor = None
        return had


def thinned(points: Sequence[SeriesPoint], step_s: float) -> list[SeriesPoint]:
    """One point for every `step_s`, each field reduced as its charts reduce it: hours in a few thousand points."""
    out: list[SeriesPoint] = []
    group: list[SeriesPoint] = []
    for point in points:
        if group and math.floor(point.ts / step_s) != math.floor(group[0].ts / step_s):
            out.append(_merged(group))
            group = []
        group.append(point)
    return [*out, _merged(group)] if group else out


def _merged(group: Sequence[SeriesPoint]) -> SeriesPoint:
    if len(group) == 1:
        return group[0]
    values: dict[str, float] = {}
    for field in FIELDS.values():
        known = [value for value in map(field.of, group) if value is not None]
        if known:
            values[field.name] = max(known) if field.reduce == "max" else sum(known) / len(known)
    return point_of(group[0].ts, values)


def point_of(ts: float, values: Mapping[str, float]) -> SeriesPoint:
    """A second from its fields by name; a level nobody knows counts as 0, because a point cannot leave it out."""
    return SeriesPoint(
        ts=ts,
        ttft=Quantiles(
            count=int(values.get("n", 0)), p50_s=values.get("p50"), p95_s=values.get("p95"), p99_s=values.get("p99")
        ),
        queued=int(values.get("queued", 0)),
        in_flight=int(values.get("in_flight", 0)),
        requests_per_s=values.get("requests", 0.0),
        tokens_per_s=values.get("tokens", 0.0),
        errors_per_s=values.get("errors", 0.0),
        ready=int(values.get("ready", 0)),
        wanted=int(values.get("wanted", 0)),
        cpu_percent=values.get("cpu", 0.0),
        memory_percent=values.get("memory", 0.0),
    )
