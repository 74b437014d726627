"""Cells and columns that many tables have in common: quiet numbers, plain words, times. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from console.render import units
from console.render.spans import Span, clean, text_width
from console.state.column import Column, Kind

T = TypeVar("T")


def number_cell(text: str, *, quiet: bool) -> Span:
    """Nothing and zero step back, so that what matters stands out."""
    return (text, "faint" if quiet else "text")


def time_column(ts: Callable[[T], float]) -> Column[T]:
    """The time of day at which something was."""
    return Column(
        key="time",
        title="TIME",
        width=8,
        cell=lambda item, _: (units.time_of_day(ts(item)), "muted"),
        sort=ts,
        value=lambda item, _: units.time_of_day(ts(item)),
    )


def extra_words(key: str, title: str, width: int, text: Callable[[T], str | None], *names: str) -> Column[T]:
    """A column of words that shows when it is asked for."""
    return Column(
        key=key,
        title=title,
        width=width,
        cell=lambda item, _: (clean(found), "muted") if (found := text(item)) else (units.NOTHING, "faint"),
        sort=lambda item: text(item) or None,
        priority=1,
        hidden=True,
        names=names,
    )


def extra_number(
    key: str,
    title: str,
    number: Callable[[T], float | None],
    write: Callable[[float], str] = lambda value: f"{value:.0f}",
    *,
    kind: Kind = "number",
    width: int = 5,
    names: tuple[str, ...] = (),
) -> Column[T]:
    """A column of numbers that shows when it is asked for."""
    return Column(
        key=key,
        title=title,
        width=max(width, text_width(title)),
        align="right",
        cell=lambda item, _: (
            (units.NOTHING, "faint") if (found := number(item)) is None else number_cell(write(found), quiet=not found)
        ),
        sort=number,
        kind=kind,
        priority=1,
        hidden=True,
        names=names,
    )


def extra_ago(key: str, title: str, ts: Callable[[T], float | None]) -> Column[T]:
    """How long ago something was, shown when it is asked for."""
    return Column(
        key=key,
        title=title,
        width=max(4, text_width(title)),
        align="right",
        cell=lambda item, now: (units.age(None if (at := ts(item)) is None else now - at), "muted"),
        sort=lambda item: None if (at := ts(item)) is None else -at,
        value=lambda item, now: None if (at := ts(item)) is None else now - at,
        kind="seconds",
        timely=True,
        priority=1,
        hidden=True,
    )
