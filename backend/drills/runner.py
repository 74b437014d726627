"""The drill runner of a daemon: starts runs, stops them, finishes their reports. One run at a time.

Consoles and the CLI only attach: a run goes on, and rolls back, whoever leaves.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from backend.contract.clock import Clock
from backend.contract.control import DrillPhasePlan, DrillRollback, DrillView, HypothesisView
from backend.contract.errors import InternalError, Refused, UsageError
from backend.contract.exit_codes import DRILL_EXIT_CODES
from backend.contract.rows import EventRow
from backend.contract.words import DrillOutcome, Severity
from backend.drills import planner, recovery, store, undo_log
from backend.drills.causes import with_edge_facts, with_edge_rows
from backend.drills.check import Compiled
from backend.drills.planner import FleetView, Plan
from backend.drills.ports import DrillHost, LoadRunner
from backend.drills.recompute import compute
from backend.drills.records import DrillRow, FaultStamps, PhaseSpan, RunRecord
from backend.drills.report import Report
from backend.drills.run import DrillRun
from backend.drills.timeline import Timeline, fault_views, live_state, phase_views

HYPOTHESES_EVERY_S = 1.0
EDGE_LAG_S = 0.5
"""The edge's rows are in its log, and read, this long after a request ended."""


class DrillRunner:
    """Runs drills against one fleet."""

    def __init__(
        self,
        host: DrillHost,
        loads: LoadRunner,
        clock: Clock,
        drills_dir: Path,
        *,
        randomness: random.Random | None = None,
    ) -> None:
        self._host, self._loads, self._clock, self._dir = host, loads, clock, drills_dir
        self._random = randomness or random.Random()  # noqa: S311 - only part of a run's name
        self._run: DrillRun | None = None
        self._task: asyncio.Task[Report] | None = None
        self._view: DrillView | None = None
        self._phases: list[str] = []
        self._timeline = Timeline(clock.mono())
        self._hypotheses: tuple[float, tuple[HypothesisView, ...]] = (float("-inf"), ())
        self._compiled: Compiled | None = None
        self._gate = asyncio.Lock()
        self.blocked = ""
        """Why no run may start (after a panic); empty when one may."""

    def plan(self, compiled: Compiled) -> Plan:
        """What a run would do now."""
        workloads = tuple(self._host.workloads())
        view = FleetView(
            environment=self._host.environment,
            fleet=self._host.fleet,
            workloads=workloads,
            replicas={spec.name: tuple(self._host.replicas(spec.name)) for spec in workloads},
            unheld=frozenset(spec.name for spec in workloads if not self._host.holds(spec.name)),
        )
        return planner.plan(compiled, view)

    async def start(self, compiled: Compiled, *, actor: str) -> str:
        """Start a run and return its id. Raises Refused when a guard, a panic or another run is in the way."""
        if self._gate.locked():
            raise Refused("Another drill is starting, or an earlier one is being recovered.", "Try again in a moment.")
        async with self._gate:
            return await self._start(compiled, actor)

    async def _start(self, compiled: Compiled, actor: str) -> str:
        if self.blocked:
            raise Refused(f"Drills are blocked: {self.blocked}.", "Allow them again with `trinity drill allow`.")
        if self._task is not None and not self._task.done():
            assert self._run is not None
            raise Refused(f"Drill {self._run.run_id} is running.", "Wait for it, or stop it with `trinity drill stop`.")
        plan = self.plan(compiled)
        plan.require()
        compiled = planner.as_planned(compiled, plan)
        run_id = self._name(compiled.scenario.name)
        run_dir = await asyncio.to_thread(store.create, self._dir, run_id, compiled.text)
        rows = store.RowFile(run_dir)

        def save(record: RunRecord) -> None:
            store.save_record(run_dir, record)

        kept: list[DrillRow] = []

        self._timeline = timeline = Timeline(self._clock.mono())

        def keep(row: DrillRow) -> None:
            kept.append(row)
            timeline.add(row)
            rows.append(row)

        self._run = DrillRun(
            host=self._host,
            loads=self._loads,
            clock=self._clock,
            compiled=compiled,
            plan=plan,
            run_dir=run_dir,
            actor=actor,
            on_row=keep,
            save=save,
        )
        await asyncio.to_thread(save, self._run.record())
        self._compiled, self._hypotheses = compiled, (float("-inf"), ())
        self._phases = [phase.name for phase in compiled.scenario.phases]
        self._view = DrillView(
            run_id=run_id,
            name=plan.name,
            title=plan.title,
            outcome=DrillOutcome.RUNNING,
            phases=len(self._phases),
            started_ts=self._clock.now(),
            estimated_s=plan.wall_s,
            planned=tuple(DrillPhasePlan(name=p.name, seconds=p.hold.duration) for p in compiled.scenario.phases),
        )
        self._task = asyncio.create_task(self._whole(self._run, compiled, run_dir, rows, kept), name=f"drill {run_id}")
        self._task.add_done_callback(_ended(self._run))
        return run_id

    def _name(self, scenario: str) -> str:
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(self._clock.now()))
        return f"{scenario}-{stamp}-{self._random.randrange(16**4):04x}"

    async def _whole(
        self, run: DrillRun, compiled: Compiled, run_dir: Path, file: store.RowFile, rows: list[DrillRow]
    ) -> Report:
        try:
            record = await run.execute()
        except Exception as error:
            # A bug of ours, after the rollback: the run must still end with a report, and the bug stays visible.
            record = msgspec.structs.replace(run.record(), internal_error=f"{type(error).__name__}: {error}")
            self._event("drill.broke", Severity.CRITICAL, run.run_id, f"drill broke: {record.internal_error}")
            await self._finish(record, compiled, run_dir, file, rows)
            raise InternalError(f"The drill broke: {error}.", f"See {run_dir} and report it.") from error
        return await self._finish(record, compiled, run_dir, file, rows)

    async def _finish(
        self, record: RunRecord, compiled: Compiled, run_dir: Path, file: store.RowFile, rows: list[DrillRow]
    ) -> Report:
        if rows:
            await asyncio.sleep(EDGE_LAG_S)
            until = record.ended_ts or self._clock.now()
            edge_rows = await self._host.edge_rows(record.started_ts, until + EDGE_LAG_S)
            record, rows = with_edge_rows(record, rows, edge_rows), with_edge_facts(rows, edge_rows)

        def write() -> tuple[Report, Path]:
            file.close()
            store.rewrite_rows(run_dir, rows)
            store.save_record(run_dir, record)
            report = compute(run_dir, compiled, record, rows)
            path = store.write_reports(run_dir, compiled, report)
            if report.outcome != DrillOutcome.DIRTY:
                undo_log.append(run_dir, undo_log.Closed(ts=self._clock.now()))
            return report, path

        report, path = await asyncio.to_thread(write)
        assert self._view is not None
        self._view = msgspec.structs.replace(
            self._pictured(self._view, record.phases, record.faults),
            outcome=DrillOutcome(report.outcome),
            phase="",
            phase_index=len(self._phases),
            hypotheses=_judged(report),
            ended_ts=self._clock.now(),
            detail="; ".join(report.reasons),
            report_path=str(path),
        )
        severity = {DrillOutcome.PASS: Severity.INFO, DrillOutcome.DIRTY: Severity.CRITICAL}
        self._event(
            "drill.ended",
            severity.get(self._view.outcome, Severity.WARNING),
            report.run_id,
            f"drill {report.name}: {report.outcome}: {self._view.detail}",
        )
        return report

    def _event(self, kind: str, severity: Severity, run_id: str, message: str) -> None:
        now, mono = self._clock.now(), self._clock.mono()
        self._host.append(EventRow(ts=now, mono_s=mono, kind=kind, severity=severity, subject=run_id, message=message))

    async def wait(self, run_id: str) -> Report:
        """The finished run's report. Raises UsageError for an unknown run, InternalError when it broke.

        Leaving this wait does nothing to the run.
        """
        if self._run is not None and self._run.run_id == run_id and self._task is not None:
            return await asyncio.shield(self._task)
        if not (self._dir / run_id / store.REPORT).is_file() or "/" in run_id:
            raise UsageError(f"There is no drill run {run_id}.", "See `trinity drill history`.")
        return await asyncio.to_thread(store.read_report, self._dir / run_id)

    async def stop(self, reason: str) -> DrillView | None:
        """Abort the running drill and wait until its faults are gone. None when none runs.

        The report follows by itself; its `rollback` is null where the run ended before anything could be undone.
        Raises InternalError when the run broke."""
        run, task = self._run, self._task
        if run is None or task is None or task.done():
            return None
        run.abort(reason)
        await run.undone.wait()
        if run.rolled_back is None:
            await asyncio.shield(task)
        return self.view()

    async def panic(self, reason: str) -> DrillView | None:
        """Like `stop`, and no drill may start until `allow`."""
        self.blocked = reason
        return await self.stop(reason)

    async def end(self, reason: str) -> Report | None:
        """Like `stop`, and wait for the report too."""
        view = await self.stop(reason)
        return None if view is None else await self.wait(view.run_id)

    def allow(self) -> None:
        """End what `panic` began."""
        self.blocked = ""

    async def recover(self) -> list[recovery.Recovered]:
        """Undo what earlier daemons left behind, for the daemon's start. The running drill is left alone."""
        async with self._gate:
            running = "" if self._run is None or self._task is None or self._task.done() else self._run.run_id
            return await recovery.recover(self._host, self._clock, self._dir, running=running)

    def view(self) -> DrillView | None:
        """The present or last run, for consoles."""
        if self._view is None or self._run is None or self._view.outcome != DrillOutcome.RUNNING:
            return self._view
        phase = self._run.phase
        index = self._phases.index(phase) + 1 if phase in self._phases else 0
        detail = f"aborting: {self._run.abort_reason}" if self._run.abort_reason else ""
        if detail and self._run.rolled_back is not None:
            detail = f"aborted: {self._run.abort_reason}; {rollback_words(self._run.rolled_back)}"
        watch = self._run.watch
        pictured = self._pictured(self._view, watch.spans, tuple(watch.stamps.values()))
        return msgspec.structs.replace(
            pictured, phase=phase, phase_index=index, detail=detail, hypotheses=self._standing(self._run)
        )

    def _pictured(self, view: DrillView, spans: Sequence[PhaseSpan], faults: Sequence[FaultStamps]) -> DrillView:
        now, zero = self._clock.mono(), self._timeline.zero_s
        return msgspec.structs.replace(
            view,
            elapsed_s=now - zero,
            timeline=phase_views(spans, zero),
            faults=fault_views(faults, zero),
            buckets=self._timeline.buckets(now),
            counts=dict(self._timeline.counts),
            rollback=None if self._run is None else self._run.rolled_back,
        )

    def _standing(self, run: DrillRun) -> tuple[HypothesisView, ...]:
        """Evaluated at most once a second, however many consoles look."""
        at, known = self._hypotheses
        now = self._clock.mono()
        if now - at < HYPOTHESES_EVERY_S or self._compiled is None or run.rolling_back or not run.watch.spans:
            return known
        known = live_state(self._compiled, run.watch.facts(run.watch.spans[-1].name))
        self._hypotheses = (now, known)
        return known


