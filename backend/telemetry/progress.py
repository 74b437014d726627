"""The engine's pulse: what the progress watchdog looks at, far more often than metrics are written down.

Owns fast questions to `/metrics` of replicas with work in flight, one under way per replica, and the reading of
their processor time from /proc. Judges nothing. An engine that answers `/metrics` from its main loop (llama.cpp) and
does not answer makes no step; threads that neither ran nor wait for a processor compute nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import msgspec

from backend.contract.clock import Clock
from backend.contract.fleet import EngineKind, ReplicaStatus
from backend.contract.pulse import EnginePulse
from backend.probes.http_get import NotHttp, http_get
from backend.shim.threads import run_ns, thread_ids, thread_state
from backend.telemetry.engine_names import EngineMetric, read_values
from backend.telemetry.exposition import parse

ASK_EVERY_S: Final = 0.15
ANSWER_WITHIN_S: Final = 5.0
"""Then the question is put again: an answer after it is as good as none."""
_MAX_BODY: Final = 256 * 1024
ONE_PROCESS: Final[frozenset[EngineKind]] = frozenset({"llamacpp", "embedding"})
"""Engines whose work is done by threads of the replica's own process. Others (workers, a graphics processor) work
while these sleep, so their processor time says nothing."""
_COMPUTES: Final = 0.25
"""A thread with this share of the busiest thread's processor time computes."""


class _Asked:
    """One replica under watch."""

    __slots__ = ("answers", "engine", "pending", "pid", "progress", "task")

    def __init__(self, status: ReplicaStatus, engine: EngineKind) -> None:
        self.pid, self.engine = status.pid, engine
        self.answers = 0
        self.progress: float | None = None
        self.pending: bool | None = None
        self.task: asyncio.Task[None] | None = None


class PulseTaker:
    """Takes pulses on one event loop. A replica is asked from its first `pulse` on, until `keep` leaves it out."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._asked: dict[str, _Asked] = {}

    def pulse(self, status: ReplicaStatus, engine: EngineKind) -> EnginePulse | None:
        """The newest of it; null where it has no process, or none of which anything can be known."""
        if status.pid is None or status.port is None or engine == "none":
            return None
        asked = self._asked.get(status.name)
        if asked is None or asked.pid != status.pid:
            self._forget(status.name)
            asked = self._asked[status.name] = _Asked(status, engine)
            asked.task = asyncio.create_task(self._ask(status.host, status.port, asked), name=f"pulse {status.name}")
        pulse = EnginePulse(pid=status.pid, answers=asked.answers, progress=asked.progress, pending=asked.pending)
        return with_threads(pulse, read_threads(status.pid)) if engine in ONE_PROCESS else pulse

    def keep(self, replicas: frozenset[str]) -> None:
        """Ask nobody else any more."""
        for name in [name for name in self._asked if name not in replicas]:
            self._forget(name)

    async def close(self) -> None:
        """End what is under way."""
        tasks = [asked.task for asked in self._asked.values() if asked.task is not None]
        self.keep(frozenset())
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget(self, name: str) -> None:
        asked = self._asked.pop(name, None)
        if asked is not None and asked.task is not None:
            asked.task.cancel()

    async def _ask(self, host: str, port: int, asked: _Asked) -> None:
        while True:
            try:
                answer = await http_get(host, port, "/metrics", timeout_s=ANSWER_WITHIN_S, max_body_bytes=_MAX_BODY)
            except (OSError, TimeoutError, NotHttp):
                await asyncio.sleep(ASK_EVERY_S)
                continue
            if answer.status == 200:
                values = read_values(asked.engine, parse(answer.body.decode("utf-8", "replace")))
                asked.progress = values.get(EngineMetric.PROGRESS)
                work = values.get(EngineMetric.PENDING, values.get(EngineMetric.RUNNING))
                asked.pending = None if work is None else work > 0
                asked.answers += 1
            await asyncio.sleep(ASK_EVERY_S)


class ThreadUse(msgspec.Struct, frozen=True):
    """One thread: its processor time so far, and its state as ps prints it."""

    run_s: float
    state: str


def read_threads(pid: int) -> Mapping[int, ThreadUse]:
    """The threads of a process; empty where nothing can be read. About 20 µs a thread."""
    found: dict[int, ThreadUse] = {}
    for tid in thread_ids(pid):
        ran, state = run_ns(pid, tid), thread_state(pid, tid)
        if ran is not None and state is not None:
            found[tid] = ThreadUse(ran * 1e-9, state)
    return found


def with_threads(pulse: EnginePulse, threads: Mapping[int, ThreadUse]) -> EnginePulse:
    """The pulse with what the threads say; unchanged where there are none to be seen."""
    if not threads:
        return pulse
    busiest = max(thread.run_s for thread in threads.values())
    states = {thread.state for thread in threads.values() if thread.run_s >= _COMPUTES * busiest}
    return msgspec.structs.replace(
        pulse,
        cpu_s=sum(thread.run_s for thread in threads.values()),
        runnable=bool(states & {"R", "D"}),
        halted=bool(states & {"T", "t"}),
    )
