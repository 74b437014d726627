"""Identity and state of a process of this machine: a pid is only trusted together with its start time.

Shared by the daemon's faults and the warden. Reads /proc where there is one, else psutil.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

_PROC = Path("/proc/self/stat").exists()


def start_mark(pid: int) -> str | None:
    """Something that differs between two processes that had the same pid; None when there is no such process."""
    if _PROC:
        fields = _stat(pid)
        return None if fields is None else fields[19]
    import psutil  # slow to load, and only needed where there is no /proc

    try:
        return repr(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def state(pid: int) -> str | None:
    """One letter as ps prints it (R, S, T, Z, ...); None when there is no such process."""
    if _PROC:
        fields = _stat(pid)
        return None if fields is None else fields[0]
    import psutil

    try:
        status = psutil.Process(pid).status()
    except psutil.Error:
        return None
    return {psutil.STATUS_STOPPED: "T", psutil.STATUS_ZOMBIE: "Z", psutil.STATUS_RUNNING: "R"}.get(status, "S")


def is_gone(pid: int, mark: str) -> bool:
    """Whether that very process has ended (a zombie has)."""
    return start_mark(pid) != mark or state(pid) in ("Z", "X", None)


def resume(pid: int, mark: str) -> bool:
    """SIGCONT to that very process; False when it has ended. Idempotent."""
    if is_gone(pid, mark):
        return False
    try:
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        return False
    return True


def _stat(pid: int) -> list[str] | None:
    """/proc/<pid>/stat after the command name, which may itself hold spaces and brackets."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    return text[text.rindex(")") + 2 :].split()
