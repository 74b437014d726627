"""A pretended fleet: seeded, second by second, lively and plausible. Owns its state; no clock, no screen, no I/O.

Requests arrive at random, wait for a slot, answer with a long tail; replicas die, come back, are scaled, drained
and replaced. The same seed and the same verbs at the same seconds give the same world.
"""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass, field
from itertools import count

from backend.contract.control import DrillView, LoadView, Quantiles
from backend.contract.fleet import ExitRecord
from backend.contract.rows import ActionRow, EventRow, LogRow, RequestRow, Scalar
from backend.contract.words import Phase, RequestOutcome, Severity, Vantage
from console.state.sim_drills import SimDrills
from console.state.sim_platform import SimPlatform

SLOTS = 4
IDLE_CPU = 1.0
"""Percent of a core that a replica takes which has nothing to do."""
WINDOW_S = 60.0
_PATHS = ("/v1/completions", "/v1/chat/completions", "/v1/chat/completions", "/v1/embeddings")


@dataclass
class SimReplica:
    """One pretended process."""

    name: str
    workload: str
    phase: Phase
    created_ts: float
    started_ts: float
    pid: int
    speed: float
    """Multiplies its latencies; every machine has a slow one."""
    phase_since: float = 0.0
    restarts: int = 0
    reason: str = ""
    draining: bool = False
    leaving: bool = False
    last_exit: ExitRecord | None = None
    in_flight: int = 0
    waiting: int = 0
    cpu: float = IDLE_CPU
    memory: float = 310e6
    tokens_per_s: float = 0.0
    sessions: int = 0
    looked_ts: float = 0.0
    """When its view was last made; what its probes say is of then."""
    stays: bool = False
    """As it is until somebody acts on it: what it waits for does not come by itself."""
    recent: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=4000))
    """(ts, ttft_s) of its streamed answers."""


