"""What a run sees while it runs: client rows, the fleet every 20 ms, edge events; and the facts made of them.

Owns the stamps of faults and the list of observations. Decides nothing: rules and verdicts read its facts.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import psutil

from backend.contract.clock import Clock
from backend.contract.fleet import ReplicaStatus
from backend.contract.rows import EventRow
from backend.contract.words import Phase, SlotState
from backend.drills import guards
from backend.drills.check import Compiled
from backend.drills.evaluate import Facts
from backend.drills.heirs import ENDS_PROCESS, Heirs
from backend.drills.incidents import EJECTION_EVENTS
from backend.drills.ports import DaemonKiller, DrillHost, LoadRun
from backend.drills.records import DrillRow, FaultStamps, Observation, PhaseSpan

PERIOD_S = 0.02


class Watch:
    """The eyes of one run."""

    def __init__(
        self, host: DrillHost, clock: Clock, compiled: Compiled, pools: Mapping[str, str], run_dir: Path
    ) -> None:
        self._run_dir = run_dir
        self._host, self._clock, self._compiled = host, clock, compiled
        self._pools = dict(pools)
        self.rows: dict[str, list[DrillRow]] = {name: [] for name in compiled.scenario.load}
        self.observations: list[Observation] = []
        self.stamps: dict[str, FaultStamps] = {}
        self.spans: list[PhaseSpan] = []
        self.loads: dict[str, LoadRun] = {}
        self.sizes = {pool: len(host.replicas(workload)) for pool, workload in self._pools.items()}
        self.events: list[EventRow] = []
        self._chosen: dict[str, str] = {}
        self._seats = dict(self._planned_seats())
        """Which replica an index meant when the run began: where the platform names another one in place of a dead one,
        the order of the pool is another afterwards, and the same index would be somebody else."""
        self._heirs = Heirs()
        self._members: dict[str, set[str]] = {}
        self._zero_ts, self._zero_s = clock.now(), clock.mono()
        self._before: dict[str, dict[str, int | None]] = {}
        self._bystander: dict[str, int | None] = {}
        self._restarts_before = {r.name: r.restarts for w in set(self._pools.values()) for r in host.replicas(w)}
        self.fresh_in_flight: dict[str, int] = {}
        self._mark: Callable[[str, FaultStamps], None] = lambda _name, _stamps: None
        self._unsubscribe = host.on_event(self._on_event)

    def on_mark(self, listener: Callable[[str, FaultStamps], None]) -> None:
        """Call `listener(stamp name, stamps)` when t_detected or t_ready of a fault becomes known."""
        self._mark = listener

    def close(self) -> None:
        self._unsubscribe()

    def _planned_seats(self) -> Iterator[tuple[str, str]]:
        for target, spec in self._compiled.scenario.targets.items():
            if spec.index is not None and spec.source in self._pools:
                replicas = self._host.replicas(self._pools[spec.source])
                if spec.index < len(replicas):
                    yield target, replicas[spec.index].name

    def seat(self, target: str) -> str:
        """The replica that stands now where a target of an index stood when the run began; empty for others."""
        return self._heirs.now(self._seats[target]) if target in self._seats else ""

    def choose(self, target: str, replica: str) -> None:
        """Remember which replica a target turned out to be."""
        self._chosen[target] = replica

    def members(self) -> dict[str, tuple[str, ...]]:
        """Every replica a pool had at any time; of a single target, the one it turned out to be, and its heirs."""
        chosen = {
            target: self._heirs.all(self._chosen[target])
            if target in self._chosen
            else (self._member(target, self._host.replicas(self._pools[spec.source]), {}),)
            for target, spec in self._compiled.scenario.targets.items()
            if spec.source in self._pools and (target in self._chosen or spec.index is not None)
        }
        return {name: tuple(sorted(found)) for name, found in {**self._members, **chosen}.items()}

    def remember(self, fault: str, pids: dict[str, int | None], bystander: int | None) -> None:
        """The processes there were right before a fault: of the workload's replicas, and of the edge."""
        self._before[fault], self._bystander[fault] = pids, bystander

    def stamp(self, fault: str, **changes: Any) -> FaultStamps:
        """Change the stamps of a fault; the earliest known instant of detection and of readiness stays."""
        held = self.stamps[fault]
        kept = {name: value for name, value in changes.items() if _is_news(name, getattr(held, name), value)}
        self.stamps[fault] = msgspec.structs.replace(held, **kept)
        for name in ("t_detected", "t_ready"):
            if name in kept and getattr(held, name) is None:
                self._mark(name, self.stamps[fault])
        return self.stamps[fault]

    async def run(self) -> None:
        """Look at the fleet until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(PERIOD_S)

    def look(self) -> None:
        """One look; keeps an observation when something changed."""
        now = self._clock.mono()
        for fault in self.stamps.values():
            if fault.t_command is not None:
                before = self._before.get(fault.id, {})
                self._heirs.look(fault, before, self._host.replicas(fault.workload))
        seen = self._observe(now, {})
        last = self.observations[-1] if self.observations else None
        if last is None or (last.healthy, last.restarts) != (seen.healthy, seen.restarts):
            self.observations.append(seen)
        for fault in self.stamps.values():
            if fault.t_effective is not None:
                self._look_after(fault, now)

    def _observe(self, now: float, in_flight: Mapping[str, int]) -> Observation:
        healthy: dict[str, int] = {}
        restarts: dict[str, int] = {}
        busy: dict[str, int] = {}
        for target, spec in self._compiled.scenario.targets.items():
            pool = target if spec.is_pool else spec.source or ""
            if pool not in self._pools:
                continue
            replicas = self._host.replicas(self._pools[pool])
            if spec.is_pool:
                self._members.setdefault(target, set()).update(r.name for r in replicas)
            else:
                replicas = [r for r in replicas if r.name == self._member(target, replicas, in_flight)]
            healthy[target] = guards.healthy(replicas)
            restarts[target] = sum(self._heirs.restarts(r, self._restarts_before) for r in replicas)
            if in_flight:
                busy[target] = sum(in_flight.get(r.name, 0) for r in replicas)
        return Observation(at_s=now, healthy=healthy, restarts=restarts, in_flight=busy)

    def _member(self, target: str, replicas: Any, in_flight: Mapping[str, int]) -> str:
        """The replica a single target means; before it is chosen, the one it would be now."""
        if target in self._chosen:
            return self._heirs.now(self._chosen[target])
        spec = self._compiled.scenario.targets[target]
        if spec.index is not None:
            return self.seat(target)
        ready = [r for r in replicas if r.phase == Phase.READY]
        if not ready:
            return ""
        if spec.pick == "busiest":
            return str(max(ready, key=lambda r: in_flight.get(r.name, 0)).name)
        return str(ready[0].name)

    def _look_after(self, fault: FaultStamps, now: float) -> None:
        edge = self._host.edge()
        if fault.t_detected is None and edge.up and fault.replica:
            servers = [s for s in edge.servers if s.replica == fault.replica]
            if all(not s.up or s.state != SlotState.READY for s in servers):
                self.stamp(fault.id, t_detected=now)
        if fault.t_ready is None and self._is_back(fault):
            self.stamp(fault.id, t_ready=now)

    def _is_back(self, fault: FaultStamps) -> bool:
        """Whether things are as before: victims Ready (with a new process where theirs was ended), or the edge."""
        if fault.fault.startswith("edge."):
            edge = self._host.edge()
            return edge.up and edge.pid not in (None, self._bystander.get(fault.id))
        replicas = {r.name: r for r in self._host.replicas(fault.workload)}
        if fault.fault.startswith("workload."):
            return fault.t_healed is not None and all(r.phase == Phase.READY for r in replicas.values())
        if fault.fault == "daemon.kill":
            # The next daemon is there when it answers and says how the edge is.
            host, old = self._host, self._bystander.get(fault.id)
            return isinstance(host, DaemonKiller) and host.daemon_pid not in (None, old) and host.edge().up
        if not fault.victims:
            return False
        before = self._before.get(fault.id, {})
        for name in fault.victims:
            replica = replicas.get(self._heirs.now(name))
            if replica is None or replica.phase != Phase.READY:
                return False
            same_process = replica.pid in (None, before.get(name, fault.pid))
            if same_process and (fault.fault in ENDS_PROCESS or fault.t_healed is None):
                return False
        return True

    def _on_event(self, event: EventRow) -> None:
        if self.spans:
            self.events.append(event)
        if event.kind not in EJECTION_EVENTS:
            return
        for fault in list(self.stamps.values()):
            if event.subject in fault.victims and fault.t_command is not None:
                at = self._clock.mono() if event.mono_s is None else event.mono_s
                if at >= fault.t_command:
                    self.stamp(fault.id, t_detected=at)

    async def refresh_in_flight(self) -> dict[str, int]:
        """Ask the edge how many requests each replica of the pools has right now."""
        pairs = [(w, r.name) for w in sorted(set(self._pools.values())) for r in self._host.replicas(w)]
        counts = await asyncio.gather(*(self._host.in_flight(workload, name) for workload, name in pairs))
        found = {name: count for (_, name), count in zip(pairs, counts, strict=True)}
        self.fresh_in_flight = found
        return found

    def ready_replicas(self, pool: str) -> list[ReplicaStatus]:
        return list(self._host.replicas(self._pools[pool]))

    def outstanding(self) -> dict[str, int]:
        """Arrivals called for and not ended, per load; one whose request is sent again has not."""
        now = self._clock.mono()
        return {
            name: max(0, run.due(now) - sum(not row.resent for row in self.rows[name]))
            for name, run in self.loads.items()
        }

    def unfinished_before(self, instant_s: float) -> int:
        """Requests intended before an instant that have not ended."""
        return sum(
            run.due(instant_s) - sum(row.intended_s < instant_s and not row.resent for row in self.rows[name])
            for name, run in self.loads.items()
        )

    def count_in(self, load: str, span: PhaseSpan) -> int:
        """Ended requests of a load that belong to the phase."""
        end = span.end_s
        return sum(span.start_s <= r.intended_s and (end is None or r.intended_s < end) for r in self.rows[load])

    def facts(self, phase: str | None = None, *, live: bool = True) -> Facts:
        """What expressions may know now."""
        now = self._clock.mono()
        observations = [*self.observations, self._observe(now, self.fresh_in_flight)] if live else self.observations
        return Facts(
            rows=self.rows,
            phases=self.spans,
            faults=self.stamps,
            observations=observations,
            sizes=self.sizes,
            members=self.members(),
            events=self.events,
            mono_offset_s=self._zero_s - self._zero_ts,
            host=_host_state(self._run_dir) if live else {},
            outstanding=self.outstanding(),
            phase=phase,
            now_s=now if live else None,
        )


def _host_state(run_dir: Path) -> dict[str, float]:
    """Free memory, and free room on the disk that holds the run: both as a part of all there is."""
    memory, disk = psutil.virtual_memory(), os.statvfs(run_dir)
    return {"mem_free": memory.available / memory.total, "disk_free": disk.f_bavail / max(1, disk.f_blocks)}


def _is_news(name: str, held: Any, value: Any) -> bool:
    return name not in ("t_detected", "t_ready") or held is None or value < held
