"""The engine hangs behind a live API: one thread of the program is held by ptrace, the others go on.

Owns choosing the thread (the busiest one) and tracing it. The tracer is the shim's only thread, the program's parent,
which is allowed under the usual restriction of ptrace to descendants; when it dies, the kernel frees the thread.
A thread of an interpreter may be held while it has the interpreter's lock: then the whole program hangs.
"""

from __future__ import annotations

import ctypes
import errno
import os
from typing import Final

from backend.shim.faults.held import FaultError, HeldFault, Surroundings
from backend.shim.threads import run_ns, status_number, thread_ids, thread_name, thread_state

WATCH_S: Final = 0.15
"""How long the threads are watched before one is chosen."""
BUSY_SHARE: Final = 0.1
"""Of that time on a processor: less is no engine at work."""
HEALTH_THREAD: Final = "health"
"""The name our programs give the thread that answers their health endpoints (see backend/serving/health)."""
_SEIZE: Final = 0x4206
_INTERRUPT: Final = 0x4207
_DETACH: Final = 17
_EVENT_STOP: Final = 128
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def by_busyness(before: dict[int, int], after: dict[int, int], watched_s: float) -> list[int]:
    """Thread ids, the likeliest engine first, from the processor time (ns) each had at two looks. Pure.

    The busiest one between the looks; where none was busy (an idle replica), what each ever had decides: an engine's
    thread has computed more than those that only pass requests on.
    """
    spent = {tid: after[tid] - before.get(tid, 0) for tid in after}
    if max(spent.values(), default=0) < BUSY_SHARE * watched_s * 1e9:
        return sorted(after, key=lambda tid: after[tid], reverse=True)
    return sorted(after, key=lambda tid: (spent[tid], after[tid]), reverse=True)


class FrozenEngine(HeldFault):
    """`freeze-engine`: the busiest thread beside the main one and the health thread is in state t."""

    def __init__(self, around: Surroundings) -> None:
        super().__init__()
        self._around = around
        self._before: dict[int, int] = {}
        self._choose_at = 0.0
        self._tid: int | None = None
        self._cancelled = False
        self._signal = 0

    def inject(self) -> None:
        self.pid = self._around.running().pid
        self._before = self._times()
        if not self._before:
            raise FaultError("The program has no thread beside its main one: nothing would be left to answer.")
        self._choose_at = self._around.mono() + WATCH_S

    def step(self) -> None:
        now_s = self._around.mono()
        if self._tid is not None or self._cancelled or now_s < self._choose_at:
            return
        after = self._times()
        watched_s = WATCH_S + now_s - self._choose_at
        for tid in by_busyness(self._before, after, watched_s):
            if self._seize(tid):
                share = (after[tid] - self._before.get(tid, 0)) / 1e9 / watched_s
                self.detail = f"thread {tid} ({thread_name(self.pid or 0, tid)}), {share:.0%} of a core before"
                return
        raise FaultError("Its threads ended before one could be held.")

    def active(self) -> bool:
        held = self._tid is not None and self._is_traced() and thread_state(self.pid or 0, self._tid) == "t"
        if held:
            self.affected = 1
        return held

    def undo(self) -> None:
        self._cancelled = True
        if self._tid is not None and self._is_traced():
            # Refused with ESRCH while the thread has not come to its stop yet: asked again until `undone`.
            _libc.ptrace(_DETACH, self._tid, None, self._signal)

    def undone(self) -> bool:
        return self._tid is None or not self._is_traced()

    def stopped(self, tid: int, status: int) -> None:
        """The kernel reports a stop of a thread that is traced."""
        if tid == self._tid and status >> 16 != _EVENT_STOP:
            self._signal = os.WSTOPSIG(status)  # it was about to get that signal: it must, when it goes on

    def _times(self) -> dict[int, int]:
        pid = self.pid or 0
        spent = {
            tid: run_ns(pid, tid) for tid in thread_ids(pid) if tid != pid and thread_name(pid, tid) != HEALTH_THREAD
        }
        return {tid: ns for tid, ns in spent.items() if ns is not None}

    def _seize(self, tid: int) -> bool:
        """Hold that thread. False when it is gone; raises FaultError when that is not allowed."""
        if _libc.ptrace(_SEIZE, tid, None, None) != 0:
            number = ctypes.get_errno()
            if number == errno.ESRCH:
                return False
            raise FaultError(f"Its threads cannot be held: {os.strerror(number)}.")
        self._tid = tid
        _libc.ptrace(_INTERRUPT, tid, None, None)
        return True

    def _is_traced(self) -> bool:
        return status_number(self.pid or 0, self._tid or 0, "TracerPid") == os.getpid()
