"""Why a process ended, in one phrase for people. Pure."""

from __future__ import annotations

import re
import signal
from typing import Final

from backend.contract.fleet import ExitRecord

_MAX_CHARS: Final = 200
_COMPLAINT: Final = re.compile(
    r"error|fail|fatal|invalid|cannot|can't|could not|unable|denied|no such|not found|missing|abort|panic|exception"
    r"|out of memory|in use|corrupt|unsupported|unrecognized|exiting",
    re.IGNORECASE,
)
_STAMP: Final = re.compile(r"^[0-9.]+ [A-Z] +(?=\S)")
"""llama.cpp's: `0.00.045.892 E llama_model_load: ...`."""
_TRACEBACK: Final = "Traceback (most recent call last):"


def cause_line(lines: tuple[str, ...]) -> str:
    """The line that says why: the end of a traceback, else the first of the last run of complaints, else the last.

    Engines print the root of a failure first and ever more general complaints after it, with at most one other line
    between them. Their clock and level are left out.
    """
    said = [_STAMP.sub("", line.strip()) for line in lines if line.strip()]
    if not said:
        return ""
    complaints = [index for index, line in enumerate(said) if _COMPLAINT.search(line)]
    if _TRACEBACK in said or not complaints:
        return said[-1][:_MAX_CHARS]
    first = complaints[-1]
    while near := {first - 1, first - 2}.intersection(complaints):
        first = min(near)
    return said[first][:_MAX_CHARS]


def exit_phrase(record: ExitRecord) -> str:
    """`OOMKilled`, `killed by SIGKILL`, `exit code 1: <its own words>`."""
    if record.reason in ("OOMKilled", "LivenessFailed", "StartupFailed", "Stopped", "Completed"):
        return record.reason
    if record.signal is not None:
        try:
            name = signal.Signals(record.signal).name
        except ValueError:
            name = f"signal {record.signal}"
        return f"killed by {name}"
    line = cause_line(record.last_lines)
    if record.code is None:
        return line or record.reason
    return f"exit code {record.code}" + (f": {line}" if line else "")
