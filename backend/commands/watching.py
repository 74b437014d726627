"""`logs`, `events`, `actions`: what happened, as text or JSON lines."""

from __future__ import annotations

import re
import time
from contextlib import aclosing
from typing import Any

import click

from backend.commands.output import clock, narrate, print_json
from backend.commands.parameters import Count
from backend.commands.place import Place, common
from backend.config.strict_yaml import parse_duration
from backend.contract.errors import UsageError
from backend.contract.rows import LogRow
from backend.control_client import ControlClient


def since_ts(text: str | None, now: float) -> float:
    """`10m`, `2h`, or a POSIX time, as POSIX seconds; 0 when not given."""
    if text is None:
        return 0.0
    if re.fullmatch(r"\d{9,}(\.\d+)?", text):
        return float(text)
    try:
        return now - parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--since {text}: {error}.") from None


_LEVELS = ("debug", "info", "warning", "error", "critical")


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("-f", "--follow", is_flag=True, help="Go on as lines are written.")
@click.option("--since", help="How far back: 10m, 2h, or a POSIX time.")
@click.option("--level", type=click.Choice(["debug", "info", "warning", "error"]), help="This level or worse.")
@click.option("-n", "--lines", default=200, show_default=True, type=Count(0, 100_000))
@common()
def logs(place: Place, follow: bool, since: str | None, names: tuple[str, ...], level: str | None, lines: int) -> None:
    """Lines of all replicas, of those named, or of those of a workload, merged by time."""
    chosen = list(names) or None
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
@click.option("-n", "--limit", default=100, show_default=True, type=Count(0, 100_000))
@common()
def events(place: Place, follow: bool, since: str | None, limit: int) -> None:
    """What happened: deaths, restarts, decisions, notes."""
    start = since_ts(since, time.time())

    async def history(client: ControlClient) -> int:
        rows = await client.rows("events", since_ts=start, limit=limit)
        for row in rows:
            _show_event(place, row)
        return max((row.seq for row in rows), default=0)

    async def work(client: ControlClient) -> None:
        if not follow:
            await history(client)
            return
        seen: int | None = None
        async with aclosing(client.stream(0.5)) as frames:
            async for frame in frames:
                if seen is None:
                    seen = await history(client)  # asked for once the stream is open: no event falls between
                if frame.missed_events:
                    narrate(f"{frame.missed_events} events came too fast for this connection; see `trinity events`.")
                for row in frame.events:
                    if row.seq > seen:
                        _show_event(place, row)

    place.run(work)


@click.command()
@click.option("--since", help="How far back: 10m, 2h, or a POSIX time.")
@click.option("-n", "--limit", default=100, show_default=True, type=Count(0, 100_000))
@common()
def actions(place: Place, since: str | None, limit: int) -> None:
    """The journal: who did what to what, and how it ended."""
    start = since_ts(since, time.time())
    rows = place.run(lambda client: client.rows("actions", since_ts=start, limit=limit))
    if not rows and not place.json:
        narrate("No action yet." if since is None else "No action in that time.")
    for row in rows:
        if place.json:
            print_json(row)
        else:
            took = "" if row.duration_s is None else f" in {row.duration_s:.2f} s"
            click.echo(
                f"{clock(row.ts)} {row.id} {row.actor:<14} {row.verb:<12} {row.target:<10} {row.outcome}{took}"
                f"  {row.result or row.preview}"
            )
