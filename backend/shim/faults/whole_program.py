"""Faults of the whole program: stopped, or without a free descriptor.

Owns SIGSTOP and SIGCONT, and the soft limit of open files.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from pathlib import Path

from backend.shim.faults.held import FaultError, HeldFault, Surroundings
from backend.shim.record import start_ticks
from backend.shim.threads import thread_ids, thread_state


def all_stopped(pid: int) -> bool:
    """Whether no thread of the process runs any more (those held by a tracer do not run either)."""
    states = [thread_state(pid, tid) for tid in thread_ids(pid)]
    return "T" in states and all(state in ("T", "t", "Z", "X", None) for state in states)


def any_stopped(pid: int) -> bool:
    """Whether a stop signal holds any thread of the process."""
    return any(thread_state(pid, tid) == "T" for tid in thread_ids(pid))


class StoppedProgram(HeldFault):
    """`stop`: SIGSTOP; every thread is in state T."""

    def __init__(self, around: Surroundings) -> None:
        super().__init__()
        self._around = around

    def inject(self) -> None:
        pid = self._around.running().pid
        if any_stopped(pid):
            raise FaultError(f"The program (pid {pid}) is stopped already, by somebody else.")
        self.pid = pid
        os.kill(pid, signal.SIGSTOP)

    def active(self) -> bool:
        stopped = self.pid is not None and all_stopped(self.pid)
        if stopped and self.pid is not None:
            self.affected = len(thread_ids(self.pid))
            self.detail = f"all {self.affected} threads of pid {self.pid} are in state T"
        return stopped

    def undo(self) -> None:
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGCONT)

    def undone(self) -> bool:
        return self.pid is None or not any_stopped(self.pid)


def first_free_descriptor(pid: int) -> int:
    """The lowest number a process could open next. Raises OSError when it is gone."""
    used = {int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    return next(number for number in range(len(used) + 1) if number not in used)


def soft_file_limit(pid: int) -> int | None:
    """The soft limit of open files of a process as /proc tells it; null when it is gone, -1 for no limit."""
    try:
        lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    except OSError:
        return None
    value = next(line.split()[3] for line in lines if line.startswith("Max open files"))
    return -1 if value == "unlimited" else int(value)


class NoDescriptors(HeldFault):
    """`exhaust-descriptors`: the soft limit is the lowest free number, so that what is open stays and nothing more is.

    A descriptor below it that the program closes can be opened again, as on a machine that has really run out.
    """

    def __init__(self, around: Surroundings) -> None:
        super().__init__()
        self._around = around
        self._before = (0, 0)
        self._limit = -1

    def inject(self) -> None:
        pid = self._around.running().pid
        try:
            self._limit = first_free_descriptor(pid)
            _, hard = self._before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (self._limit, hard))
        except OSError as error:
            raise FaultError(f"The limits of pid {pid} cannot be set: {error.strerror}.") from error
        self.pid = pid

    def active(self) -> bool:
        bounded = self.pid is not None and soft_file_limit(self.pid) == self._limit
        if bounded:
            self.affected = 1
            self.detail = f"pid {self.pid} may open nothing above descriptor {self._limit - 1}"
        return bounded

    def undo(self) -> None:
        if self.pid is None or start_ticks(self.pid) is None or soft_file_limit(self.pid) != self._limit:
            return  # gone, undone, or set to something else by somebody who meant it
        with contextlib.suppress(OSError):  # it went meanwhile; else `undone` says so
            resource.prlimit(self.pid, resource.RLIMIT_NOFILE, self._before)

    def undone(self) -> bool:
        return self.pid is None or soft_file_limit(self.pid) != self._limit or self._before[0] == self._limit
