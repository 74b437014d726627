"""The bar of time travel as lines: where the playhead is, what happened when, the axis. Pure.

Three lines, or two where the terminal is low. Marks are glyphs, so that nothing depends on colour.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Final

import msgspec

from console.render.plotter import runs
from console.render.spans import EMPTY, Line, Span, clean, fit_line, line_width
from console.render.words import ACTIONS, SEVERITIES
from console.state.past import ago_words, time_words
from console.state.scrub import Happening, Scrub

MARKS: Final[dict[str, Span]] = {"alarm": ("✗", "error b"), "action": ("◆", "accent"), "drill": ("▸", "warn")}
"""In order of importance: where several fall into one cell, the first is shown."""
LEAST_TOP: Final = 12
"""So many in one cell fill it, or more where there were more."""
PLAYHEAD: Final = "┃"
_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_STEPS: Final = (5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 604_800)


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """What the bar shows beside the playhead."""

    now: float
    found: Sequence[Happening] = ()
    marked: float | None = None
    """The instant A of a comparison."""
    focused: bool = True
    waiting: bool = False
    """The instant was asked for and has not come yet."""
    truncated: bool = False
    """Older things happened than are known here."""
    live: bool = True
    """There is a present to go back to."""


def scrubber_lines(scrub: Scrub, bar: Bar, width: int, height: int) -> list[Line]:
    """Head, happenings, axis; the axis goes first where there are two lines only."""
    columns = max(1, width - 2)
    lines = [_head(scrub, bar, width), _padded(_happened(scrub, bar, columns), width)]
    if height > 2:
        lines.append(_padded(_axis(scrub, bar, columns), width))
    return lines[:height]


def column_in(x: int, width: int) -> tuple[int, int]:
    """The axis' cell under a column of the bar, and how many there are."""
    columns = max(1, width - 2)
    return max(0, min(columns - 1, x - 1)), columns


def _padded(cells: Line, width: int) -> Line:
    return fit_line(((" ", "text"), *cells), width)


# -- head ----------------------------------------------------------------------------------------------------------


def _head(scrub: Scrub, bar: Bar, width: int) -> Line:
    """The instant first; then what happened there, as far as there is room."""
    glyph = "◔" if bar.waiting else "◷"
    tone = "accent b" if bar.focused else "text b"
    head: Line = ((f" {glyph} {time_words(scrub.ts, bar.now)}", tone), (f"  {ago_words(bar.now - scrub.ts)}", "muted"))
    if scrub.speed:
        head = (*head, (f"  ▸ {scrub.speed}x", "ok b"))
    if bar.marked is not None:
        head = (*head, ("  A ", "accent b"), (time_words(bar.marked, bar.now), "text"))
    here = scrub.here(bar.found)
    tail = happening_words(here, stepped=scrub.at is not None, now=bar.now) if here is not None else EMPTY
    window: Line = ((f" {span_words(scrub.span)} ", "faint"),)
    room = width - line_width(head) - 3
    if room < 12:
        return fit_line(head, width)
    side = window if room - line_width(tail) - line_width(window) >= 1 else EMPTY
    words = fit_line(tail, room - line_width(side)) if tail else ((" " * (room - line_width(side)), "text"),)
    return fit_line((*head, ("   ", "text"), *words, *side), width)


def happening_words(one: Happening, *, stepped: bool, now: float) -> Line:
    """Glyph, subject, message; with its time where the playhead only stands after it."""
    row = one.row
    glyph, style = ACTIONS[row.outcome] if one.kind == "action" else SEVERITIES[row.severity]  # type: ignore[union-attr] # the kind says which
    when: Line = EMPTY if stepped else ((f"{time_words(one.ts, now)} ", "faint"),)
    subject = "" if one.kind == "action" or one.words.startswith(row.subject) else f"{clean(row.subject)} "  # type: ignore[union-attr] # as above
    tone = "text" if stepped else "muted"
    return (*when, (f"{glyph} ", style), (subject, "muted"), (clean(one.words), tone))


