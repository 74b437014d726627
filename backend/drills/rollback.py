"""Taking a run's faults away: last in first out, each on its own clock, going on after failures, proven and logged."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec

from backend.contract.clock import Clock
from backend.contract.errors import Refused
from backend.contract.words import Phase
from backend.drills import faults, undo_log
from backend.drills.ports import DrillHost
from backend.drills.records import UndoSummary
from backend.drills.undo_log import Undo
from backend.drills.watch import Watch

STEP_S = 0.1
"""How long the next undo waits for the one before it: order where it is quick, no hostage where one hangs."""
CANCEL_S = 0.1
HEAL_FOR_S = 5.0
"""So long a phase tries to take its fault away: a holder that stood still for a moment does not end the run."""
_BY_ITSELF = frozenset[str]({"await-ready", "await-edge", "await-daemon"})
"""Kinds that nobody heals: they come back at their own pace."""


class Rollback:
    """The undo records of one run and what became of them."""

    def __init__(self, host: DrillHost, clock: Clock, watch: Watch, run_dir: Path) -> None:
        self._host, self._clock, self._watch, self._run_dir = host, clock, watch, run_dir
        self._undos: list[Undo] = []
        self._fault_of: dict[str, str] = {}
        """Undo id -> injection id; splices have none."""
        self._takes_down: set[str] = set()
        self._results: dict[str, UndoSummary] = {}
        self._background: dict[str, list[asyncio.Task[str]]] = {}
        self._slow: list[asyncio.Task[bool]] = []

    async def record(self, fault: str, undos: Sequence[Undo], *, takes_down: bool) -> None:
        """Fsync the records of one injection. Raises Refused when they cannot be saved: then nothing is injected."""
        await self._save(undos)
        self._fault_of.update({undo.id: fault for undo in undos})
        if takes_down:
            self._takes_down.add(fault)

    async def record_splice(self, workload: str, ttl_s: float) -> None:
        """Record, once, that proxies are about to stand in front of the workload's replicas."""
        name = f"splice:{workload}"
        if any(undo.id == name for undo in self._undos):
            return
        undo = Undo(
            id=name,
            kind="unsplice",
            run_id=self._run_dir.name,
            workload=workload,
            replica="",
            pid=0,
            mark="",
            written_ts=self._clock.now(),
            ttl_s=ttl_s,
        )
        await self._save([undo])

    async def _save(self, undos: Sequence[Undo]) -> None:
        try:
            await asyncio.to_thread(undo_log.append, self._run_dir, *undos)
        except OSError as error:
            raise Refused(
                f"The undo record of {undos[0].id} could not be saved ({error}), so it is not injected.",
                "Make room on the disk that holds the state directory.",
            ) from error
        self._undos.extend(undos)

    async def never_injected(self, fault: str) -> None:
        """Close the records of a fault whose deed was never done."""
        results = []
        for undo in self._of(fault):
            if undo.id not in self._results:
                self._results[undo.id] = _summary(undo, True, True, "never injected")
                results.append(self._logged(undo, True, True, "never injected"))
        await self._log(results)

    def take_over(self, fault: str, task: asyncio.Task[str]) -> None:
        """A background task of a fault's deed: its result is evidence, its failure makes the fault unproven."""
        self._background.setdefault(fault, []).append(task)
        task.add_done_callback(lambda done: self._ended(fault, done))

    def _ended(self, fault: str, task: asyncio.Task[str]) -> None:
        stamps = self._watch.stamps[fault]
        if task.cancelled():
            self._watch.stamp(fault, evidence=(*stamps.evidence, f"{task.get_name()}: ended by the rollback"))
            return
        error = task.exception()
        if error is None:
            self._watch.stamp(fault, evidence=(*stamps.evidence, task.result()))
            if stamps.fault.startswith("workload."):
                self._watch.stamp(fault, t_healed=self._clock.mono())
        elif stamps.fault.startswith("workload."):
            self._watch.stamp(fault, verified=False, problem=f"{task.get_name()} failed: {error}")
        else:
            self._watch.stamp(fault, evidence=(*stamps.evidence, f"{task.get_name()} failed: {error}"))

    async def finish(self) -> None:
        """Wait for every background task, however it ends."""
        running = [task for tasks in self._background.values() for task in tasks if not task.done()]
        if running:
            await asyncio.wait(running)

    def down(self, workload: str, *, besides: str) -> set[str]:
        """Replicas that faults of this run hold down, or that have not come back from one yet."""
        ready = {r.name: r.pid for r in self._host.replicas(workload) if r.phase == Phase.READY}
        found = set()
        for undo in self._undos:
            fault = self._fault_of.get(undo.id)
            if undo.workload != workload or not undo.replica or fault == besides or fault not in self._takes_down:
                continue
            summary = self._results.get(undo.id)
            back = ready.get(undo.replica) not in (None, undo.pid)
            if not (summary is not None and summary.verified) and not (undo.kind in _BY_ITSELF and back):
                found.add(undo.replica)
        return found

    async def heal(self, fault: str) -> bool:
        """Take one fault away now; what never was injected is no failure."""
        for task in self._background.get(fault, ()):
            if self._watch.stamps[fault].fault.startswith("workload."):
                await asyncio.wait([task])
        give_up = self._clock.mono() + HEAL_FOR_S
        while left := [undo for undo in self._of(fault) if not self._is_gone(undo)]:
            late = self._clock.mono() >= give_up
            await asyncio.gather(*(self._take_away(undo) for undo in left))
            if late:
                break
            if not all(self._is_gone(undo) for undo in left):
                await asyncio.sleep(STEP_S)
        await self._log_results(self._of(fault))
        return all(self._is_gone(undo) for undo in self._of(fault))

    def _of(self, fault: str) -> list[Undo]:
        return [undo for undo in self._undos if self._fault_of.get(undo.id) == fault]

    def _is_gone(self, undo: Undo) -> bool:
        summary = self._results.get(undo.id)
        return summary is not None and summary.verified

    async def undo_all(self) -> float:
        """Take away everything still in place, last in first out, whatever fails on the way.

        Returns the seconds until the last fault was verified gone, or given up for now. What only takes its time
        (`SLOW_KINDS`) is issued here and awaited by `settle`.
        """
        began = self._clock.mono()
        background = [task for tasks in self._background.values() for task in tasks if not task.done()]
        for task in background:
            task.cancel()
        if background:
            await asyncio.wait(background, timeout=CANCEL_S)
        quick: list[asyncio.Task[bool]] = []
        for fault in reversed(list(dict.fromkeys(self._fault_of.values()))):
            left = [undo for undo in reversed(self._of(fault)) if not self._is_gone(undo)]
            step: list[asyncio.Task[bool]] = []
            for undo in left:
                undoing = asyncio.create_task(self._take_away(undo), name=f"undo {undo.id}")
                (self._slow if undo.kind in faults.SLOW_KINDS else step).append(undoing)
            if step:
                await asyncio.wait(step, timeout=STEP_S)
            quick += step
        await asyncio.gather(*quick)
        took = self._clock.mono() - began
        await self._log_results(self._undos)
        return took

    def standing(self) -> tuple[int, int, int]:
        """Undos of faults, those not verified gone, and those that only take their time."""
        undos = [undo for undo in self._undos if undo.id in self._fault_of]
        open_ = [undo for undo in undos if not self._is_gone(undo)]
        slow = sum(undo.kind in faults.SLOW_KINDS for undo in open_)
        return len(undos), len(open_) - slow, slow

    async def settle(self) -> None:
        """What takes its time, once more what failed, and straight paths again (for those that are spliced)."""
        if self._slow:
            await asyncio.gather(*self._slow)
        again = [undo for undo in reversed(self._undos) if not self._is_gone(undo) and undo.kind != "unsplice"]
        await asyncio.gather(*(self._take_away(undo) for undo in again))
        splices = [undo for undo in self._undos if undo.kind == "unsplice" and not self._is_gone(undo)]
        await asyncio.gather(*(self._take_away(undo) for undo in splices))
        await self._log_results([*again, *splices, *(u for u in self._undos if u.kind in faults.SLOW_KINDS)])

    async def _take_away(self, undo: Undo) -> bool:
        fault = self._fault_of.get(undo.id)
        if fault is not None and self._watch.stamps[fault].t_undo_issued is None:
            self._watch.stamp(fault, t_undo_issued=self._clock.mono())
        attempt = await faults.take_away(self._host, undo, self._clock)
        self._results[undo.id] = _summary(undo, attempt.issued, attempt.verified, attempt.detail)
        if fault is not None and all(self._is_gone(other) for other in self._of(fault)):
            self._gone(fault, undo, attempt)
        return attempt.verified

    def _gone(self, fault: str, undo: Undo, attempt: faults.UndoAttempt) -> None:
        now, stamps = self._clock.mono(), self._watch.stamps[fault]
        self._watch.stamp(fault, t_undone=stamps.t_undone or now)
        if undo.kind not in _BY_ITSELF and stamps.t_healed is None:
            self._watch.stamp(fault, t_healed=now)
        if attempt.expired:
            self._watch.stamp(fault, verified=False, problem="its time limit ended it before it was healed")

    def _logged(self, undo: Undo, done: bool, verified: bool, detail: str) -> undo_log.Result:
        return undo_log.Result(
            id=undo.id, done=done, verified=verified, by="daemon", detail=detail, ts=self._clock.now()
        )

    async def _log_results(self, undos: Sequence[Undo]) -> None:
        known = [(undo, self._results[undo.id]) for undo in undos if undo.id in self._results]
        await self._log([self._logged(undo, s.done, s.verified, s.detail) for undo, s in known])

    async def _log(self, results: Sequence[undo_log.Result]) -> None:
        try:
            await asyncio.to_thread(undo_log.append, self._run_dir, *results)
        except OSError as error:
            # The deeds are done all the same; a log without their results only makes the next daemon undo again.
            for result in results:
                held = self._results[result.id]
                detail = f"{held.detail}; its result could not be logged: {error}"
                self._results[result.id] = msgspec.structs.replace(held, detail=detail)

    async def confirm_ready(self) -> None:
        """Wait until the victims are Ready again (or gone by somebody's wish); a missing one is not undone."""
        gone = [undo for undo in self._undos if self._is_gone(undo) and undo.id in self._fault_of]
        ready = await asyncio.gather(*(faults.wait_ready(self._host, undo, self._clock) for undo in gone))
        late = [undo for undo, there in zip(gone, ready, strict=True) if not there]
        for undo in late:
            detail = f"{undo.replica or undo.workload} did not become Ready again"
            self._results[undo.id] = _summary(undo, True, False, detail)
        await self._log_results(late)
        self._watch.look()

    async def adopt_warden_results(self) -> None:
        """What the warden proved after we could not."""
        for entry in await asyncio.to_thread(undo_log.read, self._run_dir):
            if isinstance(entry, undo_log.Result) and entry.by == "warden" and entry.verified:
                held = self._results.get(entry.id)
                if held is not None and not held.verified:
                    proven = msgspec.structs.replace(held, done=True, verified=True, by=entry.by, detail=entry.detail)
                    self._results[entry.id] = proven

    def summaries(self) -> tuple[UndoSummary, ...]:
        """One per undo that was recorded, in the order of recording; faults that were never injected are left out."""
        found = [
            self._results.get(undo.id)
            or UndoSummary(id=undo.id, what=undo.describe(), done=False, verified=False, detail="never tried")
            for undo in self._undos
        ]
        return tuple(summary for summary in found if summary.detail != "never injected")


def _summary(undo: Undo, done: bool, verified: bool, detail: str) -> UndoSummary:
    return UndoSummary(id=undo.id, what=undo.describe(), done=done, verified=verified, by="daemon", detail=detail)
