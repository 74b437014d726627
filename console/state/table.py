"""A table without a screen: items, columns, sort, filter, marks and a cursor that stays on its row.

Owns identity and order. Never renders: a column's `cell` is only called by a widget for rows it shows.
What was worked out for an item (its words, what it sorts by, whether the filter lets it through) is kept as long as
the item is the same object: an update costs what changed.
"""

from __future__ import annotations

import operator
import re
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import compress, count
from typing import Generic, TypeVar

from console.state.column import Column, Rank, SortValue, find_column, fit_columns, rank
from console.state.row_filter import RowFilter, complete

__all__ = ["Column", "SortValue", "TableModel", "fit_columns"]

T = TypeVar("T")


class TableModel(Generic[T]):
    """Items in display order. The cursor and marks follow keys, never positions.

    A place is an item's index at its source; `_shown` holds places in display order.
    """

    def __init__(
        self,
        columns: Sequence[Column[T]],
        key: Callable[[T], str],
        haystack: Callable[[T], str],
        *,
        sort_key: str | None = None,
        descending: bool = False,
        tail: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.every = tuple(columns)
        """All columns there are, for filters and sorting."""
        self.columns = tuple(column for column in columns if not column.hidden)
        """Those that are shown, in order."""
        self.key, self.haystack = key, haystack
        self.sort_key, self.descending = sort_key, descending
        self.tail = tail
        """Newest first: while the cursor is on the first row it stays on the first row."""
        self.clock = clock
        """Wall seconds, for filters on ages."""
        self.marks: set[str] = set()
        self.cursor_key: str | None = None
        self._filter: RowFilter[T] = RowFilter()
        self._given: Sequence[T] = ()
        self._items: list[T] = []
        self._keys: list[str] = []
        self._places: dict[str, int] = {}
        self._hays: list[str] = []
        self._ranks: list[Rank | None] = []
        self._passes: list[bool] = []
        self._shown: list[int] = []
        self._order: list[T] | None = None
        self._shown_keys: list[str] | None = None
        self._some_unknown = False
        """Whether a row may have nothing to sort by."""
        self._anchor: str | None = None
        self._index = 0

    def __len__(self) -> int:
        return len(self._shown)

    # -- items -----------------------------------------------------------------------------------------------

    @property
    def total(self) -> int:
        """Items before the filter."""
        return len(self._items)

    @property
    def order(self) -> list[T]:
        """The items in display order."""
        if self._order is None:
            self._order = [self._items[place] for place in self._shown]
        return self._order

    @property
    def keys(self) -> list[str]:
        """Their keys."""
        if self._shown_keys is None:
            self._shown_keys = [self._keys[place] for place in self._shown]
        return self._shown_keys

    def row(self, index: int) -> tuple[str, T]:
        """Key and item at a position of the display order."""
        place = self._shown[index]
        return self._keys[place], self._items[place]

    def set_items(self, items: Sequence[T]) -> None:
        """Take new items; marks of items that are gone go too."""
        if items is self._given and isinstance(items, tuple) and not self._filter.timely:
            return
        self._given = items
        fresh = list(items)
        changed = self._changed(fresh)
        if changed is None:
            self._rebuild(fresh)
        elif changed or self._filter.timely:
            self._replace(fresh, changed)

    def _changed(self, fresh: list[T]) -> list[int] | None:
        """Places where another object stands for the same row; None where rows came, went or moved."""
        if len(fresh) != len(self._items):
            return None
        changed = list(compress(count(), map(operator.is_not, fresh, self._items)))
        same = all(self.key(fresh[place]) == self._keys[place] for place in changed)
        return changed if same else None

    def _replace(self, fresh: list[T], changed: list[int]) -> None:
        self._items, self._order = fresh, None
        ranks, moved = self._ranks, set[int]()
        for place, after in zip(changed, self._ranked(changed), strict=True):
            if after != ranks[place]:
                ranks[place] = after
                moved.add(place)
            self._hays[place] = ""
        asked = range(len(fresh)) if self._filter.timely else changed
        through = set(self._select(asked))
        come = [place for place in asked if place in through and not self._passes[place]]
        gone = [place for place in asked if place not in through and self._passes[place]]
        for place in come:
            self._passes[place] = True
        for place in gone:
            self._passes[place] = False
        if come or gone or moved:
            leave = moved.union(gone)
            stay = [place for place in self._shown if place not in leave]
            self._sort(stay, [*(place for place in moved if self._passes[place]), *(p for p in come if p not in moved)])

    def _rebuild(self, fresh: list[T]) -> None:
        """Rows came, went or moved at their source: what is known of those that stayed is taken along."""
        items, places, hays, ranks = self._items, self._places, self._hays, self._ranks
        self._keys = [self.key(item) for item in fresh]
        self._places = {key: place for place, key in reversed(list(enumerate(self._keys)))}
        self._items = fresh
        self._hays, self._ranks = [""] * len(fresh), [None] * len(fresh)
        unknown: list[int] = []
        sign = self._sign
        for place, (key, item) in enumerate(zip(self._keys, fresh, strict=True)):
            before = places.get(key)
            if before is not None and items[before] is item:
                self._hays[place] = hays[before]
                known = ranks[before]
                self._ranks[place] = (known[0], known[1], sign * place) if known is not None else None
            else:
                unknown.append(place)
        for place, found in zip(unknown, self._ranked(unknown), strict=True):
            self._ranks[place] = found
        if self.marks:
            self.marks &= self._places.keys()
        self._refilter()

    # -- filter ----------------------------------------------------------------------------------------------

    @property
    def filter(self) -> str:
        return self._filter.text

    @property
    def notes(self) -> list[str]:
        """What of the filter could not hold, and why."""
        return self._filter.notes

    def set_filter(self, text: str) -> None:
        if text != self._filter.text:
            self._filter = RowFilter(text, self.every)
            self._refilter()

    def typed(self, text: str) -> str:
        """What holds while `text` is being typed: without a column's name that is only begun, where no row says those
        letters, so that the table is not empty on the way to `cpu>80`."""
        if complete(text, self.every) is None or any(sign in re.split(r"\s", text)[-1] for sign in ":=<>"):
            return text
        asked = RowFilter(text, self.every)
        return text if self._through(asked, range(len(self._items))) else re.sub(r"\s*\S+$", "", text)

    def _refilter(self) -> None:
        self._passes = [False] * len(self._items)
        through = self._select(range(len(self._items)))
        for place in through:
            self._passes[place] = True
        self._sort(through)

    def _select(self, places: Sequence[int]) -> list[int]:
        """Those of `places` that the filter lets through."""
        return self._through(self._filter, places) if self._filter else list(places)

    def _through(self, asked: RowFilter[T], places: Sequence[int]) -> list[int]:
        if asked.words:
            hays, items, haystack = self._hays, self._items, self.haystack
            for place in places:
                if not hays[place]:
                    hays[place] = haystack(items[place]).casefold()
        return asked.select(places, self._items, self._hays, self.clock())

    # -- sort ------------------------------------------------------------------------------------------------

    def set_sort(self, key: str | None, *, descending: bool = False) -> None:
        if (key, descending) == (self.sort_key, self.descending):
            return
        self.sort_key, self.descending = key, descending
        self._some_unknown = False
        self._ranks = self._ranked(range(len(self._items)))
        self._sort(sorted(self._shown))

    def sort_by(self, name: str, *, descending: bool = False) -> str:
        """Sort by the column of that name. Returns what is wrong with it, or nothing."""
        column = find_column(self.every, name)
        if column is None:
            there = ", ".join(one.key for one in self.every)
            return f"There is no column {name!r} here; there are {there}."
        self.set_sort(column.key, descending=descending)
        return ""

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
    def _sorting(self) -> Column[T] | None:
        return next((column for column in self.every if column.key == self.sort_key), None)

    @property
    def _sign(self) -> int:
        """-1 where the greatest is first."""
        return -1 if self.descending and self._sorting is not None else 1

    def _ranked(self, places: Iterable[int]) -> list[Rank | None]:
        """What these places sort by. The place itself is last in it, so that equal rows keep their source's order."""
        column = self._sorting
        if column is None:
            return [(0, 0.0, place) for place in places]
        sort, items, sign = column.sort, self._items, self._sign
        ranks = [rank(sort(items[place]), sign * place) for place in places]
        self._some_unknown = self._some_unknown or None in ranks
        return ranks

    def _sort(self, places: list[int], more: Sequence[int] = ()) -> None:
        """Order these places. `places` in order and a few `more` cost little more than a merge of the two."""
        ranks, backwards = self._ranks, self._sign < 0
        unknown: list[int] = []
        if self._some_unknown:
            unknown = sorted(place for place in (*places, *more) if ranks[place] is None)
            places = [place for place in places if ranks[place] is not None]
            more = [place for place in more if ranks[place] is not None]
        known = places
        known += sorted(more, key=ranks.__getitem__, reverse=backwards)  # type: ignore[arg-type] # none is None
        known.sort(key=ranks.__getitem__, reverse=backwards)  # type: ignore[arg-type] # the same
        self._shown = known + unknown if unknown else known
        self._order = self._shown_keys = None
        self._keep_cursor()

    # -- columns ---------------------------------------------------------------------------------------------

    def offer(self, columns: Sequence[Column[T]]) -> None:
        """Other columns for the same kind of items: those that show by themselves are shown."""
        self.every = tuple(columns)
        self.columns = tuple(column for column in columns if not column.hidden)
        self._filter = RowFilter(self._filter.text, self.every)
        self._some_unknown = False
        self._ranks = self._ranked(range(len(self._items)))
        self._refilter()

    def set_columns(self, columns: Sequence[Column[T]]) -> None:
        """Which columns are shown, in this order; at least one."""
        self.columns = tuple(columns) or self.columns

    # -- cursor ----------------------------------------------------------------------------------------------

    @property
    def cursor(self) -> int:
        """The cursor's position in `order`; 0 where the table is empty."""
        return self._index

    @property
    def current(self) -> T | None:
        return self.row(self._index)[1] if self._shown else None

    def move_to(self, index: int) -> None:
        if self._shown:
            self._index = max(0, min(len(self._shown) - 1, index))
            self.cursor_key = self.row(self._index)[0]

    def move(self, delta: int) -> None:
        self.move_to(self._index + delta)

    def select(self, key: str) -> bool:
        """Put the cursor on a row. False where it is not shown."""
        at = self._position(key)
        if at is None:
            return False
        self.move_to(at)
        return True

    def _position(self, key: str | None) -> int | None:
        place = self._places.get(key) if key is not None else None
        if place is None or not self._passes[place]:
            return None
        return self._shown.index(place)

    def _keep_cursor(self) -> None:
        if not self._shown:
            self._index = 0
        elif self.tail and self._index == 0:
            self.move_to(0)
        else:
            at = self._position(self.cursor_key)
            self.move_to(self._index if at is None else at)

    # -- marks -----------------------------------------------------------------------------------------------

    def toggle_mark(self) -> None:
        """Mark the cursor's row, or take its mark away; the next range begins here."""
        if self.cursor_key is not None and self._shown:
            self.marks ^= {self.cursor_key}
            self._anchor = self.cursor_key

    def mark_range(self) -> None:
        """Mark all rows from the last mark to the cursor."""
        if not self._shown:
            return
        start = self._position(self._anchor)
        low, high = sorted((self._index if start is None else start, self._index))
        self.marks.update(self._keys[place] for place in self._shown[low : high + 1])
        self._anchor = self.cursor_key

    def mark_all(self) -> None:
        """Mark every row that is shown; where all are marked already, take those marks away."""
        shown = set(self.keys)
        if shown <= self.marks:
            self.marks -= shown
        else:
            self.marks |= shown

    @property
    def hidden_marks(self) -> int:
        """Marked rows that the filter hides: verbs act on them too."""
        return sum(not self._passes[self._places[key]] for key in self.marks)

    def chosen(self) -> list[T]:
        """The marked items in display order and then those that the filter hides, else the one under the cursor."""
        if not self.marks:
            return [self.row(self._index)[1]] if self._shown else []
        marked = [place for place in self._shown if self._keys[place] in self.marks]
        hidden = sorted(place for key in self.marks if not self._passes[place := self._places[key]])
        return [self._items[place] for place in (*marked, *hidden)]
