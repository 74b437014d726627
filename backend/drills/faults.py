"""The faults: how each is injected, proven, taken away. A registry, so that further faults only add an entry.

Effects on processes go through the host's gateway; only the undo of a stop also works on the bare process.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import msgspec

from backend.contract.clock import Clock
from backend.contract.errors import TrinityError
from backend.contract.words import Phase
from backend.drills import processes
from backend.drills.ports import DrillHost
from backend.drills.scenario import Injection
from backend.drills.undo_log import Undo, UndoKind

VERIFY_TIMEOUT_S = 3.0
RESPAWN_TIMEOUT_S = 15.0
UNDO_TIMEOUT_S = 2.0
READY_TIMEOUT_S = 60.0


class Victim(msgspec.Struct, frozen=True, kw_only=True):
    """The process a fault is for, pinned by pid and start mark."""

    run_id: str
    workload: str
    replica: str
    pid: int
    mark: str
    host: str
    port: int | None


class Proof(msgspec.Struct, frozen=True):
    """What a verify step found, and when (monotonic seconds)."""

    step: str
    ok: bool
    at_s: float
    text: str


class Fault(Protocol):
    """One kind of fault."""

    def undo_kind(self, injection: Injection) -> UndoKind: ...

    async def inject(self, host: DrillHost, injection: Injection, victim: Victim) -> None: ...


class ProcessKill:
    """Ends the replica's process by a signal; held, supervision may not restart it until healed."""

    def undo_kind(self, injection: Injection) -> UndoKind:
        return "release-hold" if injection.respawn == "held" else "await-ready"

    async def inject(self, host: DrillHost, injection: Injection, victim: Victim) -> None:
        if injection.respawn == "held":
            await host.hold(victim.run_id, victim.replica, held=True)
        await host.signal(victim.run_id, victim.replica, signal.Signals[f"SIG{injection.signal}"])


class ProcessStop:
    """SIGSTOP: the process is there, its sockets are open, nothing moves."""

    def undo_kind(self, injection: Injection) -> UndoKind:
        return "resume"

    async def inject(self, host: DrillHost, injection: Injection, victim: Victim) -> None:
        await host.signal(victim.run_id, victim.replica, signal.SIGSTOP)


FAULTS: Mapping[str, Fault] = {"process.kill": ProcessKill(), "process.stop": ProcessStop()}


async def verify(step: str, host: DrillHost, victim: Victim, clock: Clock) -> Proof:
    """Wait for the proof that a fault took effect; not ok when it does not come in time."""
    return await _VERIFIERS[step](host, victim, clock)


async def _until(clock: Clock, timeout_s: float, period_s: float, true: Callable[[], bool]) -> float | None:
    """The instant `true` first held, or None after the timeout."""
    end = clock.mono() + timeout_s
    while True:
        if true():
            return clock.mono()
        if clock.mono() >= end:
            return None
        await asyncio.sleep(period_s)


async def _pid_gone(host: DrillHost, victim: Victim, clock: Clock) -> Proof:
    at = await _until(clock, VERIFY_TIMEOUT_S, 0.001, lambda: processes.is_gone(victim.pid, victim.mark))
    return _proof("pid_gone", at, clock, f"process {victim.pid} has ended", f"process {victim.pid} still runs")


async def _proc_state_t(host: DrillHost, victim: Victim, clock: Clock) -> Proof:
    def stopped() -> bool:
        return processes.start_mark(victim.pid) == victim.mark and processes.state(victim.pid) in ("T", "t")

    at = await _until(clock, VERIFY_TIMEOUT_S, 0.001, stopped)
    seen = processes.state(victim.pid)
    return _proof("proc_state_T", at, clock, f"process {victim.pid} is in state T", f"its state is {seen}")


async def _port_closed(host: DrillHost, victim: Victim, clock: Clock) -> Proof:
    end = clock.mono() + VERIFY_TIMEOUT_S
    where = f"{victim.host}:{victim.port}"
    while clock.mono() < end:
        if victim.port is None:
            break
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(victim.host, victim.port), 0.5)
        except (ConnectionError, TimeoutError) as error:
            if isinstance(error, ConnectionRefusedError):
                return Proof("port_closed", True, clock.mono(), f"{where} refuses connections")
        else:
            writer.close()
        await asyncio.sleep(0.005)
    return Proof("port_closed", False, clock.mono(), f"{where} never refused a connection")


async def _respawned(host: DrillHost, victim: Victim, clock: Clock) -> Proof:
    def replaced() -> bool:
        return any(
            r.name == victim.replica and r.pid is not None and r.pid != victim.pid
            for r in host.replicas(victim.workload)
        )

    at = await _until(clock, RESPAWN_TIMEOUT_S, 0.01, replaced)
    return _proof("respawned", at, clock, f"{victim.replica} has a new process", f"{victim.replica} got no new process")


def _proof(step: str, at: float | None, clock: Clock, good: str, bad: str) -> Proof:
    return Proof(step, at is not None, clock.mono() if at is None else at, bad if at is None else good)


_VERIFIERS: Mapping[str, Callable[[DrillHost, Victim, Clock], Awaitable[Proof]]] = {
    "pid_gone": _pid_gone,
    "proc_state_T": _proc_state_t,
    "port_closed": _port_closed,
    "respawned": _respawned,
}


class UndoAttempt(msgspec.Struct, frozen=True):
    """How an undo by the daemon went. `issued` false means it could not even be tried."""

    issued: bool
    verified: bool
    detail: str


async def take_away(host: DrillHost, undo: Undo, clock: Clock) -> UndoAttempt:
    """Undo one fault with the daemon's means, and prove that it is gone. Never raises TrinityError or OSError."""
    try:
        if undo.kind == "resume":
            return await _resume(undo, clock)
        if undo.kind == "release-hold":
            await host.hold(undo.run_id, undo.replica, held=False)
            return UndoAttempt(True, True, "the hold is released")
        return UndoAttempt(True, True, "nothing was held back")
    except (TrinityError, OSError) as error:
        return UndoAttempt(False, False, str(error))


async def _resume(undo: Undo, clock: Clock) -> UndoAttempt:
    if not processes.resume(undo.pid, undo.mark):
        return UndoAttempt(True, True, f"process {undo.pid} has ended")

    def moving() -> bool:
        return processes.is_gone(undo.pid, undo.mark) or processes.state(undo.pid) not in ("T", "t")

    at = await _until(clock, UNDO_TIMEOUT_S, 0.001, moving)
    return UndoAttempt(True, at is not None, f"process {undo.pid} " + ("runs again" if at else "is still stopped"))


async def wait_ready(host: DrillHost, undo: Undo, clock: Clock) -> bool:
    """Whether the victim becomes Ready (its pool's proof that a kill is healed). A replica scaled away counts too."""

    def ready() -> bool:
        found = [r for r in host.replicas(undo.workload) if r.name == undo.replica]
        return not found or found[0].phase == Phase.READY

    return await _until(clock, READY_TIMEOUT_S, 0.02, ready) is not None
