"""What a shim writes about itself, and how to tell whether the process a record names is still that process.

Owns the record's shape, its atomic writing and the pid-reuse guard. Never signals anything.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import msgspec

from backend.contract.fleet import ExitRecord
from backend.contract.shim import ShimSpec


class ShimRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A shim and its program at one instant."""

    shim_pid: int
    shim_start: int
    """Start time of the shim in kernel ticks since boot: with the pid it names one process for ever."""
    pid: int | None
    """The program's pid; null while it is not running."""
    pid_start: int | None
    """Start time of the program in kernel ticks since boot."""
    starts: int
    """Program starts by this shim, reloads included."""
    start_number: int
    """The number of the last start, rising over all shims that share the log directory."""
    started_ts: float
    started_mono: float
    held: bool = False
    spec: ShimSpec


def start_ticks(pid: int) -> int | None:
    """The start time of a living process in kernel ticks since boot; null when it is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def is_same_process(pid: int | None, start: int | None) -> bool:
    """Whether `pid` still is the process that started at `start`."""
    return pid is not None and start is not None and start_ticks(pid) == start


def shim_alive(record: ShimRecord) -> bool:
    """Whether the shim of this record still runs."""
    return is_same_process(record.shim_pid, record.shim_start)


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Replace a file in one step, readable by this user only. Raises OSError."""
    target = Path(path)
    part = target.with_name(f".{target.name}.{os.getpid()}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        if os.write(descriptor, data) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
    except OSError:
        part.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    part.replace(target)


def read_record(path: str | os.PathLike[str]) -> ShimRecord | None:
    """The record in a file, or null when there is none or it is not one."""
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=ShimRecord)
    except (OSError, msgspec.DecodeError):
        return None


def read_exit(path: str | os.PathLike[str]) -> ExitRecord | None:
    """The exit record in a file, or null when there is none or it is not one."""
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=ExitRecord)
    except (OSError, msgspec.DecodeError):
        return None


def session_members(session: int) -> list[int]:
    """Living processes whose session is `session` (a shim's pid), the leader excluded."""
    members = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == session:
            continue
        try:
            stat = (entry / "stat").read_bytes()
        except OSError:
            continue
        fields = stat[stat.rindex(b")") + 2 :].split()
        if int(fields[3]) == session and fields[0] not in (b"Z", b"X"):
            members.append(int(entry.name))
    return members
