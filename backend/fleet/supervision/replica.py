"""The life of one replica: start, probes, death, back-off, restart, removal.

Owns one task per replica that makes every decision about it in turn. Knows nothing of the edge, of how many replicas
are wanted, or of what its program runs in: that is its starter's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import msgspec

from backend.contract.errors import InternalError, Refused, TrinityError, Unreachable
from backend.contract.fleet import ExitRecord, ReplicaStatus
from backend.contract.words import Phase, Severity
from backend.fleet.supervision.backoff import CrashBackoff
from backend.fleet.supervision.cause import exit_phrase
from backend.fleet.supervision.context import Intent, ReplicaContext
from backend.fleet.supervision.engine_work import wait_until_idle
from backend.fleet.supervision.incarnation import Incarnation, Starter, Usage
from backend.fleet.supervision.marks import Splice
from backend.fleet.supervision.process import ReplicaProcess
from backend.fleet.supervision.replica_events import ReplicaEvents, died_message, exit_attributes
from backend.fleet.supervision.seed import ReplicaSeed
from backend.fleet.supervision.settle import settled
from backend.fleet.supervision.waiting import is_set_within
from backend.probes.lifecycle import Verdict

UNHEALTHY_GRACE_S: Final = 1.0
"""From the stop signal to SIGKILL for a process whose liveness or startup probe gave it up."""
_REMOVE_AGAIN_S: Final = 1.0
"""How long a replica that could not be removed is left alone: who wants it gone asks again."""
_SIGNALS_THAT_SPARE: Final = frozenset({0, 17, 18, 19, 20, 21, 22, 23, 28})
"""CHLD, CONT, STOP, TSTP, TTIN, TTOU, URG, WINCH: their default action does not end a process."""


S_co = TypeVar("S_co", bound=Starter, covariant=True)


class Replica(Generic[S_co]):
    """One replica. All public methods are called on the loop."""

    def __init__(self, seed: ReplicaSeed, context: ReplicaContext, starter: S_co) -> None:
        self.seed = seed
        self.starter = starter
        self._context = context
        self._clock = context.clock
        self._backoff = CrashBackoff(seed.crashes)
        self._phase = Phase.PENDING
        self._reason = ""
        self._process: ReplicaProcess | None = None
        self._exit: ExitRecord | None = None
        self._given_up: str | None = None
        self._intent: Intent | None = None
        self._not_before_s = 0.0
        self._next_start_ts: float | None = None
        self._adopted = False
        self._held = False
        self._maintenance = False
        self._paused = False
        self._usage: Usage | None = None
        self._wake = asyncio.Event()
        self._first_verdict = asyncio.Event()
        self._life: asyncio.Task[None] | None = None
        self._event = ReplicaEvents(context.sink, context.clock, seed.name, seed.workload.name).record

    # -- what is seen

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    @property
    def incarnation(self) -> Incarnation | None:
        """The present start of its program; null while there is none."""
        return self._process.incarnation if self._process is not None else None

    def status(self) -> ReplicaStatus:
        """The replica as it is now."""
        seed, spec, process, splice = self.seed, self.seed.workload, self._process, self.starter.marks.splice
        reason = self._reason
        if process is not None and not reason and self._phase in (Phase.STARTING, Phase.NOT_READY):
            reason = process.probes.lifecycle.why_not_ready()
        elif process is None and self._phase is Phase.STARTING:
            reason = self.starter.busy() or reason
        return ReplicaStatus(
            name=seed.name,
            fleet=seed.fleet,
            workload=spec.name,
            phase=self._phase,
            revision=spec.revision,
            reason=reason,
            restarts=seed.restarts,
            created_ts=seed.created_ts,
            started_ts=process.started_ts if process else None,
            pid=self.pid,
            shim_pid=process.incarnation.keeper_pid if process else None,
            host=process.host if process else spec.host,
            port=seed.port,
            health_port=seed.health_port,
            via_port=splice.port if splice else None,
            via_health_port=splice.health_port if splice else None,
            cpu_percent=self._usage.cpu_percent if self._usage else None,
            memory_bytes=self._usage.memory_bytes if self._usage else None,
            memory_limit_bytes=spec.memory_limit_bytes,
            last_exit=seed.last_exit,
            probes=process.probes.lifecycle.statuses() if process else (),
            next_start_ts=self._next_start_ts,
            adopted=self._adopted,
            image=spec.image,
            net_rx_bytes_per_s=self._usage.net_rx_bytes_per_s if self._usage else None,
            net_tx_bytes_per_s=self._usage.net_tx_bytes_per_s if self._usage else None,
        )

    def measured(self, usage: Usage | None) -> None:
        """Take a measurement of the present process."""
        self._usage = usage

    # -- what is asked

    def begin(self) -> None:
        """Start its life: the program is started as soon as the loop gets to it."""
        self._life = asyncio.create_task(self._live(), name=f"replica-{self.seed.name}")
        self._life.add_done_callback(self._life_ended)

    async def begin_adopted(self, incarnation: Incarnation, *, answer_s: float, paused: bool = False) -> None:
        """Begin with a process that already runs; waits up to `answer_s` for its readiness."""
        self._adopted = True
        self._attach(incarnation)
        if paused:
            self.pause(on=True)
        self._event("adopted", Severity.INFO, f"{self.seed.name} goes on as pid {self.pid}", pid=self.pid)
        self.begin()
        await is_set_within(self._first_verdict, answer_s)

    def begin_missed(self, exit_record: ExitRecord | None, note: Callable[[ReplicaSeed], None]) -> None:
        """Begin with a process that ended while no daemon ran (null: an exit that was told already); `note` writes down
        that it was seen, and may raise OSError."""
        self._adopted = True
        if exit_record is not None:
            self._took_exit(exit_record, ready_for_s=None, counted=True, missed=True, note=note)
        elif self.seed.last_exit is not None:
            self._reason = exit_phrase(self.seed.last_exit)
        self.begin()

    async def remove(self, reason: str) -> None:
        """End for good; returns when nothing of it is left. Waits for a restart under way. Raises TrinityError."""
        while self._intent is not None and not self._intent.remove:
            await asyncio.wait([self._intent.done])
        if self._intent is None:
            self._intent = Intent(True, reason, asyncio.get_running_loop().create_future())
            self._wake.set()
        await asyncio.shield(self._intent.done)

    async def restart(self, reason: str) -> None:
        """End and start anew; returns when the new process was executed, raises TrinityError when it was not.

        Raises Refused while the replica is being removed or restarted already.
        """
        if self._intent is not None:
            raise Refused(f"{self.seed.name} is already being ended ({self._intent.reason}).", "Wait for that.")
        self._intent = Intent(False, reason, asyncio.get_running_loop().create_future())
        self._wake.set()
        await asyncio.shield(self._intent.done)

    async def kill(self, number: int, *, counted: bool) -> int:
        """Signal the process. Raises TrinityError when there is none."""
        process = self._process
        if process is None or process.pid is None:
            raise TrinityError(f"{self.seed.name} has no process now.", "Wait until it is started again.")
        pid = process.pid  # it may be gone, and said to be, before the answer is here
        if not counted and number not in _SIGNALS_THAT_SPARE:
            self.starter.marks.expect_death(pid)
        await process.incarnation.signal(number)
        return pid

    def splice(self, splice: Splice | None) -> None:
        """Lead edge and probes through a fault proxy, or straight again. A restart keeps it."""
        if splice == self.starter.marks.splice:
            return
        self.starter.marks.splice = splice
        if self._process is not None:
            self._process.lead(splice)
        self._context.changed(self.status())

    def hold(self, *, held: bool) -> None:
        """While held, a death is not followed by a start."""
        self._held = held
        self._wake.set()

    def maintain(self, *, on: bool) -> None:
        """While maintained, probes change nothing for the worse and a death is not followed by a start."""
        self._maintenance = on
        process = self._process
        if process is not None and not on and self._phase is Phase.READY and not process.probes.lifecycle.ready:
            self._on_verdict("not-ready")
        self._wake.set()

    def pause(self, *, on: bool) -> None:
        """Its program was frozen by wish of a person, or goes on: meanwhile no probe ends it."""
        if self._paused == on:
            return
        self._paused = on
        process = self._process
        if process is None:
            return
        if on:
            process.probes.stop()
            process.ready_since_s = None
            self._event("paused", Severity.WARNING, f"{self.seed.name} is paused")
            self._set(Phase.NOT_READY, "paused")
        else:
            self._event("unpaused", Severity.INFO, f"{self.seed.name} goes on")
            self._reason = ""
            process.probe_anew()
            if process.probes.lifecycle.ready:
                self._on_verdict("ready")

    def reconsider(self) -> None:
        """What hindered a start may be gone."""
        self._wake.set()

    async def detach(self) -> None:
        """Leave the process to itself and forget it."""
        if self._life is not None:
            self._life.cancel()
            await asyncio.wait([self._life])
        if self._process is not None:
            await self._process.detach()

    # -- its life

    async def _live(self) -> None:
        """Decide one thing after the other until the replica is removed."""
        while True:
            if self._process is None:
                if await self._until_start():
                    await self._start()
                elif await self._removed():
                    break
            elif self._exit is not None:
                await self._after_exit(self._exit)
            elif self._intent is not None:
                if await self._end_on_request(self._process, self._intent) and await self._removed():
                    break
            elif self._given_up is not None and not self._maintenance and not self._paused:
                await self._end_unhealthy(self._process, self._given_up)
            else:
                await self._wake.wait()
                self._wake.clear()

    async def _until_start(self) -> bool:
        """Wait until a start is due. False when the replica is to be removed instead."""
        while True:
            self._wake.clear()
            if self._intent is not None and self._intent.remove:
                return False
            hindrance = self.starter.hindrance()
            if self._intent is not None and not hindrance:
                return True
            wait_s = self._not_before_s - self._clock.mono()
            if self._held or self._maintenance:
                self._set(Phase.FAILED, "held: not restarted" if self._held else "maintenance: not restarted")
                wait_s = float("inf")
            elif hindrance:
                self._set(Phase.PENDING, hindrance)
                wait_s = float("inf")
            elif wait_s <= 0:
                return True
            await is_set_within(self._wake, None if wait_s == float("inf") else wait_s)

    async def _start(self) -> None:
        asked = self._intent
        self._next_start_ts = None
        if asked is not None:
            self._reason = f"restarted: {asked.reason}"
        self._set(Phase.STARTING, self._reason)
        try:
            self.seed = await settled(self.seed, self._context.ports)
            incarnation = await self.starter.start(self.seed)
        except (TrinityError, OSError) as error:
            if not (isinstance(error, Unreachable) and self.starter.hindrance()):  # else it starts once that is gone
                self._not_started(error, asked)
            return
        pid = incarnation.pid
        self._event("started", Severity.INFO, f"{self.seed.name} started as pid {pid}", pid=pid, port=self.seed.port)
        self._attach(incarnation)
        if asked is not None:
            self._intent = None
            asked.resolve()

    def _not_started(self, error: Exception, asked: Intent | None) -> None:
        record = ExitRecord(ts=self._clock.now(), mono_s=self._clock.mono(), reason="Error", last_lines=(str(error),))
        self._took_exit(record, ready_for_s=None, counted=True)
        if asked is not None:
            self._intent = None
            asked.fail(error if isinstance(error, TrinityError) else TrinityError(f"{self.seed.name}: {error}"))

    def _attach(self, incarnation: Incarnation) -> None:
        self._exit, self._given_up, self._paused = None, None, False
        self.starter.marks.forget_process()
        self._first_verdict.clear()
        self._process = ReplicaProcess(
            incarnation,
            self.seed,
            self._clock,
            splice=self.starter.marks.splice,
            on_death=self._on_death,
            on_exit=self._on_exit,
            on_verdict=self._on_verdict,
        )
        self._phase = Phase.STARTING
        self._context.changed(self.status())
        self._process.watch()
        if self._process.probes.lifecycle.ready:
            self._on_verdict("ready")

    async def _after_exit(self, record: ExitRecord) -> None:
        """The process ended by itself or by somebody's signal."""
        process = self._process
        assert process is not None
        process.unwatch()
        counted = not self.starter.marks.expected(record.pid)
        ready_for_s = None if process.ready_since_s is None else self._clock.mono() - process.ready_since_s
        self._process = None
        self._took_exit(record, ready_for_s=ready_for_s, counted=counted, note=process.incarnation.note_exit)
        await process.release()

    async def _end_on_request(self, process: ReplicaProcess, intent: Intent) -> bool:
        """Carry out a removal or the first half of a restart. True when the replica is to be forgotten."""
        self._set(Phase.TERMINATING, intent.reason)
        spec = self.seed.workload
        begun = self._clock.mono()
        await self.starter.before_end()
        idle = asyncio.create_task(wait_until_idle(spec.engine, process.host, self.seed.port, spec.stop_grace_s))
        while not idle.done() and self._exit is None:
            self._wake.clear()
            wake = asyncio.create_task(self._wake.wait())
            await asyncio.wait([idle, wake], return_when=asyncio.FIRST_COMPLETED)
            wake.cancel()
        idle.cancel()
        try:
            record = await self._end(process, max(0.5, spec.stop_grace_s - (self._clock.mono() - begun)), "Stopped")
        except Unreachable as error:
            self._intent = None
            self._set(Phase.NOT_READY, error.message)
            intent.fail(error)
            return False
        if intent.remove:
            return True
        self.seed = msgspec.structs.replace(self.seed, restarts=self.seed.restarts + 1, last_exit=record)
        self._event("restarting", Severity.INFO, f"{self.seed.name} is restarted: {intent.reason}", delay_s=0.0)
        return False

    async def _end_unhealthy(self, process: ReplicaProcess, verdict: str) -> None:
        """A probe gave the process up: end it, and count that as a crash unless a drill may be the reason."""
        counted = not self.starter.marks.at_work()
        detail = "; ".join(status.detail for status in process.probes.lifecycle.statuses() if status.ok is False)
        self._set(Phase.TERMINATING, f"{verdict}: {detail}")
        ready_for_s = None if process.ready_since_s is None else self._clock.mono() - process.ready_since_s
        try:
            record = await self._end(process, UNHEALTHY_GRACE_S, verdict)
        except Unreachable as error:
            self._given_up = None
            self._set(Phase.NOT_READY, error.message)
            return
        if detail:
            record = msgspec.structs.replace(record, last_lines=(*record.last_lines, f"probe: {detail}"))
        self._took_exit(record, ready_for_s=ready_for_s, counted=counted)

    async def _end(self, process: ReplicaProcess, grace_s: float, reason: str) -> ExitRecord:
        """Raises Unreachable where it cannot be ended now; then it is watched again, and probed from the beginning."""
        process.unwatch()
        try:
            record = await process.incarnation.stop(grace_s)
        except Unreachable:
            process.watch_again()
            if process.probes.lifecycle.ready:
                process.ready_since_s = self._clock.mono()
            raise
        await process.release()
        self._process, self._usage = None, None
        return msgspec.structs.replace(record, reason=reason) if record.reason == "Stopped" else record

    async def _removed(self) -> bool:
        """Leave nothing behind. False where that cannot be done now: then it is as if it had not been asked."""
        intent, name = self._intent, self.seed.name
        assert intent is not None
        try:
            await self.starter.forget(self.seed)
        except TrinityError as error:
            self._intent = None
            self._not_before_s = self._clock.mono() + _REMOVE_AGAIN_S
            self._set(Phase.FAILED, error.message)
            intent.fail(error)
            return False
        self._context.ports.release(self.seed.port)
        self._context.ports.release(self.seed.health_port)
        self._event("removed", Severity.INFO, f"{name} was removed: {intent.reason}")
        self._context.removed(name)
        intent.resolve()
        return True

    def _life_ended(self, life: asyncio.Task[None]) -> None:
        """A life that ends by an exception is a fault of ours: say so instead of leaving a silent corpse."""
        error = None if life.cancelled() else life.exception()
        if error is None:
            return
        message = f"{self.seed.name} is no longer supervised: {type(error).__name__}: {error}"
        self._event("unsupervised", Severity.CRITICAL, message)
        self._set(Phase.FAILED, message)
        if self._intent is not None:
            self._intent.fail(InternalError(message))

    # -- what happened

    def _took_exit(
        self,
        ended: ExitRecord,
        *,
        ready_for_s: float | None,
        counted: bool,
        missed: bool = False,
        note: Callable[[ReplicaSeed], None] | None = None,
    ) -> None:
        """Book an exit: events, restart count, when to start again, and the note for an adopting daemon."""
        name, now_s = self.seed.name, self._clock.mono()
        delay_s = self._backoff.after_exit(ready_for_s) if counted else 0.0
        self.seed = msgspec.structs.replace(
            self.seed, restarts=self.seed.restarts + 1, crashes=self._backoff.crashes, last_exit=ended
        )
        self._reason, self._usage = exit_phrase(ended), None
        self._event(
            "died",
            Severity.ERROR if counted else Severity.WARNING,
            died_message(name, ended, missed=missed),
            **exit_attributes(ended),
            counted=counted,
            missed=missed,
        )
        if ended.reason == "OOMKilled":
            limit = self.seed.workload.memory_limit_bytes
            self._event("oom_killed", Severity.ERROR, f"{name} went over its memory limit", limit_bytes=limit)
        self._not_before_s = now_s + delay_s
        if note is not None:
            with contextlib.suppress(OSError):  # then an adopting daemon tells this exit once more
                note(self.seed)
        if self._held or self._maintenance or self._intent is not None:
            self._set(Phase.NOT_READY, self._reason)
        elif delay_s > 0:
            self._next_start_ts = self._clock.now() + delay_s
            message = f"{name} ended {self._backoff.crashes} times; next start in {delay_s:g} s ({self._reason})"
            self._event("crashloop", Severity.ERROR, message, delay_s=delay_s, crashes=self._backoff.crashes)
            self._set(Phase.CRASH_LOOP, self._reason)
        else:
            self._event("restarting", Severity.WARNING, f"{name} is started again: {self._reason}", delay_s=0.0)
            self._set(Phase.NOT_READY, self._reason)

    def _on_verdict(self, verdict: Verdict) -> None:
        process = self._process
        if process is None or verdict == "started":
            return
        if verdict == "ready":
            process.ready_since_s = self._clock.mono()
            self._first_verdict.set()
            self._set(Phase.READY, "")
            after_s = self._clock.now() - process.started_ts
            self._event("ready", Severity.INFO, f"{self.seed.name} is Ready", pid=process.pid, after_s=after_s)
        elif verdict == "not-ready":
            if not self._maintenance:
                process.ready_since_s = None
                self._set(Phase.NOT_READY, "")
                why = process.probes.lifecycle.why_not_ready()
                self._event("notready", Severity.WARNING, f"{self.seed.name} is not Ready: {why}", why=why)
        elif self._maintenance:
            process.probe_anew()
        else:
            self._given_up = "LivenessFailed" if verdict == "liveness-failed" else "StartupFailed"
            self._wake.set()

    def _set(self, phase: Phase, reason: str) -> None:
        """Change phase and reason; tell listeners when the phase is new."""
        changed = phase is not self._phase
        self._phase, self._reason = phase, reason
        if changed:
            self._context.changed(self.status())

    def _on_death(self) -> None:
        """It is seen to be dead, some milliseconds before it is known how it ended."""
        if self._phase in (Phase.READY, Phase.STARTING):
            self._set(Phase.NOT_READY, "its process ended")

    def _on_exit(self, record: ExitRecord) -> None:
        self._exit = record
        self._wake.set()
