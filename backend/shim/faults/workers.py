"""Faults that are processes of the shim: burning processors, filling memory.

Owns the forked children: they hold no descriptor of the shim and die with it. A child is a copy of the shim, so what
it holds is measured from what the shim had when it was made.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from backend.shim import spawn
from backend.shim.faults.held import Counted, FaultError, HeldFault, Surroundings, in_pieces
from backend.shim.memory import resident_bytes
from backend.shim.record import start_ticks
from backend.shim.threads import run_ns, status_number

MIN_FREE_SHARE: Final = 0.10
"""Of the machine's memory: less than this is never left to the others."""
MAX_CORES: Final = 1024
_BURN_SLICE_S: Final = 0.01
_SHOWN_NS: Final = 2_000_000
_PIECE_BYTES: Final = 4 * 1024 * 1024
_ENOUGH: Final = 0.95
"""Of the wanted bytes resident: the rest is rounding."""


class Worker:
    """One forked child."""

    def __init__(self, work: Callable[[], None], nice: int, before: Callable[[], None] | None = None) -> None:
        self.base_bytes = anonymous_bytes(os.getpid()) or 0
        self.pid = spawn.fork_worker(work, nice, before)
        self._start = start_ticks(self.pid)

    def alive(self) -> bool:
        return self._start is not None and start_ticks(self.pid) == self._start

    def end(self) -> None:
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def held_bytes(self) -> int:
        """Anonymous memory resident beyond what it was born with."""
        return max(0, (anonymous_bytes(self.pid) or 0) - self.base_bytes)


def anonymous_bytes(pid: int) -> int | None:
    """Resident memory that is no file's; null when the process is gone."""
    kib = status_number(pid, pid, "RssAnon")
    return None if kib is None else kib * 1024


def machine_memory() -> tuple[int, int]:
    """Bytes in all, and bytes available without swapping."""
    words = {line.split(":")[0]: line.split() for line in Path("/proc/meminfo").read_text().splitlines()}
    return int(words["MemTotal"][1]) * 1024, int(words["MemAvailable"][1]) * 1024


def check_room(need_bytes: int, total_bytes: int, available_bytes: int) -> None:
    """Raises FaultError when that many bytes more would leave the machine less than a tenth. Pure."""
    if available_bytes - need_bytes < MIN_FREE_SHARE * total_bytes:
        raise FaultError(
            f"{need_bytes >> 20} MiB more would leave this machine less than {MIN_FREE_SHARE:.0%} of its memory "
            f"({available_bytes >> 20} of {total_bytes >> 20} MiB are available)."
        )


def burn(share: float) -> None:
    """Keep one processor busy for that share of the time, for ever."""
    while True:
        until = time.perf_counter() + _BURN_SLICE_S * share
        while time.perf_counter() < until:
            pass
        if share < 1.0:
            time.sleep(_BURN_SLICE_S * (1.0 - share))


def fill(size_bytes: int, piece_bytes: int, pause_s: float) -> None:
    """Take and touch that much memory piece by piece, then hold it for ever."""
    # The first to go, should the kernel run out of memory itself.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    held = []
    for piece in in_pieces(size_bytes, piece_bytes):
        block = mmap.mmap(-1, piece, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        block.write(b"\x01" * piece)
        held.append(block)
        if pause_s:
            time.sleep(pause_s)
    while True:
        signal.pause()


class _Workers(HeldFault):
    """What faults made of children share."""

    alone = False

    def __init__(self, around: Surroundings) -> None:
        super().__init__()
        self._around = around
        self._workers: list[Worker] = []

    def undo(self) -> None:
        for worker in self._workers:
            worker.end()

    def undone(self) -> bool:
        return not any(worker.alive() for worker in self._workers)

    def _all_alive(self) -> bool:
        return bool(self._workers) and all(worker.alive() for worker in self._workers)


class BusyProcessors(_Workers):
    """`burn-cpu`: `cores` busy loops at the program's own nice value; a broken number is one part-time loop more."""

    def __init__(self, around: Surroundings, cores: float) -> None:
        super().__init__(around)
        self._cores = cores

    def inject(self) -> None:
        if not 0 < self._cores <= MAX_CORES:
            raise FaultError(f"cores is {self._cores:g}, it must be more than 0 and at most {MAX_CORES}.")
        whole = math.floor(self._cores)
        shares = [1.0] * whole + ([self._cores - whole] if self._cores > whole else [])
        for share in shares:
            self._workers.append(Worker(partial(burn, share), self._around.nice))

    def active(self) -> bool:
        spent = [run_ns(worker.pid, worker.pid) or 0 for worker in self._workers]
        self.affected = len(self._workers)
        self.detail = f"{len(spent)} busy processes, {sum(spent) / 1e9:.1f} s of processor time so far"
        return self._all_alive() and min(spent) >= _SHOWN_NS


class FilledMemory(_Workers):
    """`fill-memory`: one child holds `size_bytes`."""

    settle_s = 10.0

    def __init__(self, around: Surroundings, size_bytes: int) -> None:
        super().__init__(around)
        self._size = size_bytes

    def inject(self) -> None:
        if self._size <= 0:
            raise FaultError("size_bytes must be more than 0.")
        check_room(self._size, *machine_memory())
        self._workers.append(Worker(lambda: fill(self._size, _PIECE_BYTES, 0.0), self._around.nice))

    def active(self) -> bool:
        held = self._workers[0].held_bytes() if self._workers else 0
        self.affected = len(self._workers)
        self.detail = f"{held >> 20} MiB held"
        return self._all_alive() and held >= _ENOUGH * self._size


class ExhaustedMemory(_Workers):
    """`exhaust-memory`: a child whose memory counts as the program's takes more and more, until the limit ends it."""

    alone = True

    def inject(self) -> None:
        program, limit = self._around.running(), self._around.memory_limit_bytes
        if limit is None:
            raise FaultError("The program has no memory limit: it would be the machine that runs out.")
        check_room(max(0, limit - resident_bytes([program.pid])), *machine_memory())
        self.pid = program.pid
        self._workers.append(self._hog(program, limit))
        program.count(self._workers[0].pid)

    def active(self) -> bool:
        held = self._workers[0].held_bytes() if self._workers else 0
        self.affected = len(self._workers)
        self.detail = f"{held >> 20} MiB counted to the program"
        return self._all_alive() and held > 0

    def _hog(self, program: Counted, limit_bytes: int) -> Worker:
        # In a second or so: the shim's watch looks ten times a second, and what it can overshoot stays small.
        piece = max(256 * 1024, limit_bytes // 100)
        size = limit_bytes + limit_bytes // 5
        return Worker(lambda: fill(size, piece, 0.01), self._around.nice, program.join_cgroup)
