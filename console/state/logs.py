"""Log lines held by the console: a bounded ring that counts what it let go and what never came. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from backend.contract.rows import LogRow

CAPACITY: Final = 20_000


class LogRing:
    """Newest lines of some replicas, in order of time. `received` counts all, `released` those no longer held."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.rows: deque[LogRow] = deque(maxlen=capacity)
        self.received = 0
        self.released = 0
        self.left_out = 0
        """Lines older than the window asked for: on disk, not here."""
        self.find = ""

    def extend(self, rows: Iterable[LogRow]) -> int:
        """Take lines; late ones of another replica are put where their time says. Returns how many came."""
        fresh = list(rows)
        if not fresh:
            return 0
        self.received += len(fresh)
        room = (self.rows.maxlen or 0) - len(self.rows)
        self.released += max(0, len(fresh) - room)
        if self.rows and fresh[0].ts < self.rows[-1].ts:
            merged = sorted([*self.rows, *fresh], key=lambda row: row.ts)
            self.rows = deque(merged, maxlen=self.rows.maxlen)
        else:
            self.rows.extend(fresh)
        return len(fresh)

    def newest(self) -> list[LogRow]:
        """The lines of the newest instant: whoever asks for lines from there on gets them again."""
        return [row for row in self.rows if row.ts == self.newest_ts]

    def clear(self) -> None:
        """Start again, for another selection; the filter stays."""
        self.rows.clear()
        self.received = self.released = self.left_out = 0

    def set_find(self, text: str) -> None:
        self.find = text

    def matching(self, limit: int | None = None, *, skip: int = 0) -> list[LogRow]:
        """Lines that contain `find` (any case), oldest first; the newest `limit` after leaving out `skip`."""
        needle = self.find.casefold()
        out: list[LogRow] = []
        for row in reversed(self.rows):
            if needle and needle not in row.message.casefold() and needle not in row.replica.casefold():
                continue
            if skip > 0:
                skip -= 1
                continue
            out.append(row)
            if limit is not None and len(out) >= limit:
                break
        out.reverse()
        return out

    def count(self) -> int:
        """Lines that match."""
        return len(self.rows) if not self.find else len(self.matching())

    @property
    def newest_ts(self) -> float:
        return self.rows[-1].ts if self.rows else 0.0


def without(rows: Iterable[LogRow], held: list[LogRow]) -> list[LogRow]:
    """The lines but those of `held`, each of which is taken out of both once."""
    fresh: list[LogRow] = []
    for row in rows:
        if row in held:
            held.remove(row)
        else:
            fresh.append(row)
    return fresh