def span_words(seconds: float) -> str:
    """How much time the axis shows: `20 s`, `5 m`, `2.5 h`, `3 d`."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size * 1.5:
            return f"{seconds / size:.1f}".removesuffix(".0") + f" {unit}"
    return f"{seconds:.0f} s"


# -- what happened -------------------------------------------------------------------------------------------------


def _happened(scrub: Scrub, bar: Bar, columns: int) -> Line:
    """A block a cell for how much happened in it, a mark where it was more than an event, the playhead over all."""
    counts, kinds = [0] * columns, [set[str]() for _ in range(columns)]
    for one in bar.found:
        at = scrub.column_of(one.ts, columns)
        if at is not None:
            counts[at] += 1
            kinds[at].add(one.kind)
    top = max([LEAST_TOP, *counts])
    cells: list[str] = []
    styles: list[str] = []
    for count, kind in zip(counts, kinds, strict=True):
        mark = next((MARKS[name] for name in MARKS if name in kind), None)
        glyph, style = mark or ("─" if count == 0 else _block(count, top), "rule" if count == 0 else "muted")
        cells.append(glyph)
        styles.append(style)
    playhead = scrub.column_of(scrub.ts, columns)
    if playhead is not None:
        bare = not kinds[playhead] & set(MARKS)
        tone = "accent" if bar.focused else "text"
        cells[playhead] = PLAYHEAD if bare else cells[playhead]
        styles[playhead] = f"{tone} b" if bare else f"{styles[playhead].split()[0]} r b"
    return runs(cells, styles)


def _block(count: int, top: int) -> str:
    """By logarithm, so that one event is seen beside a hundred."""
    share = math.log1p(count) / math.log1p(top)
    return _BLOCKS[min(len(_BLOCKS) - 1, int(share * (len(_BLOCKS) - 1)))]


# -- axis ----------------------------------------------------------------------------------------------------------


def _axis(scrub: Scrub, bar: Bar, columns: int) -> Line:
    """Times at round instants; the present, the mark A and the playhead over them."""
    cells, styles = [" "] * columns, ["faint"] * columns
    step = next((size for size in _STEPS if columns * size / scrub.span >= 12), _STEPS[-1])
    offset = -time.localtime(scrub.low).tm_gmtoff
    tick = math.ceil((scrub.low - offset) / step) * step + offset
    while tick <= scrub.high:
        at = scrub.column_of(tick, columns)
        label = _label(tick, step)
        if at is not None and at + len(label) <= columns:
            cells[at : at + len(label)] = label
        tick += step
    end = scrub.column_of(scrub.last, columns)
    word = "now" if bar.live else "end"
    if end is not None and end >= 5:
        _over(cells, styles, end - len(word) + 1, word, "muted")
    marked = scrub.column_of(bar.marked, columns) if bar.marked is not None else None
    if marked is not None:
        _over(cells, styles, marked, "A", "accent b")
    playhead = scrub.column_of(scrub.ts, columns)
    if playhead is not None:
        _over(cells, styles, playhead, "▲", "accent b" if bar.focused else "text b")
    return runs(cells, styles)


def _over(cells: list[str], styles: list[str], at: int, text: str, style: str) -> None:
    """Write over labels; a label that would be cut goes."""
    for side in (-1, 1):
        near = at + (len(text) if side > 0 else -1)
        while 0 <= near < len(cells) and cells[near] != " ":
            cells[near] = " "
            near += side
    for index, character in enumerate(text):
        cells[at + index], styles[at + index] = character, style


def _label(ts: float, step: int) -> str:
    then = time.localtime(ts)
    if step >= 86_400:
        return time.strftime("%b %d", then)
    return time.strftime("%H:%M:%S" if step < 60 else "%H:%M", then)
