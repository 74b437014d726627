"""Segments: closed journals become Parquet, old ones are deleted. A program: `python -m backend.ledger.segments DIR`.

Owns conversion, retention and the disk cap. Safe to kill at any instant and to run again: a segment appears under
its name whole (written aside, synced, renamed) and its journal is removed after that; while both exist readers
take the segment (see backend.ledger.journal). The open journal of a table and the one closed before it stay
journals, because hot rows are rebuilt from them. Never run inside the daemon's process.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from backend.ledger.journal import JOURNALED, LedgerFile, list_files, segment_name, superseded, sync_directory

_JOURNALS_KEPT: Final = 2
_NICENESS: Final = 15
_KEPT_LONGEST: Final = ("actions", "events")
"""Small tables that say what happened: deleted for space only when nothing else is left."""


def convert(file: LedgerFile) -> Path | None:
    """Write a closed journal as a segment and remove it. Returns the segment, None if it held no row."""
    import polars as pl

    from backend.ledger.frames import journal_frame

    frame = journal_frame(file.table, file.path)
    directory = file.path.parent
    if frame.height == 0:
        file.path.unlink()
        return None
    last = file.first + frame.height - 1
    if file.table == "events":
        newest = frame.select(pl.col("seq").max()).item()
        last = max(last, newest or 0)
    target = directory / segment_name(file.table, file.first, last)
    aside = target.with_suffix(".part")
    frame.write_parquet(aside, compression="zstd", statistics=True)
    stat = file.path.stat()
    os.utime(aside, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    descriptor = os.open(aside, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    aside.rename(target)
    sync_directory(directory)
    file.path.unlink()
    return target


def closed_journals(files: Sequence[LedgerFile]) -> list[LedgerFile]:
    """Journals to convert: all of a table but its newest two."""
    due: list[LedgerFile] = []
    for table in JOURNALED:
        journals = [file for file in files if file.table == table and not file.parquet]
        due.extend(journals[:-_JOURNALS_KEPT])
    return due


def surplus(files: Sequence[tuple[LedgerFile, int, float]], *, oldest_ts: float, disk_bytes: int) -> list[LedgerFile]:
    """Closed files to delete. `files` are (file, bytes, last write in wall seconds); a table's newest is never taken.

    First those last written before `oldest_ts`, then the oldest until the rest fits into `disk_bytes`.
    """
    newest: dict[str, int] = {}
    for file, _, _ in files:
        newest[file.table] = max(file.first, newest.get(file.table, 0))
    held = sum(size for _, size, _ in files)
    removable = sorted(
        (entry for entry in files if entry[0].first != newest[entry[0].table]),
        key=lambda entry: (entry[0].table in _KEPT_LONGEST, entry[2], entry[0].first),
    )
    gone: list[LedgerFile] = []
    for file, size, written_ts in removable:
        if written_ts < oldest_ts:
            gone.append(file)
            held -= size
    for file, size, written_ts in removable:
        if held <= disk_bytes:
            break
        if written_ts >= oldest_ts:
            gone.append(file)
            held -= size
    return gone


def tend(directory: Path, *, now: float, retention_s: float, disk_bytes: int) -> None:
    """One round: remove leftovers, convert, delete. Raises OSError and polars errors."""
    for leftover in [*directory.glob("*.part"), *superseded(directory)]:
        leftover.unlink(missing_ok=True)
    for file in closed_journals(list_files(directory)):
        convert(file)
    sized: list[tuple[LedgerFile, int, float]] = []
    for file in list_files(directory):
        stat = file.path.stat()
        sized.append((file, stat.st_size, stat.st_mtime))
    for file in surplus(sized, oldest_ts=now - retention_s, disk_bytes=disk_bytes):
        file.path.unlink(missing_ok=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one round as a niced program; 0 also when another one is at work."""
    parser = argparse.ArgumentParser(prog="python -m backend.ledger.segments", description="Tend a ledger directory.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--retention-s", type=float, required=True)
    parser.add_argument("--disk-bytes", type=int, required=True)
    options = parser.parse_args(argv)
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    with (options.directory / "segments.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        tend(options.directory, now=time.time(), retention_s=options.retention_s, disk_bytes=options.disk_bytes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
