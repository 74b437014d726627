"""The progress watchdog: tells an engine that is stuck from one that is slow, and has the edge leave it alone.

Owns the judgement (`judge`, pure) and the loop that carries it out. A health endpoint that lies does not matter here:
only work in flight and signs of work count. Never decides how many replicas there are, never starts one.

What counts as stuck:
- **halted**: a computing thread is held by a stop signal or a tracer, and nothing has moved, for 0.4 s (also in the
  10 s after its last request: the edge would choose it next, since it has fewest);
- **idle**, with requests at it: no step, and no processor time used or asked for, for 0.6 s (engines whose threads
  we can see);
- **stalled**, with requests at it: no step for max(a floor, 4 x the slowest step seen), though it is busy: a spinning
  engine. The floor is 5 s for embedding and 10 s for others, since a long prompt on an overcrowded machine is just
  slow. The last serving replica of a workload is spared this one: the evidence is weak, and there is nobody else.
An overloaded engine uses or asks for the processor all the time, so the first two can't be said of it.

Time counts only as far as somebody looked: a gap between two looks (a stopped daemon, a sleeping machine) counts as
0.3 s at most, and what moved in it is seen at its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, Protocol

import msgspec

from backend.contract.clock import Clock
from backend.contract.edge import Edge
from backend.contract.errors import TrinityError
from backend.contract.events import EventRecorder
from backend.contract.fleet import EngineKind, Fleet, Killable, ReplicaStatus, WorkloadSpec
from backend.contract.ledger import RowSink
from backend.contract.pulse import EnginePulse
from backend.contract.words import Phase, Severity

LOOK_EVERY_S: Final = 0.1
LONGEST_GAP_S: Final = 0.3
HALTED_S: Final = 0.4
IDLE_S: Final = 0.6
STEPS: Final = 4.0
"""A step may take this many times the slowest one seen."""
FLOOR_S: Final[Mapping[EngineKind, float]] = {"embedding": 5.0}
LONGEST_FLOOR_S: Final = 10.0
USED_SHARE: Final = 0.1
"""Less processor time than this share of the time that passed is what probes and scrapes cost, not work."""
LINGER_S: Final = 10.0
"""A replica is looked at this long after its last request."""
CALM_S: Final = 0.3
LONGEST_CALM_S: Final = 30.0
"""How long it must have worked again before it is let in: twice as long after each further ejection."""
RESTART_AFTER_S: Final = 30.0

Why = Literal["halted", "idle", "stalled"]


class WatchdogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator may choose."""

    enabled: bool = True
    restart_after_s: float = RESTART_AFTER_S
    """A replica that was ejected this long is killed, for its supervision to start it anew."""


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of one process between two looks. Times in seconds."""

    pid: int
    seen_mono_s: float
    answers: int = 0
    progress: float | None = None
    cpu_s: float | None = None
    stood_s: float = 0.0
    """Since the last step."""
    idle_s: float = 0.0
    """The newest part of it without a sign of the processor."""
    halted_s: float = 0.0
    """The newest part of it in which a thread was held."""
    unworked_s: float = 0.0
    """All of it without a sign of the processor: no part of a step's length."""
    slowest_step_s: float = 0.0
    calm_s: float = 0.0
    """While ejected: how long it has been working or waiting for work again."""
    ejected_mono_s: float | None = None


class Stuck(msgspec.Struct, frozen=True, kw_only=True):
    """The judgement that a replica is to be ejected."""

    why: Why
    stood_s: float
    """How long without a step."""
    limit_s: float
    """What was allowed, of the kind that `why` names."""
    slowest_step_s: float


def begin(pulse: EnginePulse, mono_s: float) -> Watch:
    """The first look at a process."""
    return Watch(pid=pulse.pid, seen_mono_s=mono_s, answers=pulse.answers, progress=pulse.progress, cpu_s=pulse.cpu_s)


def stall_limit(engine: EngineKind, slowest_step_s: float) -> float:
    """How long a busy engine may go without a step."""
    return max(FLOOR_S.get(engine, LONGEST_FLOOR_S), STEPS * slowest_step_s)


def judge(
    watch: Watch, pulse: EnginePulse, *, in_flight: int, engine: EngineKind, mono_s: float
) -> tuple[Watch, Stuck | None]:
    """The watch after one more look, and whether the replica is stuck. `pulse` is of the watched process."""
    passed = max(0.0, mono_s - watch.seen_mono_s)
    counted = min(passed, LONGEST_GAP_S)
    moved = _moved(watch, pulse)
    worked = _worked(watch, pulse, passed)
    ejected = watch.ejected_mono_s is not None
    learned = watch.slowest_step_s
    if moved and not ejected:
        learned = max(learned, watch.stood_s - watch.unworked_s)
    reset = moved or (in_flight == 0 and not ejected)
    stood = 0.0 if reset else watch.stood_s + counted
    after = Watch(
        pid=watch.pid,
        seen_mono_s=mono_s,
        answers=pulse.answers,
        progress=pulse.progress if pulse.progress is not None else watch.progress,
        cpu_s=pulse.cpu_s if pulse.cpu_s is not None else watch.cpu_s,
        stood_s=stood,
        idle_s=0.0 if reset or worked else watch.idle_s + counted,
        halted_s=watch.halted_s + counted if pulse.halted and not moved else 0.0,
        unworked_s=0.0 if reset else watch.unworked_s + (0.0 if worked else counted),
        slowest_step_s=learned,
        calm_s=_calm_s(watch, pulse, moved=moved, counted=counted),
        ejected_mono_s=watch.ejected_mono_s,
    )
    return after, None if ejected or moved else _stuck(after, engine)


