"""SQL over the ledger's files, with or without a daemon. As a program: `python -m backend.ledger.query DIR < query`.

Owns which tables a query sees and how its failures are told. Reads segments and journals as they lie there, also
while a daemon appends; never writes. `query` works in this process and loads polars when called; `run_query` runs
it in a niced process with a time limit and is what a daemon or a console uses.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from backend.contract.errors import InternalError, TrinityError, UsageError, from_wire
from backend.contract.rows import TABLES, Scalar
from backend.ledger.journal import JOURNALED, list_files

if TYPE_CHECKING:
    import polars as pl

_NICENESS: Final = 10
_ATTEMPTS: Final = 100
"""A file may be converted or deleted between listing and reading; then the listing is read again. On a busy machine
that can happen for each of many files that are converted one after the other."""
_LOG_LINES: Final = 200_000
"""The newest log lines a query sees."""


class QueryResult(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of an answer, at most `limit` of them."""

    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Scalar, ...], ...] = ()
    truncated: bool = False
    """Whether there were more rows than the limit."""


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the query program prints: a result or an error."""

    result: QueryResult | None = None
    kind: str = ""
    message: str = ""
    next_step: str = ""


def tables_hint() -> str:
    """All tables and their columns in one sentence."""
    listed = "; ".join(f"{name}({', '.join(kind.__struct_fields__)})" for name, kind in TABLES.items())
    return f"Tables and columns: {listed}."


def query(ledger_dir: Path, sql: str, *, limit: int = 1000, logs_dir: Path | None = None) -> QueryResult:
    """Run one SELECT over the tables it names, in this process.

    `logs` needs `logs_dir` and holds the newest lines only. Raises UsageError with what polars said and what the
    tables are, TrinityError when files cannot be read.
    """
    import polars as pl

    for attempt in range(_ATTEMPTS):
        try:
            frame = _execute(ledger_dir, sql, limit + 1, logs_dir)
        except FileNotFoundError as error:
            if attempt == _ATTEMPTS - 1:
                raise TrinityError(f"{error.filename} vanished while it was read.", "Try again.") from error
        except OSError as error:
            raise TrinityError(
                f"The ledger in {ledger_dir} cannot be read: {error.strerror or error}.", "Check its permissions."
            ) from error
        except pl.exceptions.PolarsError as error:
            said = str(error).split("\n\nResolved plan", 1)[0].strip()
            raise UsageError(f"The query failed: {said.rstrip('.')}.", tables_hint()) from error
        else:
            rows = tuple(tuple(map(_scalar, row)) for row in frame.head(limit).rows())
            return QueryResult(columns=tuple(frame.columns), rows=rows, truncated=frame.height > limit)
    raise InternalError("A query ran out of attempts.", "Report this.")


def _execute(ledger_dir: Path, sql: str, limit: int, logs_dir: Path | None) -> pl.DataFrame:
    import polars as pl

    from backend.ledger.frames import logs_frame, table_frame

    files = list_files(ledger_dir)
    context = pl.SQLContext()
    for table in JOURNALED:
        if re.search(rf"\b{table}\b", sql, re.IGNORECASE):
            context.register(table, table_frame(table, files))
    if logs_dir is not None and re.search(r"\blogs\b", sql, re.IGNORECASE):
        context.register("logs", logs_frame(logs_dir, _LOG_LINES))
    return context.execute(sql, eager=False).limit(limit).collect()


def _scalar(value: object) -> Scalar:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)


async def run_query(
    ledger_dir: Path, sql: str, *, limit: int = 1000, logs_dir: Path | None = None, timeout_s: float = 30.0
) -> QueryResult:
    """`query` in a niced process. Raises what `query` raises, and TrinityError after `timeout_s`."""
    # -P: a `backend` package in the user's working directory is not ours.
    argv = [sys.executable, "-P", "-m", "backend.ledger.query", str(ledger_dir), "--limit", str(limit)]
    if logs_dir is not None:
        argv += ["--logs", str(logs_dir)]
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(timeout_s):
            stdout, stderr = await process.communicate(sql.encode())
    except TimeoutError as error:
        raise TrinityError(
            f"The query took longer than {timeout_s:g} s and was ended.",
            "Ask for less: a WHERE on ts, fewer columns, or a longer time limit.",
        ) from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    try:
        answer = msgspec.json.decode(stdout, type=_Answer)
    except msgspec.DecodeError as error:
        lines = stderr.decode(errors="replace").strip().splitlines()
        raise InternalError(
            f"The query program ended with {process.returncode}: {lines[-1] if lines else 'no output'}.",
            "Report this with the query.",
        ) from error
    if answer.result is None:
        raise from_wire(answer.kind, answer.message, answer.next_step)
    return answer.result


def main(argv: Sequence[str] | None = None) -> int:
    """Read SQL from standard input, print an answer as JSON. Errors are part of the answer."""
    parser = argparse.ArgumentParser(prog="python -m backend.ledger.query", description="SQL over a ledger directory.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument("--logs", type=Path, default=None)
    options = parser.parse_args(argv)
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)
    os.environ.setdefault("POLARS_MAX_THREADS", str(max(1, (os.cpu_count() or 2) - 1)))
    try:
        result = query(options.directory, sys.stdin.read(), limit=options.limit, logs_dir=options.logs)
        answer = _Answer(result=result)
    except TrinityError as error:
        answer = _Answer(kind=error.kind, message=error.message, next_step=error.next_step)
    sys.stdout.buffer.write(msgspec.json.encode(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
