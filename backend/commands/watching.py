"""`logs`, `events`, `actions`: what happened, as text or JSON lines."""

from __future__ import annotations

import re
import time
from contextlib import aclosing
from typing import Any

import click

from backend.commands.output import clock, print_json
from backend.commands.place import Place, common
from backend.config.strict_yaml import parse_duration
from backend.contract.errors import UsageError
from backend.contract.rows import LogRow
from backend.control_client import ControlClient


def since_ts(text: str | None, now: float) -> float:
    """`10m`, `2h`, or a POSIX time, as POSIX seconds; 0 when not given."""
    if text is None:
        return 0.0
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    try:
        return now - parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--since {text}: {error}.", "Write e.g. --since 10m.") from None


_LEVELS = ("debug", "info", "warning", "error", "critical")


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on as lines are written.")
@click.option("--since", help="How far back: 10m, 2h, or a POSIX time.")
@click.option("--replica", "replicas", multiple=True, help="Only this replica (repeatable; default: all).")
@click.option("--level", type=click.Choice(["debug", "info", "warning", "error"]), help="This level or worse.")
@click.option("-n", "--lines", default=200, show_default=True, type=click.IntRange(0, 100_000))
@common()
def logs(
    place: Place, follow: bool, since: str | None, replicas: tuple[str, ...], level: str | None, lines: int
) -> None:
    """Lines of the replicas, merged by time."""
    chosen = list(replicas) or None
    start = since_ts(since, time.time())

    worst = _LEVELS[_LEVELS.index(level) :] if level else None

    def show(row: LogRow) -> None:
        if worst is not None and row.level not in worst:
            return
        if place.json:
            print_json(row)
        else:
            click.echo(f"{clock(row.ts)} {row.replica:<10} {row.message}")

    async def work(client: ControlClient) -> None:
        window = await client.logs(chosen, since_ts=start, limit=lines)
        for row in window.rows:
            show(row)
        if not follow:
            return
        last = window.rows[-1].ts if window.rows else time.time()
        async with aclosing(client.follow_logs(chosen, since_ts=last + 1e-6)) as batches:
            async for batch in batches:
                for row in batch:
                    show(row)

    place.run(work)


def _show_event(place: Place, row: Any) -> None:
    if place.json:
        print_json(row)
    else:
        click.echo(f"{clock(row.ts)} #{row.seq:<6} {row.severity:<8} {row.kind:<22} {row.subject:<10} {row.message}")


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on as events happen.")
@click.option("--since", help="How far back: 10m, 2h, or a POSIX time.")
@click.option("-n", "--limit", default=100, show_default=True, type=click.IntRange(0, 100_000))
@common()
def events(place: Place, follow: bool, since: str | None, limit: int) -> None:
    """What happened: deaths, restarts, decisions, notes."""

    async def work(client: ControlClient) -> None:
        seen = 0
        for row in await client.rows("events", since_ts=since_ts(since, time.time()), limit=limit):
            _show_event(place, row)
            seen = max(seen, row.seq)
        if not follow:
            return
        async with aclosing(client.stream(0.5)) as frames:
            async for frame in frames:
                for row in frame.events:
                    if row.seq > seen:
                        _show_event(place, row)

    place.run(work)


@click.command()
@click.option("--since", help="How far back: 10m, 2h, or a POSIX time.")
@click.option("-n", "--limit", default=100, show_default=True, type=click.IntRange(0, 100_000))
@common()
def actions(place: Place, since: str | None, limit: int) -> None:
    """The journal: who did what to what, and how it ended."""
    rows = place.run(lambda client: client.rows("actions", since_ts=since_ts(since, time.time()), limit=limit))
    for row in rows:
        if place.json:
            print_json(row)
        else:
            took = "" if row.duration_s is None else f" in {row.duration_s:.2f} s"
            click.echo(
                f"{clock(row.ts)} {row.id} {row.actor:<14} {row.verb:<12} {row.target:<10} {row.outcome}{took}"
                f"  {row.result or row.preview}"
            )
