"""Drills of the pretended fleet as they run: a timeline second by second, a verdict, a report, a history. Seeded.

Owns the run's numbers; what they do to the fleet is told to the world by `step`. No clock, no I/O.
"""

from __future__ import annotations

import math
import random
from typing import Any, Final

import msgspec

from backend.contract.control import (
    DrillBucket,
    DrillFaultView,
    DrillInfo,
    DrillPhasePlan,
    DrillPhaseView,
    DrillView,
    HypothesisView,
)
from backend.contract.errors import UsageError
from backend.contract.words import DrillOutcome
from console.state.sim_reports import compare_of, html_of, report_of
from console.state.sim_scripts import SCRIPTS, Script, ScriptFault, plan_of, script

HISTORY: Final = 3
"""Runs of each drill that the pretended fleet remembers from before."""


class SimDrills:
    """One run at a time; the past ones in order."""

    def __init__(self, seed: int, now: float) -> None:
        self.seed = seed
        self.blocked = ""
        self.runs: list[DrillView] = []
        self.reports: dict[str, dict[str, Any]] = {}
        self._script: Script | None = None
        self._since = 0.0
        self._hurt: set[str] = set()
        self._remember(now)

    def _remember(self, now: float) -> None:
        """A history to compare with."""
        for back in range(HISTORY, 0, -1):
            for at, one in enumerate(SCRIPTS):
                if one.refused or (at + back) % 4 == 0:
                    continue
                started = now - back * 86_400 - at * 700.0
                run = f"{one.name}-day-{back}"
                ending = DrillOutcome.FAIL if (at, back) == (2, 3) else DrillOutcome.PASS
                self._keep(one, run, started, one.wall_s, ending, "every expectation held")

    @property
    def view(self) -> DrillView | None:
        return self.runs[-1] if self._script is not None else None

    @property
    def running(self) -> bool:
        return self.view is not None and self.view.outcome == DrillOutcome.RUNNING

    def infos(self) -> list[DrillInfo]:
        """Every drill with its plan and last run."""
        last = {view.name: view for view in self.runs}
        return [
            DrillInfo(
                name=one.name,
                title=one.title,
                tags=one.tags,
                description=one.about,
                path=f"library/{one.name}.yaml",
                plan=plan_of(one),
                last=last.get(one.name),
            )
            for one in SCRIPTS
        ]

    def start(self, run_id: str, name: str, now: float) -> DrillView:
        """Begin a run. Raises UsageError for a drill that nobody wrote."""
        found = script(name)
        if found is None:
            raise UsageError(f"There is no drill named `{name}`.", "See `trinity drill list`.")
        self._script, self._since, self._hurt = found, now, set()
        self.runs.append(_view(found, run_id, now, 0.0, self.seed, DrillOutcome.RUNNING))
        return self.runs[-1]

    def step(self, now: float) -> tuple[list[ScriptFault], DrillView | None]:
        """Live up to `now`: the faults that were injected since, and the run's view where it ended just now."""
        one, view = self._script, self.view
        if one is None or view is None or view.outcome != DrillOutcome.RUNNING:
            return [], None
        elapsed = now - self._since
        fresh = [f for f in one.faults if f.id not in self._hurt and elapsed >= _at(one, f)]
        self._hurt |= {fault.id for fault in fresh}
        if elapsed >= one.wall_s:
            return fresh, self._end(one, view, one.wall_s, DrillOutcome.PASS, "every expectation held")
        self.runs[-1] = _view(one, view.run_id, view.started_ts, elapsed, self.seed, DrillOutcome.RUNNING)
        return fresh, None

    def stop(self, now: float, reason: str, *, panic: bool) -> str:
        """Abort what runs, its faults undone; with `panic` nothing may start any more."""
        if panic:
            self.blocked = reason
        tail = " No drill may start until `trinity drill allow`." if panic else ""
        one, view = self._script, self.view
        if one is None or view is None or view.outcome != DrillOutcome.RUNNING:
            return f"No drill ran.{tail}"
        words = f"aborted: {reason}; every undo is verified"
        ended = self._end(one, view, now - self._since, DrillOutcome.ABORTED_CLEAN, words)
        return f"{ended.name}: {ended.outcome}.{tail}"

    def report(self, run_id: str) -> dict[str, Any]:
        """Raises UsageError for a run that nobody remembers."""
        if run_id not in self.reports:
            raise UsageError(f"There is no report of the run {run_id}.", "See `trinity drill history`.")
        return self.reports[run_id]

    def compare(self, base: str, run_id: str) -> dict[str, Any]:
        return compare_of(self.report(base), self.report(run_id))

    def file(self, run_id: str, kind: str) -> bytes:
        report = self.report(run_id)
        return html_of(report) if kind == "html" else msgspec.json.encode(report)

    def _end(self, one: Script, view: DrillView, elapsed: float, outcome: DrillOutcome, words: str) -> DrillView:
        self.runs.pop()
        return self._keep(one, view.run_id, view.started_ts, elapsed, outcome, words)

    def _keep(
        self, one: Script, run_id: str, started: float, elapsed: float, outcome: DrillOutcome, words: str
    ) -> DrillView:
        ended = _view(one, run_id, started, elapsed, self.seed, outcome)
        failing = outcome == DrillOutcome.FAIL
        ended = msgspec.structs.replace(
            ended,
            detail="failed(chat) == 0 (failed(chat) = 3)" if failing else words,
            report_path=f"drills/{run_id}/report.json",
        )
        self.runs.append(ended)
        self.reports[run_id] = report_of(one, ended, self.seed)
        return ended


