"""`trinity query "SQL"`: polars SQL over the ledger's files, with or without a daemon."""

from __future__ import annotations

import asyncio
import csv
import sys

import click
import msgspec

from backend.commands.output import narrate, print_table
from backend.commands.parameters import Count, Seconds
from backend.commands.place import Place, common
from backend.contract.errors import UsageError
from backend.ledger.query import run_query


@click.command()
@click.argument("sql")
@click.option("--limit", default=1000, show_default=True, type=Count(1, 1_000_000))
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option("--timeout", default=60.0, show_default=True, type=Seconds(), help="How long it may take.")
@common()
def query(place: Place, sql: str, limit: int, as_csv: bool, timeout: float) -> None:
    """Run SQL over the tables requests, samples, events, actions and logs."""
    paths = place.paths
    if not paths.ledger_dir.is_dir():
        raise UsageError(f"There is no ledger in {paths.state_dir}.", "Start a fleet first, or name one with --state.")
    result = asyncio.run(run_query(paths.ledger_dir, sql, limit=limit, logs_dir=paths.logs_dir, timeout_s=timeout))
    if place.json:
        for row in result.rows:
            click.echo(msgspec.json.encode(dict(zip(result.columns, row, strict=True))).decode())
    elif as_csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(result.columns)
        writer.writerows(result.rows)
    else:
        print_table(result.columns, [["" if v is None else _short(v) for v in row] for row in result.rows])
    if result.truncated:
        narrate(f"Only the first {limit} rows; ask for more with --limit.")


def _short(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) and abs(value) < 1e6 else str(value)
