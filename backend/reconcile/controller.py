"""The reconciler: one loop that takes the plan's steps, and the verbs that change what is wanted.

Owns the loop's life and how steps are carried out. What to do is `plan`'s, how a rollout goes `rollout`'s. It never
starts a process and never speaks to HAProxy itself: fleet and edge are protocols. One loop per daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

import msgspec

from backend.contract.clock import Clock
from backend.contract.edge import Edge
from backend.contract.errors import Refused, TrinityError, UsageError
from backend.contract.fleet import Fleet, Killable, Maintainable, ReplicaStatus, WorkloadSpec
from backend.contract.ledger import RowSink
from backend.contract.platform import PlatformOwned
from backend.contract.words import Phase, Severity, SlotState
from backend.reconcile.core import Core, without_drained
from backend.reconcile.diff import diff
from backend.reconcile.failed_steps import FailedSteps
from backend.reconcile.following import Follower, platform_of, restart_on_platform, roll_out_on_platform
from backend.reconcile.leases import Leases
from backend.reconcile.plan import (
    Clear,
    Create,
    Drain,
    Fill,
    MarkDown,
    Remove,
    StartRollout,
    Step,
    Undrain,
    has_died,
    plan,
)
from backend.reconcile.rollout import Progress, restart_in_place, roll_out, why
from backend.reconcile.wanted import WantedState, WantedStore, WorkloadWanted, merge

TICK_S: Final = 0.25
IDLE_TICK_S: Final = 1.0
STEP_TIMEOUT_S: Final = 30.0


class Reconciler:
    """Keeps a fleet and its edge as wanted. Create it, `await start(specs)`, use its verbs, `await stop()`."""

    def __init__(
        self,
        fleet: Fleet,
        edge: Edge,
        sink: RowSink,
        store: WantedStore,
        leases: Leases,
        clock: Clock,
        *,
        ready_deadline_s: float = 120.0,
    ) -> None:
        self._core = Core(fleet, edge, sink, store, leases, clock)
        self._follower = Follower(self._core)
        self._ready_deadline_s = ready_deadline_s
        self._failed_steps = FailedSteps()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loop_task: asyncio.Task[None] | None = None
        self._pass_problem = ""
        self._unsubscribe: Callable[[], None] = _nothing

    # -- life ---------------------------------------------------------------------------------------------------

    async def start(self, specs: Sequence[WorkloadSpec], *, yaml: str = "", source: str = "") -> None:
        """Read the wanted state, declare the workloads at the edge and begin. Returns before all is Ready.

        `yaml` is the file that declares them, kept for the next daemon (see `WantedState.applied_yaml`)."""
        core = self._core
        loaded = await core.store.load()
        ours = self._declare(specs)
        core.specs = {spec.name: spec for spec in ours}
        core.wanted = msgspec.structs.replace(self._merged(loaded, ours), applied_yaml=yaml, applied_source=source)
        self._follower.follow()
        await core.store.save(core.wanted)
        await core.edge.configure([*core.specs.values()])
        await core.edge.set_retries(on=core.wanted.retries_on)
        for name, wanted in core.wanted.workloads.items():
            if wanted.maintenance and isinstance(core.fleet, Maintainable):
                await core.fleet.set_maintenance(name, on=True)
        slots = {slot.replica for slot in core.edge.slots()}
        core.filled = {s.name: s.pid for s in core.fleet.observe() if s.pid is not None and s.name in slots}
        core.wake.set()
        self._unsubscribe = core.fleet.on_change(self._changed)
        self._loop_task = asyncio.create_task(self._loop(), name="reconciler")

    def _declare(self, specs: Sequence[WorkloadSpec]) -> list[WorkloadSpec]:
        """Tell the driver what is said of its platform's workloads; the others are ours."""
        if isinstance(self._core.fleet, PlatformOwned):
            self._core.fleet.declare([spec for spec in specs if spec.of])
        return [spec for spec in specs if not spec.of]

    def _merged(self, state: WantedState, ours: Sequence[WorkloadSpec]) -> WantedState:
        """`merge`; but what was written down of the platform's workloads stays: they may be seen again later."""
        merged = merge(state, ours)
        if not isinstance(self._core.fleet, PlatformOwned):
            return merged
        return msgspec.structs.replace(merged, workloads={**state.workloads, **merged.workloads})

    async def stop(self) -> None:
        """End the loop and what it has under way. Replicas and slots stay as they are."""
        self._unsubscribe()
        tasks = [*self._tasks, *self._core.leaving.values()]
        if self._loop_task is not None:
            tasks.append(self._loop_task)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._loop_task = None

    async def remove_all(self, *, drain_deadline_s: float = 10.0) -> None:
        """`trinity down`: stop the loop, then drain and end every replica. What is wanted stays written."""
        await self.stop()
        core = self._core

        async def end(status: ReplicaStatus) -> None:
            if core.slot(status.name) is not None:
                await core.drain_until_idle(status.workload, status.name, drain_deadline_s)
            await core.fleet.remove(status.name, reason="the fleet is taken down")
            await core.edge.clear(status.workload, status.name)

        ours = [status for status in core.fleet.observe() if not status.owner]
        results = await asyncio.gather(*(end(status) for status in ours), return_exceptions=True)
        for problem in results:
            if isinstance(problem, BaseException):
                raise problem

    # -- seeing -------------------------------------------------------------------------------------------------

    @property
    def wanted(self) -> WantedState:
        return self._core.wanted

    @property
    def specs(self) -> tuple[WorkloadSpec, ...]:
        return tuple(self._core.specs.values())

    @property
    def leases(self) -> Leases:
        return self._core.leases

    def observe(self) -> tuple[ReplicaStatus, ...]:
        """The fleet's replicas, where `Draining` is shown for those that get no new work."""
        core = self._core
        draining = {slot.replica for slot in core.edge.slots() if slot.state == SlotState.DRAIN}
        draining |= core.leaving.keys() | core.busy
        for wanted in core.wanted.workloads.values():
            draining |= set(wanted.drained)
        if not draining:
            return tuple(core.fleet.observe())
        return tuple(
            msgspec.structs.replace(status, phase=Phase.DRAINING)
            if status.phase == Phase.READY and status.name in draining
            else status
            for status in core.fleet.observe()
        )

    def serving(self, workload: str) -> tuple[str, ...]:
        """Names of the replicas the edge sends requests to."""
        return self._core.serving(workload)

    @property
    def ejector(self) -> Core:
        """For the progress watchdog: `eject`, `readmit` and `serving`."""
        return self._core

    # -- the loop -----------------------------------------------------------------------------------------------

    def _changed(self, status: ReplicaStatus) -> None:
        """On the fleet's change: a death is told to the edge in this very instant, all else wakes the loop."""
        core = self._core
        ours = status.name in core.busy or (status.name in core.leaving and status.phase == Phase.TERMINATING)
        if not ours and status.name not in core.down and has_died(status, core.filled.get(status.name)):
            slot = core.slot(status.name)
            if slot is not None and slot.state != SlotState.MAINT:
                self._spawn(MarkDown(status.workload, status.name))
        if core.acts_on(status):
            core.wake.set()

    def _spawn(self, step: Step) -> None:
        task = asyncio.create_task(self._take(step))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _loop(self) -> None:
        core = self._core
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(
                    IDLE_TICK_S if core.idle else TICK_S
                ):  # wait_for of Python 3.11 can swallow a cancellation
                    await core.wake.wait()
            core.wake.clear()
            try:
                await self._pass()
            except Exception as exc:  # recorded: a loop that ends would leave the fleet to itself
                problem = f"{type(exc).__name__}: {exc}"
                if problem != self._pass_problem:
                    core.event("reconcile.failed", Severity.CRITICAL, core.fleet.name, f"Reconciling failed: {problem}")
                self._pass_problem = problem
                await asyncio.sleep(TICK_S)
            else:
                self._pass_problem = ""
            core.pulse()

    async def _pass(self) -> None:
        core = self._core
        now = core.clock.mono()
        if self._follower.follow():
            await self._configure_edge()
        steps = [step for step in plan(core.situation()) if self._failed_steps.is_due(step, now)]
        done = await asyncio.gather(*(self._take(step) for step in steps))
        if any(ok and not isinstance(step, Remove | StartRollout) for step, ok in zip(steps, done, strict=True)):
            core.wake.set()  # what was done is what the next step may wait for
        await self._forget_departed()

    async def _take(self, step: Step) -> bool:
        """Carry out one step; whether it worked. A failure is recorded once, and the step waits before it is
        tried again."""
        core = self._core
        try:
            async with asyncio.timeout(STEP_TIMEOUT_S):
                await self._carry_out(step)
        except Exception as exc:  # recorded below: the loop must outlive any one step
            self._failed(step, exc)
            return False
        self._failed_steps.worked(step)
        core.last_failure.pop(step.workload, None)
        return True

    def _failed(self, step: Step, exc: BaseException) -> None:
        core = self._core
        problem = str(exc) or type(exc).__name__
        core.last_failure[step.workload] = problem
        if self._failed_steps.failed(step, problem, core.clock.mono()):
            subject = getattr(step, "replica", step.workload)
            what = type(step).__name__.lower()
            core.event("reconcile.step-failed", Severity.ERROR, subject, f"{what} of {subject} failed: {problem}")

    async def _carry_out(self, step: Step) -> None:
        core = self._core
        match step:
            case Create(workload, replica):
                await core.fleet.create(core.spec(workload), replica)
            case Remove():
                self._remove_in_background(step)
            case Fill(workload, replica):
                await core.fill(workload, replica)
            case MarkDown(workload, replica):
                await core.mark_down(workload, replica)
            case Clear(workload, replica):
                async with core.lock(replica):
                    await core.edge.clear(workload, replica)
                core.down.discard(replica)
            case Drain(workload, replica, reason):
                async with core.lock(replica):
                    await core.edge.drain(workload, replica)
                core.event("edge.drained", Severity.INFO, replica, f"{replica} gets no new requests: {reason}.")
            case Undrain(workload, replica):
                async with core.lock(replica):
                    await core.edge.undrain(workload, replica)
                core.event("edge.undrained", Severity.INFO, replica, f"{replica} takes requests again.")
            case StartRollout(workload):
                self._roll_out_in_background(step)

    def _remove_in_background(self, step: Remove) -> None:
        def over(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (exc := task.exception()) is not None:
                self._failed(step, exc)

        self._core.start_removal(step.workload, step.replica, step.reason).add_done_callback(over)

    def _roll_out_in_background(self, step: StartRollout) -> None:
        """The rollout of a new revision, once nobody else works on the workload."""
        workload = step.workload
        if self._core.leases.holder(workload) is not None:
            return

        async def run() -> None:
            try:
                await self.rollout(workload, actor="reconciler")
            except Exception as exc:  # recorded as the step's failure
                self._failed(step, exc)

        task = asyncio.create_task(run(), name=f"rollout {workload}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forget_departed(self) -> None:
        """Take workloads out of the edge once the last replica of them is gone."""
        core = self._core
        if not core.departed:
            return
        standing = {status.workload for status in core.fleet.observe()}
        gone = core.departed.keys() - standing
        if gone and not any(slot.workload in gone for slot in core.edge.slots()):
            for name in gone:
                del core.departed[name]
            await self._configure_edge()

    async def _configure_edge(self) -> None:
        """Declare all workloads at the edge; those on their way out keep their slots behind a route nobody asks for,
        since one without routes has no slots in which its requests could finish."""
        core = self._core
        leaving = [
            msgspec.structs.replace(spec, routes=(f"/.departed/{spec.name}",))
            for spec in core.departed.values()
            if spec.routes
        ]
        await core.edge.configure([*core.specs.values(), *leaving])

    # -- verbs --------------------------------------------------------------------------------------------------

    async def set_replicas(self, workload: str, n: int, *, actor: str = "operator") -> int:
        """Want `n` replicas; returns the number wanted before, once the new one is on disk. The loop does the rest.

        Raises UsageError outside 0..max_replicas or for an unknown workload, LeaseHeld."""
        core = self._core
        spec = core.spec(workload)
        if not 0 <= n <= spec.max_replicas:
            raise UsageError(f"{workload} can have 0 to {spec.max_replicas} replicas, not {n}.")
        platform = platform_of(core, spec)
        if platform is not None:
            async with core.leases.hold(workload, f"scale by {actor}", actor=actor):
                return await platform.scale(workload, n)
        if spec.port and n > 1:
            raise UsageError(f"{workload} has the fixed port {spec.port}, so one replica at most.")
        async with core.leases.hold(workload, f"scale by {actor}", actor=actor):
            before = core.wanted.of(workload).replicas
            await core.want(workload, lambda wanted: msgspec.structs.replace(wanted, replicas=n))
        return before

    async def rollout(self, workload: str, progress: Progress | None = None, *, actor: str = "operator") -> str:
        """Replace every replica, surge first (see `rollout.roll_out`), or as its platform does."""
        platform = platform_of(self._core, self._core.spec(workload))
        if platform is not None:
            told = progress or _silent
            return await roll_out_on_platform(self._core, platform, workload, actor=actor, progress=told)
        return await roll_out(
            self._core,
            workload,
            actor=actor,
            ready_deadline_s=self._ready_deadline_s,
            progress=progress or _silent,
        )

    async def restart_replica(self, replica: str, progress: Progress | None = None, *, actor: str = "operator") -> str:
        """Drain, restart in place, serve again; see `rollout.restart_in_place`."""
        core = self._core
        owned = core.spec(core.get(replica).workload).kind
        return await (restart_on_platform if owned else restart_in_place)(
            self._core,
            replica,
            actor=actor,
            ready_deadline_s=self._ready_deadline_s,
            progress=progress or _silent,
        )

    async def drain(self, replica: str, *, actor: str = "operator") -> int:
        """Take a replica out of rotation until `undrain`; returns the requests it still has."""
        core = self._core
        workload = core.get(replica).workload
        if not core.spec(workload).routes:
            raise Refused(f"{replica} gets no requests from our edge.", "Give its workload routes, or scale it down.")
        async with core.leases.hold(workload, f"drain by {actor}", actor=actor):
            await core.want(
                workload,
                lambda wanted: msgspec.structs.replace(
                    without_drained(wanted, replica), drained=(*without_drained(wanted, replica).drained, replica)
                ),
            )
            async with core.lock(replica):
                await core.edge.drain(workload, replica)
        return await core.edge.in_flight(workload, replica)

    async def undrain(self, replica: str, *, actor: str = "operator") -> None:
        """Put a drained replica back into rotation; the loop fills its slot where it is Ready."""
        core = self._core
        workload = core.get(replica).workload
        async with core.leases.hold(workload, f"undrain by {actor}", actor=actor):
            await core.want(workload, lambda wanted: without_drained(wanted, replica))

    async def kill(self, replica: str, signal: int = 9, *, actor: str = "operator") -> int:
        """Send `signal` to a replica's process; returns its pid. Raises Refused where the driver cannot."""
        core = self._core
        workload = core.get(replica).workload
        if not isinstance(core.fleet, Killable):
            raise Refused(f"Fleet {core.fleet.name} cannot kill replicas.")
        async with core.leases.hold(workload, f"kill by {actor}", actor=actor):
            return await core.fleet.kill(replica, signal=signal)

    async def set_maintenance(self, workload: str, on: bool, *, actor: str = "operator") -> None:
        """Maintenance mode: no autoscaler, no restarts, no probe acts on the workload."""
        core = self._core
        core.spec(workload)
        async with core.leases.hold(workload, f"maintenance by {actor}", actor=actor):
            await core.want(workload, lambda wanted: msgspec.structs.replace(wanted, maintenance=on))
            if isinstance(core.fleet, Maintainable):
                await core.fleet.set_maintenance(workload, on=on)

    async def set_autoscale(self, workload: str, on: bool) -> None:
        """Write down whether the autoscaler runs for the workload (the daemon switches it)."""
        self._core.spec(workload)
        await self._core.want(workload, lambda wanted: msgspec.structs.replace(wanted, autoscale=on))

    async def set_retries(self, on: bool) -> None:
        """Switch the edge's retries and write it down."""
        await self._core.want_all(lambda state: msgspec.structs.replace(state, retries_on=on))
        await self._core.edge.set_retries(on=on)

    def protect(self, replica: str, held: bool) -> None:
        """A drill holds a replica: while it does, no scale-down or rollout picks it."""
        (self._core.protected.add if held else self._core.protected.discard)(replica)
        self._core.wake.set()

    async def apply(
        self, specs: Sequence[WorkloadSpec], *, yaml: str = "", source: str = "", actor: str = "operator"
    ) -> tuple[str, ...]:
        """Make `specs` what is declared; returns what changed (see `diff`). New revisions roll out by the loop.

        Raises LeaseHeld where somebody works on a workload that changes; then nothing was applied."""
        core = self._core
        followed = {name: spec for name, spec in core.specs.items() if spec.kind}
        before = {name: spec for name, spec in core.specs.items() if not spec.kind}
        changes = diff(before.values(), [spec for spec in specs if not spec.of])
        new = {spec.name: spec for spec in specs if not spec.of}
        touched = sorted(name for name in before.keys() | new.keys() if before.get(name) != new.get(name))
        async with AsyncExitStack() as held:
            for name in touched:
                await held.enter_async_context(core.leases.hold(name, f"apply by {actor}", actor=actor))
            await core.want_all(
                lambda state: msgspec.structs.replace(
                    self._merged(state, list(new.values())), applied_yaml=yaml, applied_source=source
                )
            )
            for name in touched:
                core.blocked.pop(name, None)
            departed = {name: spec for name, spec in before.items() if name not in new}
            core.departed = {**{k: v for k, v in core.departed.items() if k not in new}, **departed}
            core.specs = {**new, **followed}
            self._declare(specs)
            self._follower.follow()
            await self._configure_edge()
        core.event("fleet.applied", Severity.INFO, core.fleet.name, "; ".join(changes) or "Nothing changed.")
        core.wake.set()
        return changes

    async def wait_ready(self, workload: str | None = None, timeout_s: float = 60.0) -> None:
        """Until all wanted replicas of the workload (of all, where None) serve. Raises TrinityError in the end."""
        core = self._core
        if workload is not None:
            core.spec(workload)
        names = tuple(core.specs) if workload is None else (workload,)
        if await core.until(lambda: all(self._is_complete(name) for name in names), timeout_s):
            return
        late = [
            f"{status.name} ({why(status)})" for name in names for status in core.alive(name) if not core.serves(status)
        ]
        late += [f"{name}: {core.last_failure[name]}" for name in names if name in core.last_failure]
        raise TrinityError(
            f"Not Ready after {timeout_s:g} s: {', '.join(late) or 'replicas have yet to be started'}.",
            "See `trinity events` and `trinity logs`.",
        )

    def _is_complete(self, workload: str) -> bool:
        core = self._core
        wanted: WorkloadWanted = core.wanted.of(workload)
        ready = sum(
            core.serves(s) or (s.phase == Phase.READY and s.name in wanted.drained) for s in core.alive(workload)
        )
        return ready >= wanted.replicas


def _silent(_message: str) -> None:
    """Nobody follows this procedure's progress."""


def _nothing() -> None:
    """Nothing was subscribed to yet."""
