"""The daemon's desk for drills: what the gateway's drill verbs, the console and the daemon's own life talk to.

Owns the one runner. Faults do not pass here: they go from the run through its host and the gateway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from backend.actions.executor import Effect
from backend.contract.control import ActionRequest, DrillInfo, DrillView
from backend.contract.errors import InternalError, Refused, TrinityError
from backend.contract.words import DrillOutcome, Risk, Severity
from backend.daemon.drill_host import DaemonHost
from backend.daemon.drill_orders import DrillOrders
from backend.daemon.drill_runs import DrillShelf
from backend.daemon.outside.desk import OutsideRuns
from backend.daemon.outside.order import ObserverOrder
from backend.drills import outside, store
from backend.drills.check import Compiled
from backend.drills.loads import GeneratorLoads
from backend.drills.runner import DrillRunner, rollback_words

if TYPE_CHECKING:
    from backend.daemon.parts import Parts


class DaemonDrills:
    """The daemon's desk for drills."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._host = DaemonHost(parts)
        self.runner = DrillRunner(self._host, GeneratorLoads(parts.clock), parts.clock, parts.paths.drills_dir)
        self._outside = OutsideRuns(
            parts.paths.drills_dir,
            hold=lambda workload, holder: parts.leases.hold(workload, holder, owner=holder),
            append=parts.ledger.append,
            changed=parts.hub.nudge,
            lost=lambda _: self._recover(),
        )
        self._recovery: asyncio.Task[None] | None = None
        self.shelf = DrillShelf(parts.paths.drills_dir)
        self._last: dict[str, DrillView] = {}
        self._orders = DrillOrders()

    async def prepare(self, request: ActionRequest) -> None:
        """Read the scenario of a request off the loop; call it before the gateway previews or performs."""
        await self._orders.prepare(request)

    def preview(self, request: ActionRequest) -> Effect:
        """The plan in words. Raises UsageError or FileError."""
        compiled = self._orders.compiled(request)
        plan = self.runner.plan(compiled)
        return Effect(
            summary=f"Drill {plan.name}: {plan.title} (about {plan.wall_s:.0f} s)",
            effects=plan.lines,
            risk=Risk.LOW,
            refusal=" ".join((*plan.refusals, *filter(None, [outside.refusal(compiled)]))),
        )

    async def start(self, request: ActionRequest) -> str:
        compiled = self._orders.compiled(request)
        if outside.is_outside(compiled):
            return await self._start_outside(compiled, request.actor)
        if self._outside.busy:
            raise Refused("A drill is running.", "Wait for it, or stop it with `trinity drill stop`.")
        return await self.runner.start(compiled, actor=request.actor)

    async def _start_outside(self, compiled: Compiled, actor: str) -> str:
        """A drill that kills the daemon: by a process of its own."""
        present = self.runner.view()
        if why := outside.refusal(compiled):
            raise Refused(why, "Put it into a drill of its own.")
        if self.runner.blocked:
            raise Refused(f"Drills are blocked: {self.runner.blocked}.", "Allow them again with `trinity drill allow`.")
        if present is not None and present.outcome == DrillOutcome.RUNNING:
            raise Refused(f"Drill {present.run_id} is running.", "Wait for it, or stop it with `trinity drill stop`.")
        plan = self.runner.plan(compiled)
        plan.require()
        host = self._host
        order = ObserverOrder(
            state_dir=str(self._parts.paths.state_dir),
            actor=actor,
            yaml=compiled.text,
            seed=compiled.scenario.seed,
            confidence=compiled.confidence,
            max_generator_lag_s=compiled.max_generator_lag_s,
            source=compiled.source,
            environment=host.environment,
            fleet=host.fleet,
            driver=host.driver,
            versions=host.versions,
            api_key=host.api_key,
            workloads=tuple(host.workloads()),
            auto_port=self._parts.auto_port,
        )
        return await self._outside.start(order, sorted(set(plan.pools.values())))

    async def stop(self, request: ActionRequest) -> str:
        """Stop the running drill; with `panic` also block new ones, with `allow` let them again; or `recover`."""
        if request.args.get("recover"):
            await self.recover()
            return "Undoing what earlier drills left."
        if request.args.get("allow"):
            self.runner.allow()
            return "Drills may run again."
        reason = f"{request.actor}: {request.reason or 'stopped'}"
        panic = bool(request.args.get("panic"))
        inside = await (self.runner.panic(reason) if panic else self.runner.stop(reason))
        view = await self._outside.stop(reason) or inside
        if view is None and not panic:
            raise Refused("No drill runs.", "See `trinity drill status`.")
        blocked = " No drill may start until `trinity drill allow`." if panic else ""
        said = "No drill ran." if view is None else _stopped_words(view)
        if view is not None and view.rollback is not None and view.rollback.left:
            raise InternalError(f"{said}{blocked}", "See `trinity drill status`; then `trinity drill recover`.")
        return said + blocked

    def view(self) -> DrillView | None:
        views = [view for view in (self.runner.view(), self._outside.view()) if view is not None]
        view = max(views, key=lambda one: one.started_ts, default=None)
        if view is not None:
            self._last[view.name] = view
        return view

    async def infos(self, *, plans: bool = True) -> Sequence[DrillInfo]:
        """Every shipped drill with its last run; with `plans` what each would do now."""
        last = {**await self.shelf.last(), **self._last}
        return [self._info(compiled, last, planned=plans) for compiled in await self.shelf.drills()]

    async def info(self, name: str) -> DrillInfo:
        """One shipped drill with what it would do now. Raises UsageError."""
        compiled = await self.shelf.drill(name)
        return self._info(compiled, {**await self.shelf.last(), **self._last}, planned=True)

    def _info(self, compiled: Compiled, last: Mapping[str, DrillView], *, planned: bool) -> DrillInfo:
        scenario = compiled.scenario
        plan = self.runner.plan(compiled) if planned else None
        view = last.get(scenario.name)
        return DrillInfo(
            name=scenario.name,
            title=scenario.title,
            tags=tuple(scenario.tags),
            description=scenario.about,
            path=compiled.source,
            plan=() if plan is None else (*(f"Refused: {why}" for why in plan.refusals), *plan.lines),
            last=None if view is None else msgspec.structs.replace(view, buckets=()),
        )

    async def recover(self) -> None:
        """Undo what a dead daemon's drill left, in the background: it waits until victims are Ready. A run outside
        of the daemon whose observer lives goes on."""
        await self._outside.adopt(self._pools)
        self._recovery = asyncio.create_task(self._recover(), name="drill recovery")

    def _pools(self, run_dir: Path) -> Sequence[str]:
        """The workloads a run of the past is about."""
        try:
            return sorted(set(self.runner.plan(store.read_scenario(run_dir)).pools.values()))
        except TrinityError:
            return ()

    async def _recover(self) -> None:
        try:
            await self.runner.recover()
        except (TrinityError, OSError) as error:
            self._parts.event(
                "drill.recovery_failed",
                Severity.CRITICAL,
                self._parts.config.name,
                f"Drills could not be recovered: {error}",
            )

    async def close(self) -> None:
        """End the running drill, its faults undone, before the daemon goes."""
        if self._recovery is not None:
            self._recovery.cancel()
            await asyncio.gather(self._recovery, return_exceptions=True)
        try:
            await self._outside.end("the daemon is ending")
            await self._outside.close()
            await self.runner.end("the daemon is ending")
        except TrinityError as error:
            self._parts.event("drill.broke", Severity.ERROR, self._parts.config.name, str(error))


def _stopped_words(view: DrillView) -> str:
    """How a drill that was stopped stands."""
    if view.outcome != DrillOutcome.RUNNING or view.rollback is None:
        return f"{view.name}: {view.outcome}."
    return f"{view.name}: {rollback_words(view.rollback)}."
