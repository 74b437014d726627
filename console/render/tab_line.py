"""The line of fleet tabs: number, health, name and alarms of each. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from console.render.spans import Line, Span, clean, fit_line, text_width
from console.render.words import HEALTH, UNKNOWN


class Tab(msgspec.Struct, frozen=True):
    """What a tab says of its fleet."""

    name: str
    health: str
    """As in a snapshot; `stale` while it does not answer, empty before it ever did."""
    alarms: int
    chosen: bool
    driver: str = ""
    """A word for what it runs on, unless that is this machine."""


def tab_line(tabs: Sequence[Tab], width: int) -> tuple[Line, list[tuple[int, int]]]:
    """The line and the columns (half open) of each tab, for the mouse. What does not fit is cut at the right,
    unless the chosen tab would be: then the first ones go."""
    spans = [_spans(tab) for tab in tabs]
    sizes = [sum(text_width(text) for text, _ in one) for one in spans]
    first = 0
    chosen = next((at for at, tab in enumerate(tabs) if tab.chosen), 0)
    while first < chosen and 1 + sum(sizes[first : chosen + 1]) + 2 * (chosen - first) > width:
        first += 1
    out: list[Span] = [("<" if first else " ", "faint")]
    places, at = [(0, 0)] * first, 1
    for one, size in zip(spans[first:], sizes[first:], strict=True):
        places.append((at, min(width, at + size)))
        out += [*one, ("  ", "text")]
        at += size + 2
    return fit_line(out, width), places


def _spans(tab: Tab) -> list[Span]:
    glyph, style = ("✗", "error") if tab.health == "stale" else HEALTH.get(tab.health, UNKNOWN)
    out: list[Span] = [(f" {glyph} ", f"{style} r" if tab.chosen else style)]
    out.append((clean(tab.name), "accent b u" if tab.chosen else "muted"))
    if tab.driver and not tab.name.startswith(tab.driver):  # a name that is an address says it already
        out.append((f" {tab.driver}", "faint"))
    if tab.health == "stale":
        out.append((" stale", "error"))
    if tab.alarms:
        out.append((f" {tab.alarms}!", "error b"))
    out.append((" ", "text"))
    return out
