"""One drill run from plan to rollback: calibration, load, phases, faults, abort rules. Judges nothing itself.

Whatever ends the phases (their end, a rule, a key, a lost warden, an error), the rollback follows, and it cannot be
interrupted. The record and the client rows are what it leaves behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import platform
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil

from backend.contract.clock import Clock
from backend.contract.control import DrillRollback
from backend.contract.errors import Refused, TrinityError
from backend.contract.fleet import WorkloadSpec
from backend.contract.rows import EventRow, Scalar
from backend.contract.words import Severity
from backend.drills import planner
from backend.drills.check import Compiled, needs_capacity
from backend.drills.evaluate import evaluate
from backend.drills.injection import Injector
from backend.drills.planner import Plan
from backend.drills.ports import DrillHost, LoadOrder, LoadRunner
from backend.drills.records import DrillRow, FaultStamps, LoadSummary, PhaseSpan, RunRecord
from backend.drills.scenario import Load, PhaseSpec
from backend.drills.verdict import gate_checks
from backend.drills.warden_link import WardenLink
from backend.drills.watch import PERIOD_S, Watch

RULE_PERIOD_S = 0.05


class GateFailed(Exception):
    """The baseline did not hold; nothing was injected."""


class Stopped(Exception):
    """The phases cannot go on: an unproven fault."""


class DrillRun:
    """One run. `execute` runs it to its record; `abort` ends it early from anywhere."""

    def __init__(
        self,
        *,
        host: DrillHost,
        loads: LoadRunner,
        clock: Clock,
        compiled: Compiled,
        plan: Plan,
        run_dir: Path,
        actor: str,
        on_row: Callable[[DrillRow], None],
        save: Callable[[RunRecord], None],
    ) -> None:
        self._host, self._loads, self._clock = host, loads, clock
        self._compiled, self._plan, self._run_dir, self._actor = compiled, plan, run_dir, actor
        self._on_row, self._save = on_row, save
        self.run_id = run_dir.name
        self.watch = Watch(host, clock, compiled, plan.pools, run_dir)
        self.watch.on_mark(self._marked)
        self._injector = Injector(host, clock, compiled, self.watch, plan.pools, run_dir)
        self._abort = asyncio.Event()
        self.abort_reason = ""
        self.rolling_back = False
        self.undone = asyncio.Event()
        """Every undo was issued and answered, or there is nothing more to undo: set before the report is made."""
        self.rolled_back: DrillRollback | None = None
        self._wished_s: float | None = None
        self._gate_failed = self._refused = self._internal = ""
        self._rates: dict[str, float] = {}
        self._summaries: list[LoadSummary] = []
        self._started_ts, self._started_mono = clock.now(), clock.mono()
        self._ended_ts: float | None = None

    @property
    def phase(self) -> str:
        """Where it is, in a word."""
        if self.rolling_back:
            return "rollback"
        return self.watch.spans[-1].name if self.watch.spans else "preparing"

    def abort(self, reason: str) -> None:
        """End the phases and roll back. The first reason counts; during the rollback it changes nothing."""
        if not self._abort.is_set() and not self.rolling_back:
            self.abort_reason, self._wished_s = reason, self._clock.mono()
            self._abort.set()

    async def execute(self) -> RunRecord:
        """Run everything; returns the record once every undo was tried. Raises only for a broken disk."""
        self._event("drill.started", Severity.INFO, f"drill {self._plan.name} started")
        watching = asyncio.create_task(self.watch.run())
        try:
            await self._guarded()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            self.watch.close()
            self.undone.set()
        return self.record()

    async def _guarded(self) -> None:
        workloads = sorted(set(self._plan.pools.values()))
        try:
            async with contextlib.AsyncExitStack() as stack:
                for workload in workloads:
                    await stack.enter_async_context(self._host.lease(workload, f"drill:{self.run_id}"))
                lease = self._compiled.scenario.safety.lease
                warden = await WardenLink.start(self._run_dir, lease.heartbeat, lease.expires, self.abort)
                try:
                    await self._phases_then_rollback()
                finally:
                    await warden.close(clean=self._injector.all_verified)
                    await self._injector.adopt_warden_results()
        except Refused as refusal:
            self._refused = str(refusal)
        self._ended_ts = self._clock.now()

    async def _phases_then_rollback(self) -> None:
        phases = asyncio.create_task(self._prepare_and_run())
        aborted = asyncio.create_task(self._abort.wait())
        rules = asyncio.create_task(self._rules())
        limit = self._compiled.scenario.safety.max_runtime
        try:
            await asyncio.wait({phases, aborted, rules}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if not phases.done() and not self._abort.is_set():
                crashed = rules.exception() if rules.done() else None
                self.abort(f"the rules could not be evaluated: {crashed}" if crashed else f"longer than {limit:g} s")
        finally:
            # From here on nothing interrupts: a second abort only finds the rollback under way.
            self.rolling_back = True
            for task in (phases, aborted, rules):
                task.cancel()
            ended = await asyncio.gather(phases, aborted, rules, return_exceptions=True)
            await self._rollback()
        self._explain(ended[0])

    def _explain(self, ending: BaseException | None) -> None:
        if isinstance(ending, GateFailed):
            self._gate_failed = str(ending)
        elif isinstance(ending, Refused):
            self._refused = str(ending)
        elif isinstance(ending, TrinityError | OSError):
            self._internal = f"the run broke: {ending}"
        elif ending is not None and not isinstance(ending, Stopped | asyncio.CancelledError):
            raise ending

    async def _rollback(self) -> None:
        """Take every fault away first; only then end the load and wait for the victims."""
        began = self._clock.mono() if self._wished_s is None else self._wished_s
        took_s = await self._injector.undo_all()
        undos, left, slow = self._injector.standing()
        self.rolled_back = DrillRollback(undos=undos, left=left, slow=slow, took_s=self._clock.mono() - began)
        self.undone.set()
        self._close_span()
        self._event("drill.rolled-back", Severity.INFO, "every undo was tried", took_s=took_s, **self._undo_counts())
        await asyncio.gather(*(self._stop_load(name) for name in self.watch.loads))
        await self._injector.settle()
        await self._injector.confirm_ready()

    def _undo_counts(self) -> dict[str, Scalar]:
        undos = self._injector.summaries()
        return {"undos": len(undos), "verified": sum(undo.verified for undo in undos)}

    async def _stop_load(self, name: str) -> None:
        run = self.watch.loads[name]
        try:
            self._summaries.append(await run.stop())
        except TrinityError as error:
            await run.kill()
            rows = len(self.watch.rows[name])
            problem = f"the generator failed: {error}"
            self._summaries.append(
                LoadSummary(name=name, rate=self._rates[name], arrivals=rows, rows=rows, problem=problem)
            )

    async def _prepare_and_run(self) -> None:
        capacity = await self._calibrate() if needs_capacity(self._compiled) else {}
        self._rates = planner.rates_of(self._compiled, self.watch.sizes, capacity)
        for name, load in self._compiled.scenario.load.items():
            order = self._order(name, load, self._rates[name])
            self.watch.loads[name] = await self._loads.start(order, self._take)
        for phase in self._compiled.scenario.phases:
            await self._phase(phase)
        await self._injector.finish()

    async def _calibrate(self) -> dict[str, float]:
        """Requests/s of one replica, per pool that a rate asks about; measured with the pool's first load."""
        found: dict[str, float] = {}
        for name, load in self._compiled.scenario.load.items():
            if load.target in found:
                continue
            spec, size = self._workload(load.target), max(1, self.watch.sizes[load.target])
            rate = await self._loads.calibrate(self._order(name, load, 1.0), spec.slots * size)
            found[load.target] = rate / size
            text = f"{load.target}: {rate:.2f} requests/s with {size} replicas"
            self._event("drill.calibrated", Severity.INFO, text, requests_per_s=rate, replicas=size)
        return found

    def _workload(self, pool: str) -> WorkloadSpec:
        name = self._plan.pools[pool]
        found = next((spec for spec in self._host.workloads() if spec.name == name), None)
        if found is None:
            raise Refused(f"Workload {name} is gone.", "Run the drill again.")
        return found

    def _order(self, name: str, load: Load, rate: float) -> LoadOrder:
        spec = self._workload(load.target)
        return LoadOrder(
            name=name,
            run_id=self.run_id,
            fleet=self._host.fleet,
            workload=spec.name,
            model=spec.model_alias,
            url=self._host.edge().public_url,
            api_key=self._host.api_key,
            kind=load.kind,
            arrival=load.arrival,
            request=load.request,
            check=load.check,
            rate=rate,
            seed=self._compiled.scenario.seed,
            horizon_s=self._compiled.scenario.safety.max_runtime,
        )

    def _take(self, row: DrillRow) -> None:
        self.watch.rows[row.load].append(row)
        self._host.append(row.request)
        self._on_row(row)

    async def _phase(self, phase: PhaseSpec) -> None:
        await self._open_span(phase)
        for fault in phase.heal:
            if not await self._injector.heal(fault):
                raise Stopped(f"{fault} could not be healed")
            self._event("drill.healed", Severity.INFO, f"fault {fault} taken away", fault=fault)
        for injection in phase.inject:
            proven = await self._injector.inject(injection)
            stamps = self.watch.stamps[injection.id]
            await asyncio.to_thread(self._save, self.record())
            if not proven:
                self._event("drill.fault-unproven", Severity.WARNING, f"{injection.id}: {stamps.problem}")
                raise Stopped(stamps.problem)
            self._marked("t_effective", stamps)
        if phase.until is not None:
            await self._until(phase)
        await self._hold(phase)
        if phase.gate:
            await self._gate(phase)

    async def _open_span(self, phase: PhaseSpec) -> None:
        now = self._close_span()
        text = phase.until.expr if phase.until is not None else ""
        self.watch.spans.append(PhaseSpan(name=phase.name, gate=phase.gate, start_s=now, until_text=text))
        self._event("drill.phase", Severity.INFO, f"phase {phase.name}", phase=phase.name)
        await asyncio.to_thread(self._save, self.record())

    def _close_span(self) -> float:
        """End the present phase; the next begins at the same instant, so every arrival belongs to one."""
        now = self._clock.mono()
        if self.watch.spans and self.watch.spans[-1].end_s is None:
            self.watch.spans[-1] = msgspec.structs.replace(self.watch.spans[-1], end_s=now)
        return self.watch.spans[-1].end_s or now if self.watch.spans else now

    async def _until(self, phase: PhaseSpec) -> None:
        assert phase.until is not None
        end = self._clock.mono() + phase.until.within
        tree = self._compiled.untils[phase.name]
        met = late = False
        while not met and not late:
            late = self._clock.mono() >= end  # the last look is after the end: this process may have stood still
            met = evaluate(tree, self.watch.facts(phase.name)).value is True
            if not met:
                await asyncio.sleep(PERIOD_S)
        self.watch.spans[-1] = msgspec.structs.replace(self.watch.spans[-1], until_met=met)

    async def _hold(self, phase: PhaseSpec) -> None:
        end = self._clock.mono() + phase.hold.duration
        while True:
            span = self.watch.spans[-1]
            short = [n for n, wanted in phase.hold.min_requests.items() if self.watch.count_in(n, span) < wanted]
            left = end - self._clock.mono()
            if left <= 0 and not short:
                return
            await asyncio.sleep(max(PERIOD_S, min(left, 0.1)))

    async def _gate(self, phase: PhaseSpec) -> None:
        """Judge the baseline on all of its requests, the last ones included, before anything is injected."""
        instant = self._close_span()
        await self._ended(instant)
        checks = gate_checks(self._compiled, phase.name, self.watch.facts(phase.name, live=False))
        bad = [check for check in checks if check.result != "pass"]
        if bad:
            values = "; ".join(f"{check.text} ({check.measured})" for check in bad)
            raise GateFailed(f"the baseline did not hold, nothing was injected: {values}")

    async def _ended(self, before_s: float) -> None:
        """Wait until every request intended before that instant has ended; each does within its deadline."""
        while True:
            if self.watch.unfinished_before(before_s) <= 0:
                return
            await asyncio.sleep(PERIOD_S)

    async def _rules(self) -> None:
        """Evaluate the abort rules every 50 ms until one has been true for long enough."""
        rules = list(zip(self._compiled.scenario.abort, self._compiled.aborts, strict=True))
        since: dict[int, float] = {}
        while True:
            await asyncio.sleep(RULE_PERIOD_S)
            if not self.watch.spans:
                continue
            facts = self.watch.facts()
            for index, (rule, tree) in enumerate(rules):
                if evaluate(tree, facts).value is not True:
                    since.pop(index, None)
                elif self._clock.mono() - since.setdefault(index, self._clock.mono()) >= rule.sustained:
                    self.abort(f"rule `{rule.expr}`")
                    return

    def _marked(self, name: str, stamps: FaultStamps) -> None:
        at, effective = getattr(stamps, name), stamps.t_effective
        after = None if at is None or effective is None else at - effective
        word = {"t_effective": "took effect", "t_detected": "detected by the edge", "t_ready": "Ready again"}[name]
        late = f" after {after * 1000:.0f} ms" if after and name != "t_effective" else ""
        whom = ", ".join(stamps.victims) or stamps.target
        text = f"{stamps.id}: {stamps.fault} of {whom} {word}{late}"
        self._event(
            f"drill.{name.removeprefix('t_')}",
            Severity.INFO,
            text,
            fault=stamps.id,
            replica=stamps.replica,
            after_s=after,
        )

    def _event(self, kind: str, severity: Severity, message: str, **attributes: Scalar) -> None:
        self._host.append(
            EventRow(
                ts=self._clock.now(),
                mono_s=self._clock.mono(),
                kind=kind,
                severity=severity,
                subject=self.run_id,
                message=message,
                attributes={"drill": self._plan.name, **attributes},
            )
        )

    def record(self) -> RunRecord:
        """Everything about the run that is not a row, as it stands now."""
        return RunRecord(
            run_id=self.run_id,
            actor=self._actor,
            scenario_name=self._plan.name,
            scenario_digest=self._compiled.digest,
            seed=self._compiled.scenario.seed,
            environment=self._host.environment,
            fleet=self._host.fleet,
            driver=self._host.driver,
            started_ts=self._started_ts,
            started_mono_s=self._started_mono,
            ended_ts=self._ended_ts,
            host=host_fingerprint(),
            versions=dict(self._host.versions),
            plan=self._plan.lines,
            rates=self._rates,
            sizes=self.watch.sizes,
            members=self.watch.members(),
            confidence=self._compiled.confidence,
            max_generator_lag_s=self._compiled.max_generator_lag_s,
            phases=tuple(self.watch.spans),
            faults=tuple(self.watch.stamps.values()),
            observations=tuple(self.watch.observations),
            loads=tuple(sorted(self._summaries, key=lambda summary: summary.name)),
            undo=self._injector.summaries(),
            events=tuple(self.watch.events),
            aborted=self.abort_reason,
            refused=self._refused,
            gate_failed=self._gate_failed,
            internal_error=self._internal,
        )


def host_fingerprint() -> dict[str, Scalar]:
    """What must match before two runs are compared."""
    return {
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "cpus": psutil.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "python": platform.python_version(),
    }
