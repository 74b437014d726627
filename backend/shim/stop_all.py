"""End every shim of a run directory without a daemon.

Owns the blocking way to stop shims, for `trinity down` when nobody else is left to do it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from pathlib import Path
from typing import Final

from backend.shim.leftovers import end_leftovers, remove_files
from backend.shim.protocol import Request, encode_line
from backend.shim.record import ShimRecord, is_same_process, read_record, shim_alive

_SLACK_S: Final = 5.0


def recorded_shims(run_dir: Path) -> list[ShimRecord]:
    """Every shim record in a run directory, living or not, by name."""
    found = []
    for path in sorted(run_dir.glob("*.json")):
        record = read_record(path)
        if record is not None and record.spec.record_path == str(path):
            found.append(record)
    return found


def stop_all(run_dir: Path, grace_s: float) -> list[str]:
    """Stop every recorded shim and its program: asked first, SIGKILL after `grace_s`. Returns their names.

    Blocks up to `grace_s` plus some seconds. Recorded pids are only signalled while their start times match.
    """
    records = recorded_shims(run_dir)
    living = [record for record in records if shim_alive(record)]
    asked = [_ask_to_stop(record, grace_s) for record in living]
    deadline = time.monotonic() + grace_s + _SLACK_S
    for record in living:
        if not _wait_gone(record.shim_pid, record.shim_start, deadline - time.monotonic()):
            _kill(record.shim_pid, record.shim_start)
            _kill(record.pid, record.pid_start)
            _wait_gone(record.shim_pid, record.shim_start, _SLACK_S)
    for peer in asked:
        if peer is not None:
            peer.close()
    for record in records:
        _kill(record.pid, record.pid_start)
        end_leftovers(record)
        remove_files(record, keep_exit=True)
    return [record.spec.name for record in living]


def _ask_to_stop(record: ShimRecord, grace_s: float) -> socket.socket | None:
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    peer.settimeout(1.0)
    try:
        peer.connect(record.spec.socket_path)
        peer.sendall(encode_line(Request(id=1, op="stop", grace_s=grace_s)))
    except OSError:
        peer.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(record.shim_pid, signal.SIGTERM)
        return None
    return peer


def _kill(pid: int | None, start: int | None) -> None:
    if pid is not None and is_same_process(pid, start):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _wait_gone(pid: int, start: int, timeout_s: float) -> bool:
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return not is_same_process(pid, start)
    try:
        if not is_same_process(pid, start):
            return True
        return bool(select.select([descriptor], [], [], max(0.0, timeout_s))[0])
    finally:
        os.close(descriptor)