def _at(one: Script, fault: ScriptFault) -> float:
    """When a fault is injected, seconds since the run's start."""
    return sum(phase.seconds for phase in one.phases[: fault.phase]) + fault.after_s


def _view(one: Script, run_id: str, started: float, elapsed: float, seed: int, outcome: DrillOutcome) -> DrillView:
    """The run as it looks `elapsed` seconds after its start. The same arguments give the same view."""
    running = outcome == DrillOutcome.RUNNING
    timeline = _timeline(one, elapsed, running=running)
    current = timeline[-1] if timeline and running else None
    faults = tuple(_fault(one, fault, run_id, elapsed, running=running) for fault in one.faults)
    buckets = tuple(_bucket(one, run_id, second, seed) for second in range(int(elapsed)))
    failed = sum(bucket.failed for bucket in buckets)
    return DrillView(
        run_id=run_id,
        name=one.name,
        title=one.title,
        outcome=outcome,
        phase=current.name if current else "",
        phase_index=len(timeline),
        phases=len(one.phases),
        started_ts=started,
        ended_ts=None if running else started + elapsed,
        elapsed_s=elapsed,
        estimated_s=one.wall_s,
        planned=tuple(DrillPhasePlan(name=phase.name, seconds=phase.seconds) for phase in one.phases),
        timeline=timeline,
        faults=tuple(fault for fault in faults if fault.command_s is not None),
        buckets=buckets,
        hypotheses=_hypotheses(one, elapsed, buckets),
        counts={"ok": sum(bucket.ok for bucket in buckets), "slow": 0, "failed": failed, "shed": 0},
    )


def _timeline(one: Script, elapsed: float, *, running: bool) -> tuple[DrillPhaseView, ...]:
    out: list[DrillPhaseView] = []
    at = 0.0
    for index, phase in enumerate(one.phases):
        if at > elapsed:
            break
        end = at + phase.seconds
        done = end <= elapsed or not running
        out.append(
            DrillPhaseView(name=phase.name, start_s=at, end_s=min(end, elapsed) if done else None, gate=not index)
        )
        at = end
    return tuple(out)


def _fault(one: Script, fault: ScriptFault, run_id: str, elapsed: float, *, running: bool) -> DrillFaultView:
    command = _at(one, fault)
    effective = command + 0.003
    pick = random.Random(f"{run_id}:{fault.id}")  # noqa: S311 - a pretended measurement
    shake = pick.uniform(0.8, 1.25)

    def seen(after: float | None) -> float | None:
        if after is None:
            return None
        at = effective + after * shake
        return at if at <= elapsed else None

    known = command <= elapsed
    recovered = seen(fault.recovered_s)
    if not running and known and recovered is None:
        recovered = elapsed  # undone at the end
    return DrillFaultView(
        id=fault.id,
        fault=fault.kind,
        victims=(f"{fault.workload}-{fault.phase}",) if fault.workload in ("llm", "embedding") else (fault.workload,),
        command_s=command if known else None,
        effective_s=effective if known else None,
        detected_s=seen(fault.detected_s),
        healed_s=recovered,
        ready_s=recovered,
        undone_s=recovered,
        verified=known,
    )


def _bucket(one: Script, run_id: str, second: int, seed: int) -> DrillBucket:
    """One second of the load: slower while a fault lasts, slowest just after it took effect."""
    pick = random.Random(f"{seed}:{run_id}:{second}")  # noqa: S311 - a pretended measurement
    strain = 1.0
    for fault in one.faults:
        since = second - _at(one, fault)
        if 0 <= since < fault.recovered_s + 1:
            strain = max(strain, fault.slows * (1.0 + 0.6 * math.exp(-since)))
    count = max(1, round(pick.gauss(one.rate, math.sqrt(one.rate) * 0.6)))
    p50 = one.base_s * (0.7 + 0.3 * strain) * pick.uniform(0.93, 1.08)
    p95 = one.base_s * 1.9 * strain * pick.uniform(0.9, 1.15)
    ttft = p95 * 0.45 if one.load == "chat" else None
    return DrillBucket(at_s=float(second), ok=count, p50_s=p50, p95_s=p95, ttft_p95_s=ttft)


def _hypotheses(one: Script, elapsed: float, buckets: tuple[DrillBucket, ...]) -> tuple[HypothesisView, ...]:
    out: list[HypothesisView] = []
    baseline = [b.p95_s for b in buckets[: int(one.phases[0].seconds)] if b.p95_s is not None]
    for index, text in enumerate(one.hypotheses):
        if index == 0:
            measured: dict[str, float | None] = {f"failed({one.load})": float(sum(b.failed for b in buckets))}
            out.append(
                HypothesisView(id="alive", expr=text, state="holding" if buckets else "no data", measured=measured)
            )
            continue
        known = elapsed > one.phases[0].seconds + 2 and baseline
        values = {f"p95(ttft({one.load}))": buckets[-1].p95_s} if known else {}
        out.append(HypothesisView(id="steady", expr=text, state="holding" if known else "no data", measured=values))
    return tuple(out)
