"""What a table's column is, how its values order, and which columns fit where. Pure; knows no item."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Generic, Literal, TypeVar

import msgspec

from console.render.spans import Span, text_width

T = TypeVar("T")
SortValue = float | str | None
Kind = Literal["text", "number", "percent", "seconds", "bytes"]
Rank = tuple[int, float | str, int]
"""What a row sorts by: numbers before words, then the value, then the row's place at its source."""

MARK_ROOM: Final = 2
"""Cells that the sign for more columns takes at the right."""
_DIGITS: Final = re.compile(r"[0-9]+")
_NOT_NAME: Final = re.compile(r"[^a-z0-9]+")


class Column(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """One column. `priority` 0 always shows; the highest numbers go first where room is short."""

    key: str
    title: str
    width: int
    cell: Callable[[T, float], Span]
    """The item and wall seconds now, to text and style."""
    sort: Callable[[T], SortValue]
    align: str = "left"
    priority: int = 0
    flex: int = 0
    """Share of the room that is left over; 0 keeps `width`."""
    most: int = 0
    """With `flex`: no wider than this; 0 for any width."""
    middle: bool = False
    """Too long a text loses its middle, not its end."""
    kind: Kind = "text"
    """What a filter compares it with: words, or a number in seconds, bytes or percent."""
    value: Callable[[T, float], SortValue] | None = None
    """What a filter compares, given wall seconds now, where that is not what it sorts by."""
    words: tuple[str, ...] = ()
    """The only words it can say: then `column:word` matches from the word's beginning."""
    names: tuple[str, ...] = ()
    """Other names it answers to in filters and commands."""
    timely: bool = False
    """Its cell changes as time goes by, though the item does not."""
    hidden: bool = False
    """Not shown until it is asked for."""
    fixed: bool = False
    """Exactly `width` wide, though its title may be longer."""


def plain_name(text: str) -> str:
    """A column's name as it is compared: `SEEN BY`, `seen_by` and `Seen-by` are one."""
    return _NOT_NAME.sub("", text.casefold())


def find_column(columns: Iterable[Column[T]], name: str) -> Column[T] | None:
    """The column that answers to a name: by key, by title, by one of its other names, in this order."""
    wanted = plain_name(name)
    if not wanted:
        return None
    every = list(columns)
    ways: tuple[Callable[[Column[T]], Sequence[str]], ...] = (
        lambda column: (column.key,),
        lambda column: (column.title,),
        lambda column: column.names,
    )
    for way in ways:
        for column in every:
            if any(plain_name(known) == wanted for known in way(column)):
                return column
    return None


def natural(text: str) -> str:
    """Text that sorts as people count: `llm-2` before `llm-10`, upper and lower case alike."""
    return _DIGITS.sub(lambda found: found.group().lstrip("0").rjust(20, "0"), text.casefold())


def rank(value: SortValue, place: int) -> Rank | None:
    """What a row with this value sorts by; None where the value is unknown, which is always last."""
    if value is None or value != value:  # not a number is the only value unlike itself
        return None
    if isinstance(value, str):
        return (1, natural(value), place)
    return (0, float(value), place)


def column_width(column: Column[T]) -> int:
    """Cells it takes at least."""
    return column.width if column.fixed else max(text_width(column.title), column.width)


def fit_columns(columns: Sequence[Column[T]], width: int, gap: int = 2) -> list[tuple[Column[T], int]]:
    """The columns that fit in `width` cells with `gap` between them, in order, each with its width."""
    kept = list(columns)
    while len(kept) > 1 and _needed(kept, gap) > width:
        least = max(kept, key=lambda column: column.priority)
        if least.priority == 0:
            break
        kept.remove(least)
    return _stretch(kept, width, gap)


def _stretch(kept: Sequence[Column[T]], width: int, gap: int) -> list[tuple[Column[T], int]]:
    """The flexible ones share what is left over."""
    spare = width - _needed(kept, gap)
    shares = sum(column.flex for column in kept)
    out: list[tuple[Column[T], int]] = []
    given = 0
    for column in kept:
        extra = spare * column.flex // shares if spare > 0 and shares else 0
        if column.most:
            extra = min(extra, max(0, column.most - column_width(column)))
        given += extra
        out.append((column, column_width(column) + extra))
    if spare > given and shares:
        at = max(range(len(out)), key=lambda index: 0 if out[index][0].most else out[index][0].flex)
        out[at] = (out[at][0], out[at][1] + spare - given)
    return out


def _needed(columns: Sequence[Column[T]], gap: int) -> int:
    return sum(column_width(column) for column in columns) + gap * max(0, len(columns) - 1)


class Window(msgspec.Struct, Generic[T], frozen=True):
    """The columns on screen, each with its width, and whether there are more on either side."""

    columns: tuple[tuple[Column[T], int], ...] = ()
    before: bool = False
    after: bool = False
    left: int = 0
    """How many columns after the first are scrolled away."""


def window(columns: Sequence[Column[T]], width: int, left: int = 0, gap: int = 2) -> Window[T]:
    """What shows in `width` cells. At `left` 0 the most important columns; further on the first stays where it is
    and the others pass by it in order, until the last one is reached."""
    if not columns:
        return Window()
    start = fit_columns(columns, width, gap)
    if len(start) == len(columns):
        return Window(columns=tuple(start))
    room = width - MARK_ROOM
    left = max(0, min(left, _furthest(columns, room, gap)))
    if left == 0:
        return Window(columns=tuple(fit_columns(columns, room, gap)), after=True)
    frozen, rest = columns[0], columns[1 + left :]
    kept = [frozen, *rest[: max(1, _how_many(frozen, rest, room, gap))]]
    return Window(columns=tuple(_stretch(kept, room, gap)), before=True, after=len(kept) - 1 < len(rest), left=left)


def _how_many(frozen: Column[T], rest: Sequence[Column[T]], room: int, gap: int) -> int:
    used, count = column_width(frozen), 0
    for column in rest:
        used += gap + column_width(column)
        if used > room:
            break
        count += 1
    return count


def _furthest(columns: Sequence[Column[T]], room: int, gap: int) -> int:
    """The first place from which the last column is seen."""
    frozen, rest = columns[0], columns[1:]
    return len(rest) - max(1, _how_many(frozen, rest[::-1], room, gap))
