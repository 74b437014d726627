"""A table without a screen: items, columns, sort, filter, marks and a cursor that stays on its row.

Owns identity and order. Never renders: a column's `cell` is only called by a widget for rows it shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import msgspec

from console.render.spans import Span, text_width
from console.state.fuzzy import row_matches

T = TypeVar("T")
SortValue = float | str | None


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


def fit_columns(columns: Sequence[Column[T]], width: int, gap: int = 2) -> list[tuple[Column[T], int]]:
    """The columns that fit in `width` cells with `gap` between them, in order, each with its width."""
    kept = list(columns)
    while len(kept) > 1 and _needed(kept, gap) > width:
        least = max(kept, key=lambda column: column.priority)
        if least.priority == 0:
            break
        kept.remove(least)
    spare = width - _needed(kept, gap)
    shares = sum(column.flex for column in kept)
    out: list[tuple[Column[T], int]] = []
    given = 0
    for column in kept:
        extra = spare * column.flex // shares if spare > 0 and shares else 0
        given += extra
        out.append((column, max(text_width(column.title), column.width) + extra))
    if spare > given and shares:
        at = max(range(len(out)), key=lambda index: out[index][0].flex)
        out[at] = (out[at][0], out[at][1] + spare - given)
    return out


def _needed(columns: Sequence[Column[T]], gap: int) -> int:
    return sum(max(text_width(c.title), c.width) for c in columns) + gap * max(0, len(columns) - 1)


class TableModel(Generic[T]):
    """Items in display order. The cursor and marks follow keys, never positions."""

    def __init__(
        self,
        columns: Sequence[Column[T]],
        key: Callable[[T], str],
        haystack: Callable[[T], str],
        *,
        sort_key: str | None = None,
        descending: bool = False,
        tail: bool = False,
    ) -> None:
        self.columns = tuple(columns)
        self.key, self.haystack = key, haystack
        self.sort_key, self.descending = sort_key, descending
        self.tail = tail
        """Newest first: while the cursor is on the first row it stays on the first row."""
        self.filter = ""
        self.marks: set[str] = set()
        self.cursor_key: str | None = None
        self.order: list[T] = []
        self.keys: list[str] = []
        self._items: Sequence[T] = ()
        self._index = 0

    def __len__(self) -> int:
        return len(self.order)

    @property
    def total(self) -> int:
        """Items before the filter."""
        return len(self._items)

    def set_items(self, items: Sequence[T]) -> None:
        """Take new items; marks of items that are gone go too."""
        self._items = items
        self._arrange()

    def set_filter(self, text: str) -> None:
        self.filter = text
        self._arrange()

    def set_sort(self, key: str | None, *, descending: bool = False) -> None:
        self.sort_key, self.descending = key, descending
        self._arrange()

    def cycle_sort(self) -> Column[T]:
        """Sort by the next column."""
        keys = [column.key for column in self.columns]
        at = keys.index(self.sort_key) + 1 if self.sort_key in keys else 0
        column = self.columns[at % len(keys)]
        self.set_sort(column.key)
        return column

    def reverse_sort(self) -> None:
        self.set_sort(self.sort_key or self.columns[0].key, descending=not self.descending)

    @property
    def cursor(self) -> int:
        """The cursor's position in `order`; 0 where the table is empty."""
        return self._index

    @property
    def current(self) -> T | None:
        return self.order[self._index] if self.order else None

    def move_to(self, index: int) -> None:
        if self.order:
            self._index = max(0, min(len(self.order) - 1, index))
            self.cursor_key = self.keys[self._index]

    def move(self, delta: int) -> None:
        self.move_to(self._index + delta)

    def select(self, key: str) -> bool:
        """Put the cursor on a row. False where it is not shown."""
        if key not in self.keys:
            return False
        self.move_to(self.keys.index(key))
        return True

    def toggle_mark(self) -> None:
        if self.cursor_key is not None and self.order:
            self.marks ^= {self.cursor_key}

    def chosen(self) -> list[T]:
        """The marked items in display order, else the one under the cursor."""
        if self.marks:
            return [item for item, key in zip(self.order, self.keys, strict=True) if key in self.marks]
        return [self.order[self._index]] if self.order else []

    def _arrange(self) -> None:
        items = self._items
        if self.filter:
            items = [item for item in items if row_matches(self.filter, self.haystack(item))]
        column = next((c for c in self.columns if c.key == self.sort_key), None)
        if column is None:
            self.order = list(items)
        else:
            sort = column.sort
            known = [item for item in items if sort(item) is not None]
            unknown = [item for item in items if sort(item) is None]
            self.order = sorted(known, key=lambda item: _sortable(sort(item)), reverse=self.descending) + unknown
        self.keys = [self.key(item) for item in self.order]
        if self.marks:
            self.marks &= {self.key(item) for item in self._items}
        self._keep_cursor()

    def _keep_cursor(self) -> None:
        if not self.order:
            self._index = 0
            return
        if self.tail and self._index == 0:
            self.move_to(0)
        elif self.cursor_key is not None and self.cursor_key in self.keys:
            self._index = self.keys.index(self.cursor_key)
        else:
            self.move_to(self._index)


def _sortable(value: SortValue) -> tuple[int, float, str]:
    """Numbers before words, so that a mixed column still sorts."""
    if isinstance(value, str):
        return (1, 0.0, value.casefold())
    return (0, float(value or 0), "")
