"""All rows of a span of time straight from the ledger's files, for export; with or without a daemon.

Owns which files a span needs. Reads journals as they lie there, also while a daemon appends; never writes. Loads
polars only where a span reaches back into segments.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from backend.contract.rows import TABLES, Row
from backend.ledger.journal import LedgerFile, decode_lines, list_files, read_lines

_SLACK_S: Final = 5.0
"""A row is written a little after its instant; a request's at its end."""
_LISTINGS: Final = 5
_BATCH: Final = 20_000


def rows_between(directory: Path, table: str, since_ts: float, until_ts: float) -> Iterator[Row]:
    """Rows with since_ts <= ts <= until_ts as they were appended: of an action its beginning and its end.

    Raises OSError. A segment that retention deletes meanwhile is left out."""
    done: set[int] = set()
    for _ in range(_LISTINGS):
        whole = True
        for file in list_files(directory):
            if file.table != table or file.first in done:
                continue
            try:
                rows = _rows(file, since_ts, until_ts)
            except FileNotFoundError:
                whole = False  # a segment by now, or deleted: the next listing knows
                continue
            done.add(file.first)
            yield from (row for row in rows if since_ts <= row.ts <= until_ts)
        if whole:
            return


def _rows(file: LedgerFile, since_ts: float, until_ts: float) -> Iterable[Row]:
    if os.stat(file.path).st_mtime < since_ts - _SLACK_S:  # noqa: PTH116 - one call
        return ()
    if file.parquet:
        return _of_segment(file, since_ts, until_ts)
    return _decoded(file.table, read_lines(file.path).lines)


def _decoded(table: str, lines: Sequence[bytes]) -> Iterator[Row]:
    for at in range(0, len(lines), _BATCH):
        yield from decode_lines(table, lines[at : at + _BATCH])


def _of_segment(file: LedgerFile, since_ts: float, until_ts: float) -> Iterator[Row]:
    import polars as pl

    frame = pl.scan_parquet(file.path).filter(pl.col("ts").is_between(since_ts, until_ts)).collect()
    return (_row(file.table, values) for values in frame.iter_rows(named=True))


def _row(table: str, values: dict[str, Any]) -> Row:
    """Nulls are defaults, and dictionaries stand there as JSON text."""
    kind: Any = TABLES[table]
    known = {name: value for name, value in values.items() if value is not None}
    for name in ("attributes", "args"):
        if isinstance(text := known.get(name), str):
            known[name] = msgspec.json.decode(text)
    row: Row = msgspec.convert(known, kind, strict=False)
    return row