@dataclass
class SimWorld:
    """The fleet and its ledger in memory. Advance it with `advance(now)`; act on it with the methods below."""

    seed: int
    now: float
    replicas: list[SimReplica] = field(default_factory=list)
    wanted: dict[str, int] = field(default_factory=dict)
    maintenance: set[str] = field(default_factory=set)
    autoscale: bool = False
    rate: float = 2.0
    load: LoadView = field(default_factory=LoadView)
    events: deque[EventRow] = field(default_factory=lambda: deque(maxlen=5000))
    requests: deque[RequestRow] = field(default_factory=lambda: deque(maxlen=20000))
    logs: deque[LogRow] = field(default_factory=lambda: deque(maxlen=20000))
    actions: deque[ActionRow] = field(default_factory=lambda: deque(maxlen=2000))
    queued: int = 0
    served_per_s: float = 0.0
    tokens_per_s: float = 0.0
    errors_per_s: float = 0.0
    platform: SimPlatform | None = None
    """What keeps the replicas, where that is not ours."""
    drills: SimDrills = field(init=False)
    touched: dict[str, SimReplica | None] = field(default_factory=dict)
    """Replicas that are not as they were when last recorded; null for one that is gone."""
    _random: random.Random = field(init=False)
    _moving: dict[str, SimReplica] = field(default_factory=dict)
    """Replicas that change by themselves: not Ready, or with load that comes or goes. All others stand still, so that
    a second costs what changed in it and not what there is."""
    _answers: deque[tuple[float, SimReplica, float]] = field(default_factory=deque)
    """(ts, replica, ttft_s) of the last minute's streamed answers, in order of time."""
    _fresh: list[tuple[float, SimReplica, float]] = field(default_factory=list)
    """Those of the present second."""
    _serving: list[SimReplica] | None = None
    """Ready and not drained; null while it must be looked up."""
    _converged: tuple[dict[str, int], int] | None = None
    """What was wanted when every workload last had it, and how many replicas there were; null since one changed."""
    _seq: int = 0
    _pids: int = 4100
    _number: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - a pretended world, not a secret
        self.drills = SimDrills(self.seed, self.now)

    @property
    def drill(self) -> DrillView | None:
        """The present or last run."""
        return self.drills.view

    @property
    def drills_blocked(self) -> str:
        """Who stopped all drills; empty when they may start."""
        return self.drills.blocked

    @property
    def requests_made(self) -> int:
        """Requests answered since the beginning; `requests` keeps the newest of them."""
        return self._number

    # -- building --------------------------------------------------------------------------------------------

    def populate(self, workload: str, count: int) -> None:
        """Replicas that have been Ready for a while."""
        self.wanted[workload] = count
        for index in range(count):
            born = self.now - self._random.uniform(400, 90_000)
            one = self._spawn(self._name(workload, index), workload, born, Phase.READY)
            one.restarts = self._random.choice((0, 0, 0, 0, 1, 3)) if self.platform is None else 0

    def put(
        self, name: str, phase: Phase, reason: str, *, restarts: int = 0, last_exit: ExitRecord | None = None
    ) -> None:
        """A replica as it is from now on, until somebody acts on it."""
        one = self._known(name)
        self._turn(one, phase, reason)
        one.stays, one.last_exit = True, last_exit or one.last_exit
        one.restarts += restarts
        for words in last_exit.last_lines if last_exit is not None else ():
            self._log(one, "error", words)

    def _name(self, workload: str, number: int) -> str:
        return f"{workload}-{number}" if self.platform is None else self.platform.replica_name(workload, number)

    def _spawn(self, name: str, workload: str, ts: float, phase: Phase) -> SimReplica:
        self._pids += self._random.randint(1, 40)
        one = SimReplica(
            name=name,
            workload=workload,
            phase=phase,
            created_ts=ts,
            started_ts=ts,
            pid=self._pids,
            speed=self._random.uniform(0.85, 1.25),
            phase_since=self.now,
        )
        self.replicas.append(one)
        self._stirred(one)
        return one

    def find(self, name: str) -> SimReplica | None:
        return next((one for one in self.replicas if one.name == name), None)

    def of(self, workload: str) -> list[SimReplica]:
        return [one for one in self.replicas if one.workload == workload]

    # -- what happens by itself ------------------------------------------------------------------------------

    def advance(self, now: float) -> None:
        """Live through every whole second up to `now`."""
        while self.now + 1.0 <= now:
            self.now += 1.0
            self._step()

    def _step(self) -> None:
        for one in self.not_ready():
            if not one.stays:
                self._age(one)
        if self.platform is not None:
            self._be_measured(self.platform)
        if self._converged != (self.wanted, len(self.replicas)):
            self._converged = (dict(self.wanted), len(self.replicas))
            for workload in self.wanted:
                self._converge(workload)
        self._serve()
        self._run_drill()

    def _be_measured(self, platform: SimPlatform) -> None:
        for one in self.replicas:
            if platform.due(one, self.now):
                self.touched[one.name] = one
                if one.phase == Phase.READY:
                    self._log(one, "info", f"{self._random.randint(3, 90)} jobs done in 15 s, none waits")

    def _age(self, one: SimReplica) -> None:
        since = self.now - one.phase_since
        if one.phase == Phase.FAILED and since >= 1:
            one.restarts += 1
            self._pids += 7
            one.pid, one.started_ts = self._pids, self.now
            self._turn(one, Phase.STARTING, "starting: loading the model")
            self.event("replica.restarted", Severity.INFO, one.name, f"started again as pid {one.pid}")
        elif one.phase == Phase.PENDING and since >= 1:
            one.started_ts = self.now
            self._turn(one, Phase.STARTING, "starting: loading the model")
        elif one.phase == Phase.STARTING and since >= 2:
            self._turn(one, Phase.READY, "")
            self.event("replica.ready", Severity.INFO, one.name, f"ready after {since:.0f} s")
        elif one.phase == Phase.DRAINING and one.leaving and one.in_flight == 0 and since >= 2:
            self._turn(one, Phase.TERMINATING, "stopping")
        elif one.phase == Phase.TERMINATING and since >= 1:
            self.replicas.remove(one)
            self._stirred(one)
            self.touched[one.name] = None
            del self._moving[one.name]
            self._answers = deque(answer for answer in self._answers if answer[1] is not one)
            if self.platform is not None:
                self.platform.removed(one.name)
            self.event("replica.removed", Severity.INFO, one.name, "stopped and removed")

    def _turn(self, one: SimReplica, phase: Phase, reason: str) -> None:
        one.phase, one.reason, one.phase_since, one.stays = phase, reason, self.now, False
        self._stirred(one)
        self._log(one, "info", reason or f"phase is {phase}")

    def _stirred(self, one: SimReplica) -> None:
        """It is no longer what it was: who serves and who is wanted must be looked at again."""
        self.touched[one.name] = self._moving[one.name] = one
        self._serving = self._converged = None

    def _converge(self, workload: str) -> None:
        staying = [one for one in self.of(workload) if not one.leaving]
        target = self.wanted[workload]
        for _ in range(target - len(staying)):
            taken = {one.name for one in self.of(workload)}
            if self.platform is not None:
                taken |= self.platform.gone
            name = next(name for n in count() if (name := self._name(workload, n)) not in taken)
            self._spawn(name, workload, self.now, Phase.PENDING)
        for one in reversed(staying[target:]):
            one.leaving = True
            self._turn(one, Phase.DRAINING, "finishing its requests before it stops")

    def _serve(self) -> None:
        if self._serving is None:
            of_edge = self.platform.serves if self.platform is not None else None
            self._serving = [
                one
                for one in self.replicas
                if one.phase == Phase.READY and not one.draining and (of_edge is None or of_edge(one.workload))
            ]
        ready = self._serving
        offered = self.rate + (self.load.rate if self.load.running else 0.0)
        arrivals = self._poisson(offered)
        capacity = max(1, len(ready) * SLOTS)
        served = min(self.queued + arrivals, max(1, int(capacity * 1.6))) if ready else 0
        self.queued = max(0, self.queued + arrivals - served)
        busy = min(1.0, served / (capacity * 1.3)) if ready else 0.0
        tokens = 0.0
        by_replica: dict[str, int] = {}
        for _ in range(min(served, 400)):
            one = min(self._random.sample(ready, min(2, len(ready))), key=lambda r: by_replica.get(r.name, 0))
            by_replica[one.name] = by_replica.get(one.name, 0) + 1
            self._moving[one.name] = one
            tokens += self._answer(one, busy)
        for one in list(self._moving.values()):
            self._breathe(one, by_replica.get(one.name, 0))
        for ts, one, ttft in sorted(self._fresh, key=lambda answer: answer[0]):
            one.recent.append((ts, ttft))
            self._answers.append((ts, one, ttft))
        self._fresh.clear()
        self._forget_answers()
        self.served_per_s = float(served)
        self.tokens_per_s = tokens
        if self.load.running:
            ok = round(served * self.load.rate / max(offered, 0.1))
            self.load = LoadView(
                running=True,
                rate=self.load.rate,
                sent=self.load.sent + ok,
                ok=self.load.ok + ok,
                failed=self.load.failed,
                actor=self.load.actor,
            )

    def _answer(self, one: SimReplica, busy: float) -> float:
        pick = self._random
        wait = 0.0 if self.queued == 0 else self.queued / max(1.0, self.served_per_s + 1)
        ttft = wait + one.speed * 0.045 * math.exp(pick.gauss(0.6 * busy, 0.45))
        generated = pick.randint(12, 120)
        stream = pick.random() < 0.75
        one.sessions += 1
        self._number += 1
        ts = self.now - pick.random()
        if stream:
            self._fresh.append((ts, one, ttft))
        identity = f"{self._number:06x}-{pick.getrandbits(32):08x}"
        self.requests.append(
            RequestRow(
                ts=ts,
                vantage=Vantage.EDGE,
                request_id=identity,
                fleet="local",
                workload=one.workload,
                replica=one.name,
                route=pick.choice(_PATHS),
                stream=stream,
                status=200,
                termination="--",
                outcome=RequestOutcome.SLOW if ttft > 1.0 else RequestOutcome.OK,
                queue_s=wait,
                ttft_s=ttft if stream else None,
                total_s=ttft + generated / 55,
                bytes_out=generated * (210 if stream else 6),
                tokens_out=generated,
            )
        )
        if pick.random() < 0.3:
            self._log(
                one,
                "info",
                f"slot {one.sessions % SLOTS}: prompt done in {ttft * 1000:.0f} ms, n = {generated}",
                identity,
            )
        return float(generated)

    def _breathe(self, one: SimReplica, served: int) -> None:
        up = one.phase in (Phase.READY, Phase.DRAINING)
        share = served / SLOTS
        one.in_flight = min(SLOTS, round(share * 1.4)) if up else 0
        one.waiting = max(0, served - SLOTS) if up else 0
        goal = min(198.0, IDLE_CPU + 95 * share) if up else 0.0 if one.phase == Phase.FAILED else 60.0
        if served or one.cpu != goal:
            self.touched[one.name] = one
        one.cpu = goal if abs(goal - one.cpu) < 1 else one.cpu + (goal - one.cpu) * 0.6
        one.memory = one.memory if served == 0 else min(420e6, one.memory + self._random.uniform(-2e5, 3e5))
        one.tokens_per_s = served * 60.0
        if one.phase == Phase.READY and not served and one.cpu == goal:
            del self._moving[one.name]

    def _forget_answers(self) -> None:
        """Answers that left the window; who gave them looks different now."""
        before = self.now - WINDOW_S
        while self._answers and self._answers[0][0] < before:
            _, one, _ = self._answers.popleft()
            while one.recent and one.recent[0][0] < before:
                one.recent.popleft()
            self.touched[one.name] = one

    def _run_drill(self) -> None:
        before = self.drill.phase if self.drill is not None else ""
        faults, ended = self.drills.step(self.now)
        for fault in faults:
            victim = next((one.name for one in self.replicas if one.phase == Phase.READY), None)
            if fault.kills and victim is not None:
                self.kill(victim, by=f"drill {fault.id}")
        view = self.drill
        if ended is not None:
            self.event("drill.ended", Severity.INFO, ended.run_id, f"{ended.name}: {ended.outcome}, {ended.detail}")
        elif view is not None and view.phase and view.phase != before:
            self.event("drill.phase", Severity.INFO, view.run_id, f"{view.name}: {view.phase}")

    def _poisson(self, mean: float) -> int:
        if mean > 60:
            return max(0, round(self._random.gauss(mean, math.sqrt(mean))))
        limit, count, product = math.exp(-mean), 0, self._random.random()
        while product > limit:
            count += 1
            product *= self._random.random()
        return count

    # -- what is done to it: to replicas that are there, the others are refused before ----------------------

    def _known(self, name: str) -> SimReplica:
        one = self.find(name)
        assert one is not None, name
        return one

    def kill(self, name: str, *, by: str, signal: int = 9) -> int:
        """End a replica's process; it comes back by itself. Returns its pid."""
        one = self._known(name)
        pid = one.pid
        one.last_exit = ExitRecord(
            ts=self.now, signal=signal, reason="Killed", pid=pid, last_lines=("llama_decode: batch of 512", "Killed")
        )
        one.in_flight = one.waiting = 0
        self._log(one, "error", f"process {pid} was ended by signal {signal}")
        self._turn(one, Phase.FAILED, f"killed by signal {signal}")
        self.event("replica.died", Severity.ERROR, name, f"pid {pid} was ended by signal {signal} ({by})")
        return pid

    def restart(self, name: str) -> None:
        one = self._known(name)
        one.restarts += 1
        self._pids += 3
        one.pid, one.started_ts = self._pids, self.now
        self._turn(one, Phase.STARTING, "starting: loading the model")
        self.event("replica.restarted", Severity.INFO, name, f"restarted as pid {one.pid}")

    def leave(self, name: str) -> None:
        """Another one takes its place, and it goes for good."""
        one = self._known(name)
        one.leaving = True
        self._turn(one, Phase.TERMINATING, "stopping")

    def drain(self, name: str, *, on: bool) -> None:
        one = self._known(name)
        one.draining = on
        self._turn(one, Phase.DRAINING if on else Phase.READY, "drained by an operator" if on else "")
        kind = "replica.drained" if on else "replica.undrained"
        self.event(kind, Severity.WARNING, name, "no new requests go to it")

    def start_drill(self, run_id: str, name: str) -> None:
        view = self.drills.start(run_id, name, self.now)
        self.event("drill.started", Severity.INFO, run_id, f"{view.name} began")

    def stop_drills(self, reason: str, *, panic: bool) -> str:
        said = self.drills.stop(self.now, reason, panic=panic)
        self.event("drill.ended", Severity.WARNING, "drills", said)
        return said

    def event(
        self, kind: str, severity: Severity, subject: str, message: str, attributes: dict[str, Scalar] | None = None
    ) -> EventRow:
        """Write an event with the next number."""
        self._seq += 1
        row = EventRow(
            ts=self.now,
            seq=self._seq,
            kind=kind,
            severity=severity,
            subject=subject,
            message=message,
            attributes=attributes or {},
        )
        self.events.append(row)
        return row

    def _log(self, one: SimReplica, level: str, message: str, correlation: str | None = None) -> None:
        self.logs.append(
            LogRow(ts=self.now, replica=one.name, level=level, message=message, correlation_id=correlation)
        )

    # -- what is seen of it ----------------------------------------------------------------------------------

    def quantiles(self, replicas: list[SimReplica]) -> Quantiles:
        """Exact, over the streamed answers of the last 60 s."""
        return quantiles_at(replicas, self.now)

    def fleet_quantiles(self) -> Quantiles:
        """The same over all replicas."""
        before = self.now - WINDOW_S
        return _quantiles(sorted(ttft for ts, _, ttft in self._answers if ts >= before))

    def not_ready(self) -> list[SimReplica]:
        """Replicas in any other phase."""
        return [one for one in self._moving.values() if one.phase != Phase.READY]

    def load_of_all(self) -> tuple[int, float]:
        """Requests in flight and the sum of cpu percentages, of all replicas."""
        moving = self._moving.values()
        still = len(self.replicas) - len(self._moving)
        return sum(one.in_flight for one in moving), sum(one.cpu for one in moving) + still * IDLE_CPU


def quantiles_at(replicas: list[SimReplica], now: float) -> Quantiles:
    """Exact, over the streamed answers of the 60 s before `now`."""
    return _quantiles(sorted(ttft for one in replicas for ts, ttft in one.recent if ts >= now - WINDOW_S))


def _quantiles(values: list[float]) -> Quantiles:
    if not values:
        return Quantiles()
    at = [values[min(len(values) - 1, math.ceil(q * len(values)) - 1)] for q in (0.5, 0.95, 0.99)]
    return Quantiles(count=len(values), p50_s=at[0], p95_s=at[1], p99_s=at[2])
