"""Which of a table's columns a person wants to see, in which order and how wide. Pure.

Owns the choice and its saved form; the file is the preferences', the drawing the table's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec

from console.state.column import Column, column_width

T = TypeVar("T")
NARROWEST: Final = 3
WIDEST: Final = 120


class Choice(msgspec.Struct, frozen=True, omit_defaults=True):
    """One column's place in the list is its place in the table."""

    key: str
    shown: bool = True
    width: int | None = None
    """None is the column's own."""


Choices = tuple[Choice, ...]


def default_choices(columns: Sequence[Column[T]]) -> Choices:
    return tuple(Choice(key=column.key, shown=not column.hidden) for column in columns)


def read_choices(saved: object, columns: Sequence[Column[T]]) -> Choices:
    """The saved form made whole: columns that are no more are left out, new ones stand where they stand by themselves.

    What cannot be understood is as if nothing had been saved."""
    try:
        found = msgspec.convert(saved, type=tuple[Choice, ...])
    except msgspec.ValidationError:
        return default_choices(columns)
    known = {column.key for column in columns}
    out = list({choice.key: choice for choice in found if choice.key in known}.values())
    for at, choice in enumerate(default_choices(columns)):
        if all(one.key != choice.key for one in out):
            before = columns[at - 1].key if at else ""
            place = next((index + 1 for index, one in enumerate(out) if one.key == before), 0 if not at else len(out))
            out.insert(place, choice)
    return tuple(out) if any(choice.shown for choice in out) else default_choices(columns)


def chosen_columns(columns: Sequence[Column[T]], choices: Choices) -> tuple[Column[T], ...]:
    """The columns that are shown, in order, each as wide as is wanted."""
    by_key = {column.key: column for column in columns}
    out: list[Column[T]] = []
    for choice in choices:
        if choice.shown:
            column = by_key[choice.key]
            if choice.width is not None:
                size = max(NARROWEST, min(WIDEST, choice.width))
                column = msgspec.structs.replace(column, width=size, flex=0, fixed=True)
            out.append(column)
    return tuple(out)


def toggled(choices: Choices, at: int) -> Choices:
    """That column shown or hidden; the last one that is shown stays."""
    turned = _with(choices, at, msgspec.structs.replace(choices[at], shown=not choices[at].shown))
    return turned if any(choice.shown for choice in turned) else choices


def moved(choices: Choices, at: int, step: int) -> tuple[Choices, int]:
    """That column one place on, and where it stands then."""
    to = max(0, min(len(choices) - 1, at + step))
    out = list(choices)
    out.insert(to, out.pop(at))
    return tuple(out), to


def widened(choices: Choices, at: int, step: int, columns: Sequence[Column[T]]) -> Choices:
    """That column wider or narrower by `step` cells."""
    choice = choices[at]
    column = next(column for column in columns if column.key == choice.key)
    now = choice.width if choice.width is not None else column_width(column)
    width = max(NARROWEST, min(WIDEST, now + step))
    return _with(choices, at, msgspec.structs.replace(choice, width=width))


def _with(choices: Choices, at: int, choice: Choice) -> Choices:
    return (*choices[:at], choice, *choices[at + 1 :])