def _moved(watch: Watch, pulse: EnginePulse) -> bool:
    """An answer since the last look that shows a step, or nothing to do, or (no counter) that it answers at all."""
    if pulse.answers == watch.answers:
        return False
    if pulse.pending is False or pulse.progress is None:
        return True
    return pulse.progress != watch.progress


def _worked(watch: Watch, pulse: EnginePulse, passed: float) -> bool:
    """Whether it used or asked for the processor since the last look; where nobody can see, it did."""
    if pulse.cpu_s is None or watch.cpu_s is None or passed <= 0.0:
        return True
    return pulse.runnable or pulse.cpu_s - watch.cpu_s >= USED_SHARE * passed


def _calm_s(watch: Watch, pulse: EnginePulse, *, moved: bool, counted: float) -> float:
    if watch.ejected_mono_s is None or pulse.halted:
        return 0.0
    if moved:
        return watch.calm_s + counted
    # Answers come every other look or so: between two of them nothing is lost, unless it works or stands for long.
    return watch.calm_s if watch.stood_s < 2 * LONGEST_GAP_S else 0.0


def _stuck(watch: Watch, engine: EngineKind) -> Stuck | None:
    stalled = stall_limit(engine, watch.slowest_step_s)
    kinds: tuple[tuple[Why, float, float], ...] = (
        ("halted", watch.halted_s, HALTED_S),
        ("idle", watch.idle_s, IDLE_S),
        ("stalled", watch.stood_s, stalled),
    )
    for why, lasted_s, limit_s in kinds:
        if lasted_s >= limit_s:
            return Stuck(why=why, stood_s=watch.stood_s, limit_s=limit_s, slowest_step_s=watch.slowest_step_s)
    return None


def calm_needed(ejections: int) -> float:
    """How long a replica must work again before it is let in, after so many ejections of this process."""
    return float(min(LONGEST_CALM_S, CALM_S * 2 ** max(0, ejections - 1)))


class Ejector(Protocol):
    """Who takes replicas out of rotation and lets them in again (the reconciler)."""

    async def eject(self, replica: str, pid: int) -> bool:
        """Returns once the edge does not choose it; False where it was not in rotation."""
        ...

    async def readmit(self, replica: str) -> bool:
        """Returns once the edge chooses it again; False where its own probe does not pass, so that it does not."""
        ...

    def serving(self, workload: str) -> tuple[str, ...]: ...


class Pulses(Protocol):
    """Who takes an engine's pulse."""

    def pulse(self, status: ReplicaStatus, engine: EngineKind) -> EnginePulse | None: ...

    def keep(self, replicas: frozenset[str]) -> None: ...


