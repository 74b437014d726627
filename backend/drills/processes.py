"""Identity and state of a process of this machine: a pid is only trusted together with its start time.

Shared by the daemon's faults and the warden. Reads /proc where there is one, else psutil.
"""

from __future__ import annotations

import os
import resource
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


def stopped_threads(pid: int) -> tuple[int, int]:
    """How many of its threads are in state T or t, and how many it has; (0, 0) where that cannot be seen."""
    states = [_fields(path) for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    known = [fields[0] for fields in states if fields is not None]
    return sum(letter in ("T", "t") for letter in known), len(known)


def is_stopped(pid: int, mark: str) -> bool:
    """Whether that very process is in state T (SIGSTOP, or a tracer)."""
    return start_mark(pid) == mark and state(pid) in ("T", "t")


def lacks_descriptors(pid: int) -> bool | None:
    """Whether it can open no further file: its lowest free descriptor is not below its soft limit.

    None where that cannot be seen.
    """
    try:
        limits = Path(f"/proc/{pid}/limits").read_text(encoding="utf-8")
        taken = {int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()}
    except (OSError, ValueError):
        return None
    line = next((line for line in limits.splitlines() if line.startswith("Max open files")), "")
    words = line.split()
    if len(words) < 5 or not words[3].isdigit():
        return False if words else None
    lowest = next(number for number in range(len(taken) + 1) if number not in taken)
    return lowest >= int(words[3])


def free_descriptors(pid: int, mark: str) -> bool:
    """Raise that very process's soft limit of descriptors to its hard one. False where that cannot be done."""
    if is_gone(pid, mark) or not hasattr(resource, "prlimit"):
        return False
    try:
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        return False
    return True


def _stat(pid: int) -> list[str] | None:
    """/proc/<pid>/stat after the command name, which may itself hold spaces and brackets."""
    return _fields(Path(f"/proc/{pid}/stat"))


def _fields(path: Path) -> list[str] | None:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    return text[text.rindex(")") + 2 :].split()
