"""Hot rows: the newest rows of one table in memory, by time.

Owns the order and the bound. Never touches a file.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from backend.contract.rows import ActionRow, Row, Scalar

_TRIM_SLACK = 1024


class HotRows:
    """At most `limit` rows sorted by `ts` (equal instants in order of arrival).

    Rows arrive almost in order (a request's `ts` is its start, its row comes at its end), so insertion is near the
    end of a list. Of the rows of one action only the latest is kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._times: list[float] = []
        self._rows: list[Row] = []
        self._actions: dict[str, float] = {}
        self._left_out_ts = 0.0

    def __len__(self) -> int:
        return min(len(self._rows), self._limit)

    @property
    def complete_since_ts(self) -> float:
        """All rows later than this are held; 0 while none was ever left out."""
        surplus = len(self._rows) - self._limit
        return self._left_out_ts if surplus <= 0 else max(self._left_out_ts, self._times[surplus - 1])

    def add(self, row: Row) -> None:
        if isinstance(row, ActionRow):
            self._forget_action(row)
        times = self._times
        if times and row.ts < times[-1]:
            at = bisect_right(times, row.ts)
            times.insert(at, row.ts)
            self._rows.insert(at, row)
        else:
            times.append(row.ts)
            self._rows.append(row)
        if len(times) > self._limit + _TRIM_SLACK:
            self._trim()

    def load(self, rows: Sequence[Row], *, complete: bool = True) -> None:
        """Take many rows at once, oldest appended first; only for a fresh instance.

        `complete` says whether these are all the table ever had.
        """
        if rows and isinstance(rows[0], ActionRow):
            latest = {row.id: row for row in rows if isinstance(row, ActionRow)}
            rows = list(latest.values())
            self._actions = {row.id: row.ts for row in latest.values()}
        self._rows = sorted(rows, key=lambda row: row.ts)
        self._times = [row.ts for row in self._rows]
        if not complete and self._times:
            self._left_out_ts = self._times[0]
        self._trim()

    def _trim(self) -> None:
        surplus = len(self._rows) - self._limit
        if surplus <= 0:
            return
        self._left_out_ts = max(self._left_out_ts, self._times[surplus - 1])
        for row in self._rows[:surplus]:
            if isinstance(row, ActionRow):
                self._actions.pop(row.id, None)
        del self._times[:surplus]
        del self._rows[:surplus]

    def _forget_action(self, row: ActionRow) -> None:
        earlier_ts = self._actions.get(row.id)
        self._actions[row.id] = row.ts
        if earlier_ts is None:
            return
        for at in range(bisect_left(self._times, earlier_ts), bisect_right(self._times, earlier_ts)):
            held = self._rows[at]
            if isinstance(held, ActionRow) and held.id == row.id:
                del self._times[at]
                del self._rows[at]
                return

    def select(
        self, *, since_ts: float, until_ts: float | None, limit: int, where: dict[str, Scalar] | None
    ) -> Sequence[Row]:
        """The newest `limit` rows with since_ts <= ts < until_ts and equal columns, oldest first.

        The columns must exist.
        """
        oldest = max(0, len(self._rows) - self._limit)
        start = max(oldest, bisect_left(self._times, since_ts))
        end = len(self._times) if until_ts is None else bisect_left(self._times, until_ts)
        if limit <= 0 or end <= start:
            return []
        if not where:
            return self._rows[max(start, end - limit) : end]
        wanted = list(where.items())
        (column, value), rest = wanted[0], wanted[1:]
        rows, picked = self._rows, []
        for at in range(end - 1, start - 1, -1):
            row = rows[at]
            if getattr(row, column) == value and all(getattr(row, name) == other for name, other in rest):
                picked.append(row)
                if len(picked) == limit:
                    break
        picked.reverse()
        return picked
