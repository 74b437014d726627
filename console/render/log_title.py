"""What stands over the log lines: whose they are, every counter, and the filters as chips. Pure.

Nothing that was dropped or lost is ever left out for want of room; other words go first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from console.render import units
from console.render.spans import EMPTY, Line, Span, clean, crop_text, fit_line, join, line_width
from console.render.words import SEVERITIES

DOT: Final[Span] = (" · ", "faint")


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where the explorer stands, in numbers."""

    who: str = "all replicas"
    held: int = 0
    dropped: int = 0
    """Let go here, the oldest first, because there is room for so many only."""
    older: int = 0
    """Kept where they come from, but not asked for."""
    lost: int = 0
    """Gone before anyone could send them."""
    paused: bool = False
    below: int = 0
    """Lines that came since it was paused."""
    filtered: bool = False
    """Not all of them may be shown."""
    link: str = ""
    """What is wrong with the connection, in a word or two."""
    past: str = ""
    """The instant whose past is shown; nothing where it is live."""
    busy: str = ""
    """What goes on in the background: a file being saved."""


class Chip(msgspec.Struct, frozen=True):
    """One filter that is in force, or being typed."""

    kind: Literal["include", "exclude", "search", "level", "life", "draft", "note"]
    text: str
    note: str = ""


def title_info(standing: Standing, width: int) -> Line:
    """The right of the title line in at most `width` cells: shorter words first, then fewer of them."""
    parts = _parts(standing)
    many = len(parts)
    rank = {at: order for order, at in enumerate(sorted(range(many), key=lambda at: parts[at][0]))}
    line = EMPTY
    for gone, shortened in [*((0, count) for count in range(many + 1)), *((count, many) for count in range(1, many))]:
        kept = [(rank[at], full, short) for at, (_, full, short) in enumerate(parts) if rank[at] >= gone]
        line = join([short if order < shortened else full for order, full, short in kept], DOT)
        if line_width(line) <= width:
            return line
    return fit_line(line, width)


_Part = tuple[int, Line, Line]
"""Worth (what has least goes first), the words, and shorter ones."""


def _parts(standing: Standing) -> list[_Part]:
    held = units.count(standing.held)
    out: list[_Part] = [
        (1, ((clean(standing.who), "text"),), ((crop_text(clean(standing.who), 12), "text"),)),
        (0, ((f"{held} {'line' if standing.held == 1 else 'lines'}", "muted"),), ((held, "muted"),)),
    ]
    if standing.older:
        words = units.count(standing.older)
        out.append((0, ((f"{words} older not shown", "faint"),), ((f"{words} older", "faint"),)))
    if standing.dropped:
        words = units.count(standing.dropped)
        out.append((4, ((f"{words} dropped", "warn"),), ((f"{words} dropped", "warn"),)))
    if standing.lost:
        words = units.count(standing.lost)
        out.append((5, ((f"{words} lost", "error b"),), ((f"{words} lost", "error b"),)))
    if standing.busy:
        out.append((3, ((standing.busy, "accent"),), ((standing.busy, "accent"),)))
    if standing.link:
        out.append((3, ((standing.link, "warn"),), ((standing.link, "warn"),)))
    if standing.past:
        out.append((2, ((f"until {standing.past}", "accent b"),), ((standing.past, "accent b"),)))
    elif standing.paused:
        below = units.count(standing.below)
        came = f"{below} more came" if standing.filtered else f"{below} newer below"
        full = f"paused, {came}" if standing.below else "paused"
        out.append((2, ((full, "warn"),), ((f"paused +{below}" if standing.below else "paused", "warn"),)))
    else:
        out.append((2, (("following", "ok"),), (("live", "ok"),)))
    return out


_SIGNS: Final[dict[str, Span]] = {
    "include": ("+ ", "ok b"),
    "exclude": ("- ", "error b"),
    "search": ("/ ", "accent b"),
    "level": (f"{SEVERITIES['warning'][0]} ", "warn"),  # type: ignore[index] # a Severity is its word
    "life": ("↻ ", "accent b"),
    "draft": ("▸ ", "accent b"),
    "note": ("", "text"),
}


def chips_line(chips: Sequence[Chip], width: int) -> Line:
    """The filters side by side; where they do not fit, their patterns are shortened alike, never their notes."""
    longest = max((len(chip.text) for chip in chips), default=0)
    for most in (longest, 24, 16, 10, 6):
        line = join([_chip(chip, min(most, longest)) for chip in chips], ("   ", "text"))
        if line_width(line) + 1 <= width:
            break
    return fit_line(((" ", "text"), *line), width)


def _chip(chip: Chip, most: int) -> Line:
    words: Line = (_SIGNS[chip.kind], (crop_text(clean(chip.text), max(4, most)), "text" if chip.text else "faint"))
    return (*words, (f"  {chip.note}", "muted")) if chip.note else words


def search_note(
    *, at: int | None, found: int, scanned: int, total: int, rate: float, done: bool, until: str = ""
) -> str:
    """`3 of 41`, `41 matches until 14:05:30` where newer lines came, `searching … 3.1M of 10M lines, 2.4M/s`."""
    count = "no match" if not found else "1 match" if found == 1 else f"{units.count(found)} matches"
    words = f"{at} of {units.count(found)}" if at and found else count
    if done:
        return f"{words} until {until}" if until else words
    progress = f"searching … {large(scanned)} of {large(total)} lines, {large(rate)}/s"
    return f"{words}, {progress}" if found else progress


def large(value: float) -> str:
    """`999`, `12.3k`, `3.1M`, `10M`."""
    if value < 10_000:
        return f"{value:.0f}"
    number, unit = (value / 1000, "k") if value < 1_000_000 else (value / 1_000_000, "M")
    return f"{number:.0f}{unit}" if number >= 100 or number == int(number) else f"{number:.1f}{unit}"