def rollback_words(rollback: DrillRollback) -> str:
    """What became of a run's faults, before its report is there."""
    took = f"{rollback.took_s * 1000:.0f} ms" if rollback.took_s < 1 else f"{rollback.took_s:.1f} s"
    if rollback.left:
        return f"{rollback.left} of {rollback.undos} undos are not verified after {took}; they are tried again"
    if not rollback.undos:
        return "no fault was in place; the report follows"
    tail = f" ({rollback.slow} undone at its own pace)" if rollback.slow else ""
    return f"every fault is gone after {took}{tail}; the report follows"


def _ended(run: DrillRun) -> Callable[[asyncio.Task[Report]], None]:
    """Whoever waits for the undo of a run is let go when it ended in any way; a failure is looked at, not lost."""

    def ended(task: asyncio.Task[Report]) -> None:
        run.undone.set()
        if not task.cancelled():
            task.exception()

    return ended


def _judged(report: Report) -> tuple[HypothesisView, ...]:
    """What became of each hypothesis: violated if any phase violated it."""
    words = {"fail": "violated", "unknown": "no data", "pass": "holding"}
    found: dict[str, HypothesisView] = {}
    for check in report.verdict.checks:
        if check.kind != "hypothesis":
            continue
        before = found.get(check.note)
        if before is None or (before.state != "violated" and check.result != "pass"):
            state, measured = words[check.result], dict(check.measured)
            found[check.note] = HypothesisView(id=check.note, expr=check.text, state=state, measured=measured)
    return tuple(found.values())


def exit_code(outcome: str) -> int:
    """The exit code of `trinity drill run` for an outcome."""
    return DRILL_EXIT_CODES[outcome]
