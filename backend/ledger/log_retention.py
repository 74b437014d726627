"""Deletes what replicas that are gone had written, once it is old. Owns that rule only; shims rotate living logs."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from pathlib import Path


def prune_logs(logs_dir: Path, living: Collection[str], *, older_than_ts: float) -> list[str]:
    """Remove the log directories of replicas that are not `living` and wrote nothing since `older_than_ts` (wall
    seconds). Returns their names. Blocks; files that vanish meanwhile are no error."""
    removed = []
    for directory in sorted(logs_dir.iterdir()) if logs_dir.is_dir() else []:
        if directory.name in living or not directory.is_dir():
            continue
        with contextlib.suppress(FileNotFoundError):
            files = [entry for entry in directory.iterdir() if entry.is_file()]
            newest = max((entry.stat().st_mtime for entry in files), default=directory.stat().st_mtime)
            if newest >= older_than_ts:
                continue
            for entry in files:
                entry.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # a directory of somebody else's, with folders inside
                directory.rmdir()
                removed.append(directory.name)
    return removed
