"""Ledger rows as polars frames: schemas from the contract's structs, journals and segments as lazy frames.

Owns the mapping of a row struct to columns (dictionaries become JSON text). Imports polars: only the query and
segments programs may import this module.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import msgspec
import polars as pl

from backend.contract.rows import TABLES
from backend.ledger.journal import LedgerFile, decode_line, encode_rows
from backend.ledger.logs import LogReader


def schema_of(table: str) -> dict[str, pl.DataType]:
    """Column names and polars types of a ledger table."""
    info = msgspec.inspect.type_info(TABLES[table])
    assert isinstance(info, msgspec.inspect.StructType)
    return {field.encode_name: _dtype(field.type) for field in info.fields}


def _dtype(kind: msgspec.inspect.Type) -> pl.DataType:
    if isinstance(kind, msgspec.inspect.UnionType):
        kind = next(member for member in kind.types if not isinstance(member, msgspec.inspect.NoneType))
    if isinstance(kind, msgspec.inspect.FloatType):
        return pl.Float64()
    if isinstance(kind, msgspec.inspect.IntType):
        return pl.Int64()
    if isinstance(kind, msgspec.inspect.BoolType):
        return pl.Boolean()
    return pl.String()


def journal_frame(table: str, path: Path) -> pl.DataFrame:
    """All whole, readable rows of a journal. Raises OSError."""
    data = path.read_bytes()
    data = data[: data.rfind(b"\n") + 1]
    if not data:
        return pl.DataFrame(schema=schema_of(table))
    try:
        return pl.read_ndjson(io.BytesIO(data), schema=schema_of(table))
    except pl.exceptions.ComputeError:
        # One bad line fails the fast reader as a whole: keep what decodes.
        rows = (decode_line(table, line) for line in data.split(b"\n") if line)
        kept = encode_rows(row for row in rows if row is not None)
        return pl.read_ndjson(io.BytesIO(kept), schema=schema_of(table)) if kept else journal_frame_empty(table)


def journal_frame_empty(table: str) -> pl.DataFrame:
    """No rows, all columns."""
    return pl.DataFrame(schema=schema_of(table))


def table_frame(table: str, files: Iterable[LedgerFile]) -> pl.LazyFrame:
    """One table over its files (by ordinal). Of an action the latest row wins. Raises OSError."""
    schema = schema_of(table)
    frames: list[pl.LazyFrame] = []
    for file in files:
        if file.table != table:
            continue
        if file.parquet:
            frames.append(_conform(pl.scan_parquet(file.path), schema))
        else:
            frames.append(journal_frame(table, file.path).lazy())
    if not frames:
        return journal_frame_empty(table).lazy()
    frame = pl.concat(frames)
    return frame.unique(subset="id", keep="last", maintain_order=True) if table == "actions" else frame


def _conform(frame: pl.LazyFrame, schema: dict[str, pl.DataType]) -> pl.LazyFrame:
    """A segment written by an older version has fewer columns: the others are null."""
    held = frame.collect_schema().names()
    return frame.select(
        pl.col(name) if name in held else pl.lit(None, dtype=dtype).alias(name) for name, dtype in schema.items()
    )


def logs_frame(logs_dir: Path, limit: int) -> pl.LazyFrame:
    """The newest `limit` log lines of all replicas. Raises OSError."""
    rows = LogReader(logs_dir).tail(limit=limit).rows
    if not rows:
        return journal_frame_empty("logs").lazy()
    text = b"\n".join(msgspec.json.encode(row) for row in rows)
    return pl.read_ndjson(io.BytesIO(text), schema=schema_of("logs")).lazy()
