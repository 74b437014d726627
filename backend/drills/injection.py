"""Injecting faults in a run, in the one order that is safe.

Victims chosen -> undo records fsynced -> `when` true on fresh numbers, guards on live health -> fault, at once ->
proof. Nothing that takes time stands between the condition and the deed, so that the condition still holds.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import msgspec

from backend.contract.clock import Clock
from backend.contract.errors import Refused, TrinityError
from backend.contract.fleet import ReplicaStatus, WorkloadSpec
from backend.contract.words import Phase
from backend.drills import faults, guards, processes
from backend.drills.catalogue import FAULTS
from backend.drills.check import Compiled
from backend.drills.evaluate import evaluate
from backend.drills.faults import Proof, Setting, Victim
from backend.drills.ports import DaemonKiller, DrillHost
from backend.drills.records import FaultStamps, UndoSummary
from backend.drills.rollback import Rollback
from backend.drills.scenario import Injection
from backend.drills.undo_log import Undo
from backend.drills.watch import PERIOD_S, Watch


class Unplaceable(Exception):
    """The fault could not be prepared; nothing was injected."""


class Injector:
    """The hands of one run. What takes faults away is `Rollback`."""

    def __init__(
        self, host: DrillHost, clock: Clock, compiled: Compiled, watch: Watch, pools: dict[str, str], run_dir: Path
    ) -> None:
        self._host, self._clock, self._compiled, self._watch = host, clock, compiled, watch
        self._pools, self._run_dir = pools, run_dir
        self._rng = random.Random(compiled.scenario.seed)  # noqa: S311 - a replayable choice, no secret
        self._rollback = Rollback(host, clock, watch, run_dir)
        self.run_id = run_dir.name

    async def inject(self, injection: Injection) -> bool:
        """Inject one fault. False when it could not be proven (the stamps say why). Raises Refused for a guard."""
        workload = self._pools[self._pool(injection)]
        self._watch.stamps[injection.id] = FaultStamps(
            id=injection.id, fault=injection.fault, target=injection.target, workload=workload
        )
        end = self._clock.mono() + injection.within
        try:
            setting = await self._ready_to_act(injection, end)
        except Unplaceable as problem:
            self._watch.stamp(injection.id, problem=str(problem))
            return False
        return await self._act(setting)

    def _pool(self, injection: Injection) -> str:
        return self._compiled.scenario.targets[injection.target].source or injection.target

    async def _ready_to_act(self, injection: Injection, end_s: float) -> Setting:
        """The setting with its undo recorded and its `when` true this very moment. Raises Unplaceable or Refused."""
        await self._await_when(injection, end_s)
        attempt = 1
        while True:
            setting = self._setting(injection)
            await self._record(setting, attempt)
            try:
                await self._await_when(injection, end_s)
                self._guard(injection, setting.spec, len(setting.victims))
            except (Refused, Unplaceable, asyncio.CancelledError):
                await asyncio.shield(self._rollback.never_injected(injection.id))
                raise
            if all(self._still(victim) for victim in setting.victims):
                return msgspec.structs.replace(setting, before=self._pids(setting.spec.name), edge=self._bystander())
            # A victim ended by itself in between: its record is closed and the next one is chosen.
            await self._rollback.never_injected(injection.id)
            attempt += 1

    def _setting(self, injection: Injection) -> Setting:
        pool = self._pool(injection)
        workload = self._pools[pool]
        spec = next((spec for spec in self._host.workloads() if spec.name == workload), None)
        if spec is None:
            raise Refused(f"Workload {workload} is gone.", "Run the drill again.")
        victims = tuple(self._victim(replica) for replica in self._chosen(injection, pool))
        setting = Setting(
            host=self._host,
            clock=self._clock,
            run_id=self.run_id,
            injection=injection,
            spec=spec,
            victims=victims,
            seed=self._compiled.scenario.seed,
            ttl_s=self._compiled.scenario.safety.fault_ttl,
            spawn=lambda task: self._rollback.take_over(injection.id, task),
            injected=asyncio.Event(),
        )
        faults.require_outside(setting)
        self._guard(injection, spec, len(victims))
        return setting

    def _chosen(self, injection: Injection, pool: str) -> list[ReplicaStatus]:
        """The replicas the fault is done to: one (with those on its node, for node.drain), all Ready ones of the pool,
        or none (edge, daemon, workload)."""
        target = self._compiled.scenario.targets[injection.target]
        replicas = self._watch.ready_replicas(pool)
        if not target.is_pool:
            seat, busy = self._watch.seat(injection.target), self._watch.fresh_in_flight
            chosen = guards.pick_replica(target, replicas, busy, self._rng, seat=seat)
            self._watch.choose(injection.target, chosen.name)
            if injection.fault == "node.drain":
                return [chosen, *(r for r in guards.beside(chosen, replicas) if r.pid is not None)]
            return [chosen]
        if not FAULTS[injection.fault].held_by:
            return []
        ready = [replica for replica in replicas if replica.phase == Phase.READY and replica.pid is not None]
        if not ready:
            raise Refused("No replica of the pool is Ready.", "Wait until the fleet is healthy.")
        return ready

    def _victim(self, replica: ReplicaStatus) -> Victim:
        assert replica.pid is not None
        mark = faults.mark_of(self._host, replica.pid)
        if mark is None:
            raise Refused(f"{replica.name}'s process {replica.pid} has just ended by itself.", "Run the drill again.")
        return Victim(
            run_id=self.run_id,
            workload=replica.workload,
            replica=replica.name,
            pid=replica.pid,
            mark=mark,
            host=replica.host,
            port=replica.port,
            health_port=replica.health_port,
            node=replica.node,
        )

    def _still(self, victim: Victim) -> bool:
        seen = next((r for r in self._host.replicas(victim.workload) if r.name == victim.replica), None)
        return seen is not None and seen.pid == victim.pid and not faults.has_ended(self._host, victim)

    def _pids(self, workload: str) -> dict[str, int | None]:
        return {replica.name: replica.pid for replica in self._host.replicas(workload)}

    def _bystander(self) -> Victim | None:
        """The process of edge or daemon as it is now, for the proof that another one came."""
        pid = self._host.daemon_pid if isinstance(self._host, DaemonKiller) else self._host.edge().pid
        mark = None if pid is None else processes.start_mark(pid)
        if pid is None or mark is None:
            return None
        return Victim(run_id=self.run_id, workload="", replica="", pid=pid, mark=mark)

    async def _record(self, setting: Setting, attempt: int) -> None:
        """Write down how each victim's fault is taken away, before there is one. Raises Refused or Unplaceable."""
        injection, workload = setting.injection, setting.spec.name
        held_by = FAULTS[injection.fault].held_by
        if held_by == "proxy":
            await self._rollback.record_splice(workload, setting.ttl_s)
        try:
            holders = await asyncio.gather(*(self._host.holder(v.replica, held_by) for v in setting.victims if held_by))
        except (TrinityError, OSError) as error:
            raise Unplaceable(f"there is nobody to hold the fault: {error}") from error
        nobody = Victim(run_id=self.run_id, workload=workload, replica="", pid=0, mark="")
        count = sum(r.phase not in (Phase.TERMINATING, Phase.DRAINING) for r in self._host.replicas(workload))
        whole_pool = self._compiled.scenario.targets[injection.target].is_pool
        undos: list[Undo] = []
        for index, victim in enumerate(setting.victims or (nobody,)):
            name = f"{injection.id}:{victim.replica}" if whole_pool and victim.replica else injection.id
            undos.append(
                faults.undo_of(
                    injection,
                    victim,
                    undo_id=name if attempt == 1 else f"{name}#{attempt}",
                    written_ts=self._clock.now(),
                    ttl_s=setting.ttl_s,
                    holder=holders[index] if held_by else None,
                    replicas=count if injection.fault == "workload.scale" else None,
                )
            )
        await self._rollback.record(injection.id, undos, takes_down=self._takes(injection, workload, len(undos)) > 0)

    async def _act(self, setting: Setting) -> bool:
        injection, names = setting.injection, tuple(victim.replica for victim in setting.victims)
        only = setting.victims[0] if len(setting.victims) == 1 else None
        self._watch.stamp(
            injection.id,
            replica=only.replica if only else "",
            replicas=names if only is None else (),
            pid=only.pid if only else None,
            t_command=self._clock.mono(),
        )
        self._watch.remember(injection.id, setting.before, setting.edge.pid if setting.edge else None)
        checks = [asyncio.create_task(faults.verify(step, setting)) for step in injection.verify]
        try:
            await faults.inject(setting)
            setting.injected.set()
            proofs = await self._proofs(injection, checks)
        except (TrinityError, OSError) as error:
            self._watch.stamp(injection.id, problem=f"the injection failed: {error}")
            return False
        finally:
            for check in checks:
                check.cancel()
            await asyncio.gather(*checks, return_exceptions=True)
        failed = [proof for proof in proofs if not proof.ok]
        self._watch.stamp(
            injection.id,
            verified=bool(proofs) and not failed and not self._watch.stamps[injection.id].problem,
            evidence=tuple(f"{proof.step}: {proof.text}" for proof in proofs)
            + self._watch.stamps[injection.id].evidence,
            problem="; ".join([p.text for p in failed] or [self._watch.stamps[injection.id].problem]),
        )
        return self._watch.stamps[injection.id].verified

    async def _proofs(self, injection: Injection, checks: list[asyncio.Task[Proof]]) -> list[Proof]:
        """All proofs; the first good one is the instant of the effect, stamped as soon as it is known."""
        for next_done in asyncio.as_completed(checks):
            proof = await next_done
            known = self._watch.stamps[injection.id].t_effective
            if proof.ok and (known is None or proof.at_s < known):
                self._watch.stamp(injection.id, t_effective=proof.at_s)
        return [check.result() for check in checks]

    async def _await_when(self, injection: Injection, end_s: float) -> None:
        """Wait for `when`, and before it for requests of earlier phases: a fault never touches a gate's sample.

        Returns in the same instant in which the condition was seen. Raises Unplaceable when it never came true.
        """
        start = self._watch.spans[-1].start_s
        tree = self._compiled.whens.get(injection.id)
        while True:
            if self._watch.unfinished_before(start) <= 0:
                await self._watch.refresh_in_flight()
                if tree is None or evaluate(tree, self._watch.facts()).value is True:
                    return
            if self._clock.mono() >= end_s:
                what = f"`{injection.when}`" if injection.when else "the end of earlier phases' requests"
                raise Unplaceable(f"{what} did not come true within {injection.within:g} s")
            await asyncio.sleep(PERIOD_S)

    def _takes(self, injection: Injection, workload: str, victims: int) -> int:
        return faults.takes(injection, victims, guards.healthy(self._host.replicas(workload)))

    def _guard(self, injection: Injection, spec: WorkloadSpec, victims: int) -> None:
        """Raises Refused when live health, with what we hold down already, leaves too little."""
        down = self._rollback.down(spec.name, besides=injection.id)
        replicas = self._host.replicas(spec.name)
        guards.check_blast(
            self._compiled.scenario,
            spec,
            replicas,
            taking=self._takes(injection, spec.name, victims),
            down=down,
        )

    async def finish(self) -> None:
        """Wait for what the faults' deeds still do (a rollout, the poisoned request)."""
        await self._rollback.finish()

    async def heal(self, fault: str) -> bool:
        """Take one fault away now; what never was injected is no failure."""
        return await self._rollback.heal(fault)

    async def undo_all(self) -> float:
        """Take away everything still in place; seconds until the last fault was verified gone or given up."""
        return await self._rollback.undo_all()

    def standing(self) -> tuple[int, int, int]:
        """Undos of faults, those not verified gone, and those that only take their time."""
        return self._rollback.standing()

    async def settle(self) -> None:
        """After the loads ended: what takes its time, what failed once more, and straight paths again."""
        await self._rollback.settle()

    async def confirm_ready(self) -> None:
        """Wait until the victims are Ready again (or gone by somebody's wish); a missing one is not undone."""
        await self._rollback.confirm_ready()

    @property
    def all_verified(self) -> bool:
        return all(undo.verified for undo in self.summaries())

    async def adopt_warden_results(self) -> None:
        """What the warden proved after we could not."""
        await self._rollback.adopt_warden_results()

    def summaries(self) -> tuple[UndoSummary, ...]:
        """One per undo that was recorded, in the order of recording."""
        return self._rollback.summaries()
