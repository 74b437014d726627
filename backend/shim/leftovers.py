"""Cleaning up after a shim that is gone: what it started, and its files.

Owns the proof that a session number still means that shim's session. Never touches a living shim.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from pathlib import Path
from typing import Final

from backend.shim.record import ShimRecord, session_members, start_ticks

_END_S: Final = 5.0


def end_leftovers(record: ShimRecord) -> None:
    """SIGKILL whatever still lives in the session of a shim that is gone. Blocks up to five seconds a process.

    A session keeps its number reserved while it has members. So if the shim's pid lives, it is the shim itself or
    belongs to a newer process and our session is empty: either way nothing is done.
    """
    if start_ticks(record.shim_pid) is not None:
        return
    for pid in session_members(record.shim_pid):
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(pid)
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            select.select([descriptor], [], [], _END_S)
            os.close(descriptor)


def remove_files(record: ShimRecord, *, keep_exit: bool = False) -> None:
    """Remove what a shim that is gone left in the run directory."""
    paths = [record.spec.record_path, record.spec.socket_path, *([] if keep_exit else [record.spec.exit_path])]
    for path in paths:
        Path(path).unlink(missing_ok=True)
