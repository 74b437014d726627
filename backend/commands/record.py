"""`trinity record`: what the flight recorder saw as one file to share, and the files of others.

Reads the state directory, so that it works with and without a daemon; secrets are redacted. Writes the one file that
it is told to, and never over another unless told.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from backend.commands.output import Progress, age, narrate, print_json, print_table
from backend.commands.place import Place, common
from backend.config.paths import StatePaths
from backend.contract.errors import TrinityError, UsageError

DEFAULT_SPAN_S = 3600.0
LOG_LINES = 200_000
_TOLD_EVERY = 500


@click.group(invoke_without_command=False)
def record() -> None:
    """A span of the fleet's past as one file; open it with `trinity replay`."""


@record.command("export")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--since", help="How far back: 10m, 2h, or a POSIX time (default: 1h).")
@click.option("--until", help="Until when, written the same way (default: now).")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@common()
def export(place: Place, file: Path, since: str | None, until: str | None, force: bool) -> None:
    """Write snapshots, requests, events, actions, samples and log lines of a span to FILE, secrets redacted."""
    now = time.time()
    since_ts, until_ts = _moment(since, now, now - DEFAULT_SPAN_S, "--since"), _moment(until, now, now, "--until")
    if until_ts <= since_ts:
        raise UsageError("The span ends before it begins.", "Let --since reach further back than --until.")
    progress = Progress()
    try:
        _export(place.paths, file, since_ts, until_ts, force=force, progress=progress)
    except FileExistsError:
        raise UsageError(f"{file} is there already.", "Choose another name, or write over it with --force.") from None
    except OSError as error:
        words = f"{file} cannot be written: {(error.strerror or str(error)).lower()}."
        raise UsageError(words, "Choose another place, or make room.") from None
    finally:
        progress.end()
    _show(place, file)
    if not place.json:
        narrate(f"Redacted; look through it before you share it. Open it with: trinity replay {file}")


@record.command("import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--force", is_flag=True, help="Replace a recording of that name.")
@common()
def import_(place: Place, file: Path, force: bool) -> None:
    """Check FILE and keep it in the state directory, to be replayed by name."""
    from backend.recording.shelf import Shelf

    _checked(file)
    try:
        name = Shelf(place.paths.recordings_dir).take(file, force=force)
    except OSError as error:
        words = f"{place.paths.recordings_dir} cannot be written: {(error.strerror or str(error)).lower()}."
        raise UsageError(words, "Make room or rights there, or choose another place with --state.") from None
    if place.json:
        print_json({"name": name})
    else:
        click.echo(name)
        narrate(f"Open it with: trinity replay {name}")


@record.command("list")
@common()
def list_(place: Place) -> None:
    """The recordings that were imported, and what this fleet's own recorder holds."""
    from backend.recording.archive import Archive
    from backend.recording.shelf import Shelf

    shelf = Shelf(place.paths.recordings_dir)
    rows: list[dict[str, Any]] = [_own(place.paths)]
    for name in shelf.names():
        try:
            manifest = Archive(shelf.path(name)).manifest
        except TrinityError as error:
            rows.append({"name": name, "problem": str(error)})
            continue
        size = shelf.path(name).stat().st_size
        span = {"since_ts": manifest.since_ts, "until_ts": manifest.until_ts}
        rows.append({"name": name, "fleet": manifest.fleet, **span, "size_bytes": size, "counts": manifest.counts})
    if place.json:
        print_json(rows)
        return
    print_table(["NAME", "FLEET", "FROM", "LENGTH", "SIZE"], [_line(row) for row in rows])


@record.command("info")
@click.argument("file")
@common()
def info(place: Place, file: str) -> None:
    """What a file, or an imported recording, holds."""
    from backend.recording.shelf import Shelf

    _show(place, Shelf(place.paths.recordings_dir).find(file))


def check_recording(place: Place, given: str) -> None:
    """`trinity replay --check`: read all of it, and say what it holds. Raises FileError where it is damaged."""
    from backend.recording.shelf import Shelf

    path = Shelf(place.paths.recordings_dir).find(given)
    _checked(path)
    _show(place, path)


def _moment(text: str | None, now: float, default: float, option: str) -> float:
    from backend.commands.watching import since_ts

    if text is None:
        return default
    try:
        return since_ts(text, now)
    except UsageError as error:
        raise UsageError(error.message.replace("--since", option, 1), error.next_step) from None


