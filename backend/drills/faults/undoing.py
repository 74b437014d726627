"""Taking faults away with the daemon's means, each proven; where those fail, straight at the holder or the process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from backend.contract.clock import Clock
from backend.contract.errors import TrinityError
from backend.contract.words import Phase, Verb
from backend.drills import direct, processes
from backend.drills.faults.waiting import until
from backend.drills.ports import DaemonKiller, DrillHost
from backend.drills.undo_log import Undo, UndoKind

UNDO_TIMEOUT_S = 2.0
HEAL_TIMEOUT_S = 0.4
"""For the daemon's own way to a holder; after it the direct way gets its turn, so that both fit into a second."""
GATEWAY_TIMEOUT_S = 5.0
SLOW_TIMEOUT_S = 60.0
READY_TIMEOUT_S = 60.0
SLOW_KINDS = frozenset[UndoKind]({"rescale", "await-edge", "await-daemon", "unsplice", "uncordon"})
"""Undos that take their time and hold no fault in place; an abort issues them and does not wait."""


class UndoAttempt(msgspec.Struct, frozen=True):
    """How an undo by the daemon went. `issued` false means it could not even be tried."""

    issued: bool
    verified: bool
    detail: str
    expired: bool = False
    """The holder had taken it away by its own time limit before."""


async def take_away(host: DrillHost, undo: Undo, clock: Clock) -> UndoAttempt:
    """Undo one fault and prove that it is gone. Never raises TrinityError, OSError or TimeoutError."""
    try:
        return await WAYS[undo.kind](host, undo, clock)
    except (TrinityError, OSError) as error:
        return UndoAttempt(False, False, str(error))


async def _resume(host: DrillHost, undo: Undo, clock: Clock) -> UndoAttempt:
    if not processes.resume(undo.pid, undo.mark):
        return UndoAttempt(True, True, f"process {undo.pid} has ended")
    at = await until(clock, UNDO_TIMEOUT_S, 0.001, lambda: not processes.is_stopped(undo.pid, undo.mark))
    return UndoAttempt(True, at is not None, f"process {undo.pid} " + ("runs again" if at else "is still stopped"))


async def _holder(host: DrillHost, undo: Undo, clock: Clock) -> UndoAttempt:
    """The gateway first (so that the action is on record), the direct way where that fails; the kernel has the word."""
    assert undo.holder is not None
    try:
        async with asyncio.timeout(HEAL_TIMEOUT_S):
            report = await host.heal(undo.run_id, undo.replica, undo.holder.kind, undo.fault_id)
            active = report is not None and report.active
            if not active:
                reports = await host.fault_reports(undo.replica, undo.holder.kind)
                active = any(r.id == undo.fault_id and r.active for r in reports)
        ended_by = report.ended_by if report is not None else ""
        why = f"its holder still has it on {undo.replica}"
    except (TrinityError, OSError) as error:
        active, ended_by, why = True, "", str(error) or type(error).__name__
    if not active:
        at = await until(clock, HEAL_TIMEOUT_S, 0.002, lambda: not direct.still_in_kernel(undo))
        if at is not None:
            said = {"ttl": "its time limit had taken it away", "gone": "what it was for has ended"}.get(ended_by, "")
            return UndoAttempt(True, True, said or f"{undo.replica}: healed", ended_by == "ttl")
        why = f"process {undo.pid} still shows it"
    attempt = await asyncio.to_thread(direct.take_away, undo)
    return UndoAttempt(True, attempt.gone, f"{why}; {attempt.detail}")


async def _release(host: DrillHost, undo: Undo, clock: Clock) -> UndoAttempt:
    async with asyncio.timeout(GATEWAY_TIMEOUT_S):
        await host.hold(undo.run_id, undo.replica, held=False)
    return UndoAttempt(True, True, "the hold is released")


async def _start(host: DrillHost, undo: Undo, clock: Clock) -> UndoAttempt:
    async with asyncio.timeout(GATEWAY_TIMEOUT_S):
        await host.start_fault(undo.run_id, undo.replica, None)
    return UndoAttempt(True, True, "starts are as they should be")


async def _rescale(host: DrillHost, undo: Undo, clock: Clock) -> UndoAttempt:
    assert undo.replicas is not None
    async with asyncio.timeout(SLOW_TIMEOUT_S):
        row = await host.act(undo.run_id, Verb.SCALE, undo.workload, {"replicas": undo.replicas})
    return UndoAttempt(True, True, row.result or f"{undo.replicas} replicas are wanted again")


async def _await_edge(host: DrillHost, undo: Undo, clock: Clock) -> UndoAttempt:
    at = await until(clock, GATEWAY_TIMEOUT_S, 0.02, lambda: host.edge().up)
    return UndoAttempt(True, at is not None, "the edge " + ("serves" if at else "does not answer"))


async def _await_daemon(host: DrillHost, undo: Undo, clock: Clock) -> UndoAttempt:
    if not isinstance(host, DaemonKiller):
        return UndoAttempt(True, True, "a daemon runs: the one that says so")
    pid = await host.await_daemon(SLOW_TIMEOUT_S)
    return UndoAttempt(True, True, f"daemon {pid} answers")


async def _unsplice(host: DrillHost, undo: Undo, clock: Clock) -> UndoAttempt:
    async with asyncio.timeout(SLOW_TIMEOUT_S):
        await host.unsplice(undo.run_id, undo.workload)
    return UndoAttempt(True, True, "no fault proxy is left")


async def _uncordon(host: DrillHost, undo: Undo, clock: Clock) -> UndoAttempt:
    async with asyncio.timeout(SLOW_TIMEOUT_S):
        row = await host.act(undo.run_id, Verb.UNCORDON, undo.node, {})
    return UndoAttempt(True, True, row.result or f"{undo.node} takes replicas again")


async def _nothing(host: DrillHost, undo: Undo, clock: Clock) -> UndoAttempt:
    return UndoAttempt(True, True, "nothing was held back")


WAYS: Mapping[UndoKind, Callable[[DrillHost, Undo, Clock], Awaitable[UndoAttempt]]] = {
    "resume": _resume,
    "holder": _holder,
    "release-hold": _release,
    "start-fault": _start,
    "rescale": _rescale,
    "await-edge": _await_edge,
    "await-daemon": _await_daemon,
    "await-ready": _nothing,
    "unsplice": _unsplice,
    "uncordon": _uncordon,
    "nothing": _nothing,
}


async def wait_ready(host: DrillHost, undo: Undo, clock: Clock) -> bool:
    """Whether the victim becomes Ready (its pool's proof that a fault is healed): its replica, or all of the workload
    for faults that have no one victim. A replica scaled away counts too."""

    def ready() -> bool:
        replicas = host.replicas(undo.workload)
        # Where a platform has made another in its place, all of them are looked at.
        found = [r for r in replicas if undo.replica in ("", r.name)] or replicas
        return all(replica.phase == Phase.READY for replica in found)

    return await until(clock, READY_TIMEOUT_S, 0.02, ready) is not None
