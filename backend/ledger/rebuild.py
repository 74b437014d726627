"""Hot rows from journals at start. Owns how much is read back; never writes."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from backend.contract.rows import EventRow, Row
from backend.ledger.journal import LedgerFile, decode_line, decode_lines, read_lines


class Rebuilt(msgspec.Struct):
    """One table as its files tell it."""

    rows: list[Row]
    """The newest rows, oldest first."""
    next_ordinal: int
    open_journal_ts: float | None
    """`ts` of the first readable row of the newest journal."""
    unreadable_lines: int
    complete: bool = True
    """Whether `rows` are all the table ever had here."""


def rebuild_table(files: Sequence[LedgerFile], limit: int) -> Rebuilt:
    """The newest `limit` rows of a table from its journals (segments are for queries), and its next ordinal.

    `files` are one table's, by ordinal. Raises OSError.
    """
    rebuilt = Rebuilt(rows=[], next_ordinal=1, open_journal_ts=None, unreadable_lines=0)
    rebuilt.complete = not files or files[0].first == 1
    if files and files[-1].parquet:
        rebuilt.next_ordinal = (files[-1].last or files[-1].first) + 1
    newest_first: list[list[Row]] = []
    room = limit
    for file in reversed(files):
        is_open = file is files[-1] and not file.parquet
        if file.parquet or (room <= 0 and not is_open):
            rebuilt.complete = False
            break
        try:
            lines = read_lines(file.path).lines
        except FileNotFoundError:
            rebuilt.complete = False
            break  # the segments program of a daemon that died is still at work: it is a segment now
        wanted = lines[max(0, len(lines) - room) :]
        rebuilt.complete = rebuilt.complete and len(wanted) == len(lines)
        rows = decode_lines(file.table, wanted)
        rebuilt.unreadable_lines += len(wanted) - len(rows)
        newest_first.append(rows)
        room -= len(rows)
        if is_open:
            rebuilt.next_ordinal = _after(file, len(lines), rows)
            first = decode_line(file.table, lines[0]) if lines else None
            rebuilt.open_journal_ts = None if first is None else first.ts
    for rows in reversed(newest_first):
        rebuilt.rows.extend(rows)
    return rebuilt


def _after(file: LedgerFile, line_count: int, rows: Sequence[Row]) -> int:
    """The ordinal after a journal's last row. Events carry theirs (rows dropped on a full disk leave gaps)."""
    numbers = [row.seq for row in rows[-1:] if isinstance(row, EventRow)]
    return max([file.first + line_count, *(number + 1 for number in numbers)])