def _export(
    paths: StatePaths, file: Path, since_ts: float, until_ts: float, *, force: bool, progress: Progress
) -> None:
    from backend.commands.redaction import Redactor, known_secrets
    from backend.ledger.logs import LogReader
    from backend.ledger.span import rows_between
    from backend.recording.archive import ArchiveWriter, Manifest
    from backend.recording.reader import Recording

    recording = Recording(paths.recording_dir)
    total = recording.count(since_ts, until_ts)
    if total == 0:
        raise UsageError("Nothing was recorded in that time.", _reach(recording))
    clean = Redactor(known_secrets(paths))
    fleet = ""
    with ArchiveWriter(file, force=force) as archive:
        snapshots = (clean.snapshot(one) for one in recording.snapshots(since_ts, until_ts))
        for number, one in enumerate(archive.snapshots(snapshots), 1):
            fleet = one.fleet
            if number % 50 == 0:
                progress.show(f"snapshots: {100 * number // total} %")
        for table in ("events", "actions", "requests", "samples"):
            rows = rows_between(paths.ledger_dir, table, since_ts, until_ts)
            _count(table, archive.rows(table, map(clean, rows)), progress)
        until = math.nextafter(until_ts, math.inf)
        lines = LogReader(paths.logs_dir).tail(limit=LOG_LINES, since_ts=since_ts, until_ts=until)
        _count("logs", archive.rows("logs", map(clean, lines.rows)), progress)
        archive.manifest(
            Manifest(
                fleet=fleet,
                created_ts=time.time(),
                since_ts=since_ts,
                until_ts=until_ts,
                left_out={"logs": lines.truncated} if lines.truncated else {},
            )
        )


def _count(table: str, rows: Iterable[object], progress: Progress) -> None:
    for number, _ in enumerate(rows, 1):
        if number % _TOLD_EVERY == 0:
            progress.show(f"{table}: {number}")


def _reach(recording: Any) -> str:
    extent = recording.extent()
    if extent.first_ts is None or extent.last_ts is None:
        return "The flight recorder runs with the daemon: `trinity up`."
    return f"The recording reaches from {_local(extent.first_ts)} to {_local(extent.last_ts)}: choose --since by that."


def _checked(file: Path) -> None:
    from backend.recording.archive import Archive

    progress = Progress()

    def told(what: str, count: int) -> None:
        if count % _TOLD_EVERY == 0:
            progress.show(f"{what}: {count}")

    try:
        Archive(file).check(told)
    finally:
        progress.end()


def _show(place: Place, path: Path) -> None:
    """The summary of a file, which holds what it says."""
    from backend.recording.archive import Archive

    manifest = Archive(path).manifest
    if place.json:
        import msgspec

        print_json({"path": str(path), "size_bytes": path.stat().st_size, **msgspec.to_builtins(manifest)})
        return
    click.echo(f"{path}: {_size(path.stat().st_size)}, fleet {manifest.fleet}, Trinity {manifest.version}")
    length = age(manifest.until_ts - manifest.since_ts)
    click.echo(f"from {_local(manifest.since_ts)} to {_local(manifest.until_ts)}, {length}")
    click.echo(", ".join(f"{count} {what}" for what, count in manifest.counts.items()))
    for what, count in manifest.left_out.items():
        click.echo(f"{count} older {what} did not fit and were left out")


def _own(paths: StatePaths) -> dict[str, Any]:
    from backend.recording.reader import Recording

    extent = Recording(paths.recording_dir).extent()
    span = {"since_ts": extent.first_ts, "until_ts": extent.last_ts}
    return {"name": "(this fleet)", "fleet": "local", **span, "size_bytes": extent.size_bytes}


def _line(row: dict[str, Any]) -> list[str]:
    if "problem" in row:
        return [row["name"], "-", "-", "-", row["problem"]]
    if row["since_ts"] is None:
        return [row["name"], row["fleet"], "-", "-", "nothing is recorded yet"]
    length = age(row["until_ts"] - row["since_ts"])
    return [row["name"], row["fleet"], _local(row["since_ts"]), length, _size(row["size_bytes"])]


def _local(ts: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ts))


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"