class Watchdog:
    """The loop. `run()` until cancelled; a look costs about 1 ms for each replica that has work."""

    def __init__(
        self,
        fleet: Fleet,
        edge: Edge,
        pulses: Pulses,
        ejector: Ejector,
        sink: RowSink,
        clock: Clock,
        *,
        settings: WatchdogSettings | None = None,
    ) -> None:
        self._fleet, self._edge, self._pulses, self._ejector = fleet, edge, pulses, ejector
        self._clock, self._events = clock, EventRecorder(sink, clock)
        self._settings = settings or WatchdogSettings()
        self._watches: dict[str, Watch] = {}
        self._ejections: dict[str, int] = {}
        self._kept: frozenset[str] = frozenset()
        self._busy_mono_s: dict[str, float] = {}

    async def run(self, specs: Callable[[], Sequence[WorkloadSpec]]) -> None:
        """Look ten times a second. `specs` gives what is declared now."""
        if not self._settings.enabled:
            return
        while True:
            await self.look({spec.name: spec for spec in specs()})
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self, specs: Mapping[str, WorkloadSpec]) -> None:
        """One round over all replicas."""
        in_flight = {server.replica: server.in_flight for server in self._edge.observe().servers}
        now = self._clock.mono()
        watched: dict[str, Watch] = {}
        keep: set[str] = set()
        for status in self._fleet.observe():
            spec = specs.get(status.workload)
            before = self._watches.get(status.name)
            if spec is None or spec.engine == "none" or status.pid is None or _is_starting(status):
                continue
            if before is not None and before.pid != status.pid:
                before = None
                self._ejections.pop(status.name, None)
            busy = in_flight.get(status.name, 0)
            if busy or (before is not None and before.ejected_mono_s is not None):
                self._busy_mono_s[status.name] = now
            elif now - self._busy_mono_s.get(status.name, -LINGER_S) >= LINGER_S:
                if before is not None:  # what its steps take is remembered while it has nothing to do
                    watched[status.name] = _at_rest(before)
                continue
            keep.add(status.name)
            pulse = self._pulses.pulse(status, spec.engine)
            if pulse is None:
                continue
            if before is None or status.name not in self._kept:
                slowest = before.slowest_step_s if before is not None else 0.0
                fresh = begin(pulse, self._clock.mono())
                watched[status.name] = msgspec.structs.replace(fresh, slowest_step_s=slowest)
                continue
            watched[status.name] = await self._judge(status, spec, before, pulse, busy)
        self._watches, self._kept = watched, frozenset(keep)
        self._pulses.keep(self._kept)

    async def _judge(
        self, status: ReplicaStatus, spec: WorkloadSpec, before: Watch, pulse: EnginePulse, busy: int
    ) -> Watch:
        now = self._clock.mono()
        watch, stuck = judge(before, pulse, in_flight=busy, engine=spec.engine, mono_s=now)
        if stuck is not None:
            return await self._eject(status, watch, stuck, busy)
        if watch.ejected_mono_s is None:
            return watch
        if watch.calm_s >= calm_needed(self._ejections.get(status.name, 1)) and status.phase == Phase.READY:
            return await self._readmit(status, watch)
        if now - watch.ejected_mono_s >= self._settings.restart_after_s:
            return await self._restart(status, watch)
        return watch

    async def _eject(self, status: ReplicaStatus, watch: Watch, stuck: Stuck, busy: int) -> Watch:
        others = set(self._ejector.serving(status.workload)) - {status.name}
        if stuck.why == "stalled" and not others:
            return watch
        try:
            if not await self._ejector.eject(status.name, watch.pid):
                return watch
        except TrinityError as error:
            self._events.record("watchdog.trouble", Severity.ERROR, status.name, f"It could not be ejected: {error}")
            return watch
        now = self._clock.mono()
        self._ejections[status.name] = self._ejections.get(status.name, 0) + 1
        self._events.record(
            "edge.ejected",
            Severity.ERROR,
            status.name,
            f"{status.name} makes no progress ({_WORDS[stuck.why]}) for {stuck.stood_s:.1f} s with {busy} requests;"
            " the edge no longer chooses it.",
            why=stuck.why,
            stood_s=round(stuck.stood_s, 3),
            limit_s=round(stuck.limit_s, 3),
            slowest_step_s=round(stuck.slowest_step_s, 3),
            in_flight=busy,
            pid=watch.pid,
            workload=status.workload,
        )
        return msgspec.structs.replace(watch, ejected_mono_s=now, calm_s=0.0)

    async def _readmit(self, status: ReplicaStatus, watch: Watch) -> Watch:
        try:
            if not await self._ejector.readmit(status.name):
                return watch
        except TrinityError as error:
            self._events.record(
                "watchdog.trouble", Severity.ERROR, status.name, f"It could not be let in again: {error}"
            )
            return watch
        out_s = self._clock.mono() - (watch.ejected_mono_s or 0.0)
        self._events.record(
            "edge.readmitted",
            Severity.INFO,
            status.name,
            f"{status.name} works again and its probe passes; the edge chooses it, after {out_s:.1f} s.",
            out_s=round(out_s, 3),
            pid=watch.pid,
            workload=status.workload,
        )
        return msgspec.structs.replace(_at_rest(watch), ejected_mono_s=None)

    async def _restart(self, status: ReplicaStatus, watch: Watch) -> Watch:
        if not isinstance(self._fleet, Killable):
            return watch
        out_s = self._clock.mono() - (watch.ejected_mono_s or 0.0)
        words = f"{status.name} has been stuck for {out_s:.0f} s; it is killed, to be started anew."
        self._events.record(
            "watchdog.restart", Severity.WARNING, status.name, words, out_s=round(out_s, 3), pid=watch.pid
        )
        try:
            await self._fleet.kill(status.name, signal=9, counted=True)
        except TrinityError as error:
            self._events.record("watchdog.trouble", Severity.ERROR, status.name, f"It could not be killed: {error}")
        return msgspec.structs.replace(watch, ejected_mono_s=self._clock.mono())  # not at every look


_WORDS: Final[Mapping[Why, str]] = {
    "halted": "a thread of its engine is stopped",
    "idle": "its engine neither steps nor uses the processor",
    "stalled": "its engine is busy without a step",
}


def _is_starting(status: ReplicaStatus) -> bool:
    return status.phase not in (Phase.READY, Phase.NOT_READY, Phase.DRAINING)


def _at_rest(watch: Watch) -> Watch:
    """Nothing is counted against it; what its steps take is kept."""
    return msgspec.structs.replace(watch, stood_s=0.0, idle_s=0.0, halted_s=0.0, unworked_s=0.0, calm_s=0.0)
