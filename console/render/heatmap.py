"""TTFT by replica over time as a map: a row a replica, density and colour say how slow. Readable without colour.

Owns steps, glyphs and legend; which replicas stand where is the history's. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from console.render import units
from console.render.plotter import runs
from console.render.spans import EMPTY, Line, Span, clean, fit_line, fit_text, line_width, text_width
from console.render.units import nice_ceiling
from console.state.replica_ttft import READING_S, UNREAD, Heat, decoded, encoded
from console.state.series import Grid

STEPS: Final[tuple[Span, ...]] = (("░", "faint"), ("▒", "series1"), ("▓", "warn"), ("█", "error"))
"""Glyph and style from fast to slow: each is denser than the one before."""
BLANK: Final[Span] = (" ", "text")
SHARES: Final = (0.1, 0.25, 0.5)
"""Where the next step begins, as shares of the scale's maximum."""
FLOOR_S: Final = 1.0
"""The scale's maximum is never less: noise between fast replicas is not to look like a fire."""
WIDEST_NAME: Final = 18
NARROW: Final = 60
"""Cells of a panel that has no room for long words in its title."""


class HeatScale(msgspec.Struct, frozen=True):
    """Seconds at which the second, third and fourth step begin."""

    limits: tuple[float, ...]
    codes: tuple[int, ...]

    def step(self, code: int) -> Span:
        """Glyph and style of a code; blank where nothing was answered."""
        if code == 0:
            return BLANK
        return STEPS[sum(code >= limit for limit in self.codes)]


def scale_of(rows: Sequence[Heat]) -> HeatScale:
    """Steps for what is seen, at round numbers, so that they rarely change."""
    peak = decoded(max((max(row.codes, default=0) for row in rows), default=0)) or 0.0
    top = nice_ceiling(max(FLOOR_S, peak))
    limits = tuple(top * share for share in SHARES)
    return HeatScale(limits, tuple(encoded(limit) for limit in limits))


def legend(scale: HeatScale) -> Line:
    """`░ <50 ms  ▒ 50 ms  ▓ 125 ms  █ 250 ms and more   blank: no answers`."""
    fast, *slower = STEPS
    out: list[Span] = [fast, (f" <{units.latency(scale.limits[0])}  ", "muted")]
    for (glyph, style), limit in zip(slower, scale.limits, strict=True):
        out += [(glyph, style), (f" ≥{units.latency(limit)}  ", "muted")]
    return (*out, ("blank: no answers", "faint"))


def name_width(rows: Sequence[Heat], width: int) -> int:
    """Cells left of the map: the longest name, within reason."""
    longest = max((text_width(clean(row.name)) for row in rows), default=6)
    return min(longest, WIDEST_NAME, max(6, width // 4)) + 3


def values_width(width: int) -> int:
    """Cells right of the map, for each replica's newest p95."""
    return 8 if width >= 60 else 0


def readings(grid: Grid) -> tuple[int, int]:
    """The readings that a grid shows, half open."""
    return math.floor(grid.left_s / READING_S), math.ceil(grid.right_s / READING_S)


def columns_of(row: Heat, grid: Grid) -> list[int]:
    """The worst code of each cell; a cell narrower than a reading shows the reading it lies in."""
    first, _ = readings(grid)
    out: list[int] = []
    for column in range(grid.columns):
        left = grid.left_s + column * grid.cell_s
        begin = math.floor(left / READING_S) - first
        end = max(begin + 1, math.ceil((left + grid.cell_s) / READING_S - 1e-9) - first)
        out.append(max(row.codes[begin:end], default=0))
    return out


def heat_lines(
    rows: Sequence[Heat],
    grid: Grid,
    width: int,
    *,
    gutter: int,
    chosen: str = "",
    rulers: Mapping[int, Span] | None = None,
) -> list[Line]:
    """A line a replica: its name, its cells, its newest p95."""
    scale = scale_of(rows)
    right = values_width(width)
    out: list[Line] = []
    for row in rows:
        spans = [scale.step(code) for code in columns_of(row, grid)]
        cells, styles = [glyph for glyph, _ in spans], [style for _, style in spans]
        for column, (glyph, style) in (rulers or {}).items():
            if 0 <= column < grid.columns:
                surface = style.partition(" on-")[2]
                if cells[column] == " ":
                    cells[column], styles[column] = glyph, style
                elif surface:
                    styles[column] += f" on-{surface}"
        mark = "▸" if row.name == chosen else " "
        head: Line = (
            (mark, "accent b"),
            (fit_text(clean(row.name), gutter - 3) + "  ", "text b" if row.name == chosen else "muted"),
        )
        newest = next((code for code in reversed(row.codes) if code), 0)
        tail: Line = ((fit_text(units.latency(decoded(newest)), right, "right"), "text"),) if right else EMPTY
        out.append(fit_line((*head, *runs(cells, styles), *tail), width))
    return out


def heat_words(row: Heat, grid: Grid, ts: float, width: int = 80) -> Line:
    """`llm-3  21:05:30  p95 210 ms  n 14`: what the cursor points at; a narrow panel leaves the time to others."""
    index = math.floor(ts / READING_S) - readings(grid)[0]
    p95, count = row.at(index) if 0 <= index < len(row.codes) else (None, UNREAD)
    when = f"  {units.time_of_day(ts)}  " if width >= NARROW else " "
    head: Line = ((clean(row.name), "text b"), (when, "accent"))
    if count == UNREAD:
        return (*head, ("not read then", "faint"))
    if not count:
        return (*head, ("no answers, n 0", "faint"))
    return (*head, ("p95 ", "series2"), (units.latency(p95), "text"), (f"  n {units.count(count)}", "faint"))


def title_info(scale: HeatScale, width: int) -> Line:
    """The legend where the title has room for it, else its essence: `▒ 100  ▓ 250  █ 500 ms`."""
    full = legend(scale)
    tight: list[Span] = []
    slow = scale.limits[-1] >= 1
    for (glyph, style), limit in zip(STEPS[1:], scale.limits, strict=True):
        tight += [(glyph, style), (f" {limit:g} " if slow else f" {limit * 1000:.0f} ", "muted")]
    forms = (full, full[:-1], (*tight, ("s" if slow else "ms", "muted")))
    return next((form for form in forms if line_width(form) <= width), EMPTY)
