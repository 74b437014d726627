"""One running program of a shim: its pid, its pipes, its memory watch, and how it ended.

Owns what belongs to one start. Never starts or restarts anything.
"""

from __future__ import annotations

import os
import resource
import selectors
import signal
from typing import Final

from backend.contract.clock import Clock
from backend.contract.fleet import ExitRecord
from backend.contract.shim import ShimSpec
from backend.shim.memory import MemoryCgroup, ResidentWatch
from backend.shim.output import LogWriter, OutputTail, Pump
from backend.shim.record import start_ticks
from backend.shim.spawn import Started

_ASKED_TO_DIE: Final = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})


class Child:
    """A started program, until it was reaped and its output drained."""

    def __init__(
        self,
        started: Started,
        spec: ShimSpec,
        writer: LogWriter,
        selector: selectors.BaseSelector,
        clock: Clock,
        cgroup: MemoryCgroup | None,
    ) -> None:
        self.pid = started.pid
        self.start_ticks = start_ticks(started.pid)
        self.started_ts, self.started_mono = clock.now(), clock.mono()
        self.reason: str | None = None
        """Why we ended it, if we did."""
        self._clock, self._selector, self._cgroup = clock, selector, cgroup
        self._tail = OutputTail()
        self._pumps = [
            Pump(started.stdout, "stdout", writer, self._tail),
            Pump(started.stderr, "stderr", writer, self._tail),
        ]
        for pump in self._pumps:
            selector.register(pump.fd, selectors.EVENT_READ, lambda _mask, pump=pump: self._pump(pump))
        limit = spec.memory_limit_bytes
        self._watch = ResidentWatch(self.pid, limit) if limit is not None else None

    def signal_group(self, number: int) -> None:
        """Signal the program and what it started; gone is fine."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return

    def count(self, pid: int) -> None:
        """Count that process's memory as the program's."""
        if self._watch is not None:
            self._watch.count(pid)

    def join_cgroup(self) -> None:
        """Move the calling process to where the program's memory is limited, if it has such a place."""
        if self._cgroup is not None:
            self._cgroup.join()

    def check_memory(self) -> None:
        """End the program if it is over its limit."""
        if self._watch is not None and self.reason is None and self._watch.exceeded(self._clock.mono()):
            self.reason = "OOMKilled"
            self.signal_group(signal.SIGKILL)

    def ended(self, status: int, usage: resource.struct_rusage) -> ExitRecord:
        """Take the last output, end leftovers of its group, and say how it went. After it was reaped."""
        self.signal_group(signal.SIGKILL)
        for pump in list(self._pumps):
            self._selector.unregister(pump.fd)
            pump.drain()
            os.close(pump.fd)
        self._pumps.clear()
        code = os.waitstatus_to_exitcode(status)
        reason = self.reason or _reason(code)
        if self._cgroup is not None:
            if self.reason is None and self._cgroup.killed_by_kernel():
                reason = "OOMKilled"
            self._cgroup.remove()
        return ExitRecord(
            ts=self._clock.now(),
            mono_s=self._clock.mono(),
            code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            reason=reason,
            pid=self.pid,
            max_rss_bytes=usage.ru_maxrss * 1024,
            last_lines=self._tail.lines(),
        )

    def _pump(self, pump: Pump) -> None:
        if not pump.read():
            self._selector.unregister(pump.fd)
            self._pumps.remove(pump)
            os.close(pump.fd)


def _reason(code: int) -> str:
    if code == 0:
        return "Completed"
    return "Killed" if -code in _ASKED_TO_DIE else "Error"
