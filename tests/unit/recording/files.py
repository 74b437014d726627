"""Recordings to read: a file with a span of a small fleet's past, and what was written into it."""

from __future__ import annotations

from pathlib import Path

from backend.contract.control import Snapshot
from backend.contract.rows import LogRow, Row
from backend.contract.words import ActionOutcome
from backend.recording.archive import ArchiveWriter, Manifest
from tests.unit.console.sample import action, event
from tests.unit.ledger.rows import request, sample
from tests.unit.recording.fleets import seconds_of

SNAPSHOTS = seconds_of(150)
ROWS: dict[str, list[Row]] = {
    "events": [event(n, ts=1000.0 + 10 * n) for n in range(15)],
    "actions": [
        action("a", ts=1020.0, outcome=ActionOutcome.RUNNING),
        action("a", ts=1025.0, outcome=ActionOutcome.OK, result="done", duration_s=5.0),
        action("b", ts=1100.0, outcome=ActionOutcome.REFUSED),
    ],
    "requests": [request(1000.0 + n, f"r{n}", replica=f"llm-{n % 2}") for n in range(50)],
    "samples": [sample(1000.0 + n, float(n)) for n in range(5)],
    "logs": [LogRow(ts=1000.0 + n, replica=f"llm-{n % 3}", message=f"line {n}") for n in range(30)],
}


def write_file(
    path: Path,
    snapshots: list[Snapshot] | None = None,
    rows: dict[str, list[Row]] | None = None,
    *,
    force: bool = False,
) -> Path:
    with ArchiveWriter(path, force=force) as archive:
        list(archive.snapshots(SNAPSHOTS if snapshots is None else snapshots))
        for table, some in (ROWS if rows is None else rows).items():
            list(archive.rows(table, some))
        archive.manifest(Manifest(fleet="local", created_ts=2000.0, since_ts=1000.0, until_ts=1150.0))
    return path
