"""Injecting and taking away faults in a run, in the one order that is safe.

Guard against live health -> undo record fsynced -> fault -> proof. Taking away is last in first out, goes on after a
failure, and is proven and logged too.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import msgspec

from backend.contract.clock import Clock
from backend.contract.errors import Refused, TrinityError
from backend.drills import faults, guards, processes, undo_log
from backend.drills.check import Compiled
from backend.drills.evaluate import evaluate
from backend.drills.faults import FAULTS, Proof, Victim
from backend.drills.ports import DrillHost
from backend.drills.records import FaultStamps, UndoSummary
from backend.drills.scenario import Injection
from backend.drills.undo_log import Undo
from backend.drills.watch import PERIOD_S, Watch


class Injector:
    """The hands of one run."""

    def __init__(
        self, host: DrillHost, clock: Clock, compiled: Compiled, watch: Watch, pools: dict[str, str], run_dir: Path
    ) -> None:
        self._host, self._clock, self._compiled, self._watch = host, clock, compiled, watch
        self._pools, self._run_dir = pools, run_dir
        self._rng = random.Random(compiled.scenario.seed)  # noqa: S311 - a replayable choice, no secret
        self._undos: list[Undo] = []
        self._results: dict[str, UndoSummary] = {}
        self.run_id = run_dir.name

    async def inject(self, injection: Injection) -> bool:
        """Inject one fault. False when it could not be proven (the stamps say why). Raises Refused for a guard."""
        pool = self._compiled.scenario.targets[injection.target].source or ""
        workload = self._pools[pool]
        self._watch.stamps[injection.id] = FaultStamps(
            id=injection.id, fault=injection.fault, target=injection.target, workload=workload
        )
        if not await self._await_when(injection):
            problem = f"`{injection.when}` did not come true within {injection.within:g} s"
            self._watch.stamp(injection.id, problem=problem)
            return False
        victim = self._victim(injection, pool, workload)
        self._guard(workload)
        undo = Undo(
            id=injection.id,
            kind=FAULTS[injection.fault].undo_kind(injection),
            run_id=self.run_id,
            workload=workload,
            replica=victim.replica,
            pid=victim.pid,
            mark=victim.mark,
            written_ts=self._clock.now(),
            ttl_s=self._compiled.scenario.safety.fault_ttl,
        )
        try:
            await asyncio.to_thread(undo_log.append, self._run_dir, undo)
        except OSError as error:
            raise Refused(
                f"The undo record of {injection.id} could not be saved ({error}), so it is not injected.",
                "Make room on the disk that holds the state directory.",
            ) from error
        self._undos.append(undo)
        return await self._act(injection, victim)

    async def _act(self, injection: Injection, victim: Victim) -> bool:
        self._watch.stamp(injection.id, replica=victim.replica, pid=victim.pid, t_command=self._clock.mono())
        checks = [
            asyncio.create_task(faults.verify(step, self._host, victim, self._clock)) for step in injection.verify
        ]
        try:
            await FAULTS[injection.fault].inject(self._host, injection, victim)
        except (TrinityError, OSError) as error:
            for check in checks:
                check.cancel()
            await asyncio.gather(*checks, return_exceptions=True)
            self._watch.stamp(injection.id, problem=f"the injection failed: {error}")
            return False
        proofs = await self._proofs(injection, checks)
        failed = [proof for proof in proofs if not proof.ok]
        self._watch.stamp(
            injection.id,
            verified=not failed,
            evidence=tuple(f"{proof.step}: {proof.text}" for proof in proofs),
            problem="; ".join(proof.text for proof in failed),
        )
        return not failed

    async def _proofs(self, injection: Injection, checks: list[asyncio.Task[Proof]]) -> list[Proof]:
        """All proofs; the first good one is the instant of the effect, stamped as soon as it is known."""
        for next_done in asyncio.as_completed(checks):
            proof = await next_done
            if proof.ok and self._watch.stamps[injection.id].t_effective is None:
                self._watch.stamp(injection.id, t_effective=proof.at_s)
        return [check.result() for check in checks]

    async def _await_when(self, injection: Injection) -> bool:
        """Wait for `when`, and before it for requests of earlier phases: a fault never touches a gate's sample."""
        end = self._clock.mono() + injection.within
        start = self._watch.spans[-1].start_s
        tree = self._compiled.whens.get(injection.id)
        while True:
            if self._watch.unfinished_before(start) <= 0:
                await self._watch.refresh_in_flight()
                if tree is None or evaluate(tree, self._watch.facts()).value is True:
                    return True
            if self._clock.mono() >= end:
                return False
            await asyncio.sleep(PERIOD_S)

    def _victim(self, injection: Injection, pool: str, workload: str) -> Victim:
        target = self._compiled.scenario.targets[injection.target]
        chosen = guards.pick_replica(target, self._watch.ready_replicas(pool), self._watch.fresh_in_flight, self._rng)
        assert chosen.pid is not None
        mark = processes.start_mark(chosen.pid)
        if mark is None:
            raise Refused(f"{chosen.name}'s process {chosen.pid} has just ended by itself.", "Run the drill again.")
        self._watch.choose(injection.target, chosen.name)
        return Victim(
            run_id=self.run_id,
            workload=workload,
            replica=chosen.name,
            pid=chosen.pid,
            mark=mark,
            host=chosen.host,
            port=chosen.port,
        )

    def _guard(self, workload: str) -> None:
        specs = [spec for spec in self._host.workloads() if spec.name == workload]
        if not specs:
            raise Refused(f"Workload {workload} is gone.", "Run the drill again.")
        down = sum(
            undo.workload == workload and undo.kind != "await-ready"
            for undo in self._undos
            if undo.id not in self._results
        )
        guards.check_blast(self._compiled.scenario, specs[0], self._host.replicas(workload), taking=1, down=down)

    async def heal(self, fault: str) -> bool:
        """Take one fault away now; what never was injected is no failure."""
        undo = next((undo for undo in self._undos if undo.id == fault), None)
        return True if undo is None else await self._take_away(undo)

    async def undo_all(self) -> None:
        """Take away everything still in place, last in first out, whatever fails on the way."""
        for undo in reversed(self._undos):
            summary = self._results.get(undo.id)
            if summary is None or not summary.verified:
                await self._take_away(undo)

    async def _take_away(self, undo: Undo) -> bool:
        attempt = await faults.take_away(self._host, undo, self._clock)
        detail = attempt.detail
        if attempt.verified:
            self._watch.stamp(undo.id, t_healed=self._clock.mono() if undo.kind != "await-ready" else None)
        self._results[undo.id] = UndoSummary(
            id=undo.id,
            what=undo.describe(),
            done=attempt.issued,
            verified=attempt.verified,
            by="daemon",
            detail=detail,
        )
        await self._log(undo, attempt.issued, attempt.verified, detail)
        return attempt.verified

    async def _log(self, undo: Undo, done: bool, verified: bool, detail: str) -> None:
        result = undo_log.Result(
            id=undo.id, done=done, verified=verified, by="daemon", detail=detail, ts=self._clock.now()
        )
        try:
            await asyncio.to_thread(undo_log.append, self._run_dir, result)
        except OSError as error:
            # The deed is done all the same; a log that lacks its result only makes the next daemon undo it again.
            held = self._results[undo.id]
            self._results[undo.id] = UndoSummary(
                id=held.id,
                what=held.what,
                done=held.done,
                verified=held.verified,
                by=held.by,
                detail=f"{detail}; its result could not be logged: {error}",
            )

    async def confirm_ready(self) -> None:
        """Wait until the victims are Ready again (or gone by somebody's wish); a missing one is not undone."""
        for undo in self._undos:
            summary = self._results.get(undo.id)
            if summary is None or not summary.verified:
                continue
            if not await faults.wait_ready(self._host, undo, self._clock):
                self._results[undo.id] = UndoSummary(
                    id=undo.id,
                    what=undo.describe(),
                    done=True,
                    verified=False,
                    by="daemon",
                    detail=f"{undo.replica} did not become Ready again",
                )
                await self._log(undo, True, False, f"{undo.replica} did not become Ready again")
        self._watch.look()

    @property
    def all_verified(self) -> bool:
        return all(undo.verified for undo in self.summaries())

    async def adopt_warden_results(self) -> None:
        """What the warden proved after we could not."""
        for entry in await asyncio.to_thread(undo_log.read, self._run_dir):
            if isinstance(entry, undo_log.Result) and entry.by == "warden" and entry.verified:
                held = self._results.get(entry.id)
                if held is not None and not held.verified:
                    proven = msgspec.structs.replace(held, done=True, verified=True, by=entry.by, detail=entry.detail)
                    self._results[entry.id] = proven

    def summaries(self) -> tuple[UndoSummary, ...]:
        """One per fault that was recorded, in the order of injection."""
        missing = [undo for undo in self._undos if undo.id not in self._results]
        never = {
            undo.id: UndoSummary(id=undo.id, what=undo.describe(), done=False, verified=False, detail="never tried")
            for undo in missing
        }
        return tuple(self._results.get(undo.id) or never[undo.id] for undo in self._undos)
