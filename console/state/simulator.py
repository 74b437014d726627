"""A fleet source without a fleet: the same protocol as the control client, over a seeded pretended world.

For tests, demos and measurements. Owns previews and verbs of the pretended fleet; opens nothing.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import msgspec

from backend.contract.address import Driver
from backend.contract.clock import Clock, SystemClock
from backend.contract.control import (
    ActionPreview,
    ActionRequest,
    DrillInfo,
    DrillView,
    ExecOrder,
    Frame,
    LoadView,
    LogWindow,
    ReplicaView,
    SeriesPoint,
    Snapshot,
    VersionInfo,
)
from backend.contract.errors import Refused, Unreachable, UsageError
from backend.contract.log_chunks import LogChunk
from backend.contract.platform import Description
from backend.contract.recording import Moment, RecordExtent
from backend.contract.rows import ActionRow, Scalar
from backend.contract.words import Phase, Severity
from console.render import units
from console.state.sim_describe import describe
from console.state.sim_exec import SimExec
from console.state.sim_logs import SimLogs, window
from console.state.sim_past import SimPast, actions_until, events_until
from console.state.sim_platform import LOCAL_LIMITS, ail, platform_of
from console.state.sim_verbs import SimVerbs
from console.state.sim_views import Scene, replica_view, scaling_view, workload_views
from console.state.sim_world import SimReplica, SimWorld
from console.state.source import LedgerRow

HISTORY_S: Final = 900
LOG_POLL_S: Final = 0.25
VERSION: Final = "simulated"


class SimulatorSource:
    """See `FleetSource`. `replicas` replicas and `rate` requests a second; `seed` decides everything else.

    Of llm, behind an edge; or on a pretended `driver`, where `edge` says whether ours stands in front of it.

    By default so many requests come that about a twentieth of a large fleet changes each second. It has lived for
    `warm_s` seconds when it is made: five minutes, or fewer where there are thousands."""

    def __init__(
        self,
        *,
        replicas: int = 2,
        seed: int = 7,
        clock: Clock | None = None,
        rate: float | None = None,
        warm_s: int | None = None,
        driver: Driver = "local",
        edge: bool = True,
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        start = float(int(self.clock.now()))
        warm_s = min(300, 600_000 // replicas) if warm_s is None else warm_s
        rate = (max(2.0, replicas / 100) if edge else 0.0) if rate is None else rate
        self.world = SimWorld(seed=seed, now=start - warm_s, rate=rate)
        self.driver = driver
        counts = {"llm": replicas}
        if driver != "local":
            self.world.platform, counts = platform_of(driver, replicas, edge=edge)
        for workload, count in counts.items():
            self.world.populate(workload, count)
        if self.world.platform is not None:
            ail(self.world.platform, self.world)
        self.verbs = SimVerbs(self.world)
        self.reachable = True
        self.closed = False
        self.flood_per_s = 0.0
        """Log lines a second, over all replicas, on top of what they say by themselves."""
        self._started = start
        self._seq = 0
        self._points: list[SeriesPoint] = []
        self._views: list[ReplicaView] = []
        """Of each replica, in their order, as it was when it last changed: who did not change is the same object."""
        self._places: dict[str, int] = {}
        """Where each replica's view stands."""
        self._past_views: dict[str, tuple[tuple[object, ...], ReplicaView]] = {}
        """Of each replica at the past instant that was looked at last."""
        self.past = SimPast()
        for _ in range(warm_s):
            self._live_a_second(look=False)
        self._look_at_all()
        if warm_s:
            self.world.event("fleet.started", Severity.INFO, self.fleet, "the fleet is up")

    @property
    def fleet(self) -> str:
        """Its name."""
        return self.world.platform.name if self.world.platform is not None else "local"

    # -- reading ---------------------------------------------------------------------------------------------

    async def version(self) -> VersionInfo:
        self._check()
        return VersionInfo(version=VERSION, protocol=1, pid=os.getpid(), started_ts=self._started, state_dir="")

    async def snapshot(self) -> Snapshot:
        self._check()
        self._advance()
        return self._snapshot()

    async def stream(self, interval_s: float = 1.0) -> AsyncIterator[Frame]:
        seen_event = self.world.events[-1].seq if self.world.events else 0
        seen_actions: dict[str, ActionRow] = {row.id: row for row in self.world.actions}
        while True:
            self._check()
            self._advance()
            self._seq += 1
            events = tuple(row for row in self.world.events if row.seq > seen_event)
            actions = tuple(row for row in self.world.actions if seen_actions.get(row.id) is not row)
            seen_event = max([seen_event, *(row.seq for row in events)])
            seen_actions.update((row.id, row) for row in actions)
            yield Frame(seq=self._seq, snapshot=self._snapshot(), events=events, actions=actions)
            await asyncio.sleep(interval_s)

    async def series(self, seconds: int) -> list[SeriesPoint]:
        self._check()
        return self._points[-seconds:]

    async def rows(
        self,
        table: str,
        *,
        since_ts: float = 0.0,
        until_ts: float | None = None,
        limit: int = 1000,
        where: dict[str, Scalar] | None = None,
    ) -> Sequence[LedgerRow]:
        self._check()
        self._advance()
        sources: dict[str, Sequence[LedgerRow]] = {
            "requests": list[LedgerRow](self.world.requests),
            "events": list[LedgerRow](self.world.events),
            "actions": list[LedgerRow](self.world.actions),
            "samples": list[LedgerRow](),
        }
        if table not in sources:
            raise UsageError(f"There is no table {table!r}.", f"Choose one of {', '.join(sources)}.")
        end = float("inf") if until_ts is None else until_ts
        found = [
            row
            for row in sources[table]
            if since_ts <= row.ts < end and all(getattr(row, name) == value for name, value in (where or {}).items())
        ]
        return found[-limit:]

    async def logs(
        self, replicas: list[str] | None, *, since_ts: float = 0.0, until_ts: float | None = None, limit: int = 500
    ) -> LogWindow:
        self._check()
        self._advance()
        return window(self.world, replicas, since_ts, math.inf if until_ts is None else until_ts, limit)

    async def log_chunks(self, replicas: list[str] | None, *, lines: int = 2000) -> AsyncIterator[list[LogChunk]]:
        written = SimLogs(self.world, replicas, lines)
        while True:
            self._check()
            self._advance()
            yield written.take(self.clock.now(), flood_per_s=self.flood_per_s)
            await asyncio.sleep(LOG_POLL_S)

    async def drills(self, *, plans: bool = True) -> list[DrillInfo]:
        self._check()
        self._advance()
        found = self.world.drills.infos()
        return found if plans else [msgspec.structs.replace(info, plan=()) for info in found]

    async def drill(self, name: str) -> DrillInfo:
        found = next((info for info in await self.drills() if info.name == name), None)
        if found is None:
            raise UsageError(f"There is no drill named `{name}`.", "See `trinity drill list`.")
        return found

    async def drill_runs(self, *, limit: int = 100) -> list[DrillView]:
        self._check()
        ended = [view for view in self.world.drills.runs if view.ended_ts is not None]
        return ended[::-1][:limit]

    async def drill_report(self, run_id: str) -> dict[str, Any]:
        self._check()
        return self.world.drills.report(run_id)

    async def drill_compare(self, base: str, run_id: str) -> dict[str, Any]:
        self._check()
        return self.world.drills.compare(base, run_id)

    async def drill_file(self, run_id: str, kind: str) -> bytes:
        self._check()
        return self.world.drills.file(run_id, kind)

    async def raw(self, replica: str) -> dict[str, object]:
        self._check()
        one = self.world.find(replica)
        if one is None:
            raise UsageError(f"There is no replica {replica}.", "See `trinity ps`.")
        built = msgspec.to_builtins(replica_view(one, self.world))
        assert isinstance(built, dict)
        return built

    async def describe(self, name: str) -> Description:
        self._check()
        self._advance()
        return describe(name, self.world)

    # -- the past --------------------------------------------------------------------------------------------

    async def extent(self) -> RecordExtent:
        self._check()
        self._advance()
        return self.past.extent()

    async def moment(self, ts: float, *, window_s: int = 900) -> Moment:
        self._check()
        self._advance()
        extent = self.past.extent()
        if extent.first_ts is None or extent.last_ts is None:
            raise UsageError("Nothing is recorded yet.", "Wait a second.")
        ts = max(extent.first_ts, min(extent.last_ts, ts))
        world, points = self.past.at(ts)
        return Moment(
            ts=ts,
            snapshot=self._snapshot(world, points[-1]),
            points=tuple(point for point in points if point.ts > ts - window_s),
            events=events_until(self.world.events, ts),
            actions=actions_until(self.world.actions, ts),
        )

    # -- acting ----------------------------------------------------------------------------------------------

    async def preview(self, request: ActionRequest) -> ActionPreview:
        self._check()
        return self.verbs.preview(request)

    async def perform(self, request: ActionRequest) -> ActionRow:
        self._check()
        preview = self.verbs.preview(request)
        if not preview.allowed:
            raise Refused(preview.refusal)
        row = self.verbs.perform(request, preview)
        self._note()
        return row

    async def exec(self, order: ExecOrder) -> SimExec:
        """Used from a loop of its own: reads the world, changes nothing in it."""
        self._check()
        if self.world.find(order.replica) is None:
            raise UsageError(f"There is no replica {order.replica}.", "See `trinity ps`.")
        return SimExec(order.replica)

    async def aclose(self) -> None:
        self.closed = True

    # -- building what is seen -------------------------------------------------------------------------------

    def _check(self) -> None:
        if not self.reachable:
            raise Unreachable("The simulated daemon does not answer.", "It comes back when the test says so.")

    def _advance(self) -> None:
        if self.world.touched:
            self._note()
        now = self.clock.now()
        while self.world.now + 1.0 <= now:
            self._live_a_second()
        del self._points[:-HISTORY_S]

    def _note(self) -> None:
        """What was done since the last second is part of that second."""
        point = self._point()
        if self._points and self._points[-1].ts == point.ts:
            self._points[-1] = point
        self._record(point)

    def _live_a_second(self, *, look: bool = True) -> None:
        self.world.advance(self.world.now + 1.0)
        self._points.append(self._point())
        self._record(self._points[-1], look=look)

    def _stands(self, one: SimReplica | None) -> bool:
        """Whether it is one that was there before: not gone, not new, not another one of its name."""
        place = self._places.get(one.name) if one is not None else None
        return one is not None and place is not None and self._views[place].status.created_ts == one.created_ts

    def _look_at_all(self) -> None:
        """A replica came or went, or none was looked at yet."""
        known = {view.status.name: view for view in self._views if view.status.name not in self.world.touched}
        self._views = [known.get(one.name) or replica_view(one, self.world) for one in self.world.replicas]
        self._places = {one.name: at for at, one in enumerate(self.world.replicas)}

    def _record(self, point: SeriesPoint, *, look: bool = True) -> None:
        """What was touched is looked at anew (`look`), and written down."""
        touched = self.world.touched
        for one in filter(None, touched.values()):
            one.looked_ts = self.world.now
        if look and not all(self._stands(one) for one in touched.values()):
            self._look_at_all()
        elif look:
            for one in filter(None, touched.values()):
                self._views[self._places[one.name]] = replica_view(one, self.world)
        self.past.record(self.world, point)

    def _point(self) -> SeriesPoint:
        world = self.world
        now, on = world.now, world.platform
        in_flight, cpu = world.load_of_all()
        return SeriesPoint(
            ts=world.now,
            ttft=world.fleet_quantiles(),
            queued=world.queued,
            in_flight=in_flight,
            requests_per_s=world.served_per_s,
            tokens_per_s=world.tokens_per_s,
            errors_per_s=world.errors_per_s,
            ready=len(world.replicas) - len(world.not_ready()),
            wanted=sum(world.wanted.values()),
            cpu_percent=min(100.0, 4.0 + cpu / max(2, len(world.replicas))) if on is None else on.cpu_percent(now),
            memory_percent=41.0 if on is None else on.memory_percent(now),
        )

    def _snapshot(self, past: Scene | None = None, point: SeriesPoint | None = None) -> Snapshot:
        """The present, or a past instant."""
        world = past or self.world
        if past is None:
            replicas = tuple(self._views)
            odd = self.world.not_ready()
        else:
            replicas = self._looked_back(past)
            odd = past.replicas
        point = point or (self._points[-1] if self._points else self._point())
        ready, wanted = point.ready, sum(world.wanted.values())
        down = [one.name for one in odd if one.phase not in (Phase.READY, Phase.TERMINATING)]
        platform = world.platform
        edge = platform is None or platform.edge
        if platform is not None:
            down = [units.plural(len(down), "replica")] if down else []
        return Snapshot(
            seq=self._seq,
            ts=world.now,
            fleet=self.fleet,
            version=VERSION,
            health="ok" if ready >= wanted else "degraded" if ready else "down",
            health_reason=f"{', '.join(down[:3])} not ready" if down else "",
            replicas=replicas,
            workloads=workload_views(world, point),
            point=point,
            scaling=(scaling_view(next(iter(world.wanted)), world, point),) if edge else (),
            load=world.load if world.load.running else LoadView(),
            drill=world.drill,
            drills_blocked=world.drills_blocked,
            edge_up=edge,
            public_url="http://127.0.0.1:8080" if edge else "",
            stats_url="http://127.0.0.1:8404" if edge else "",
            consoles=1,
            loop_lag_p99_s=0.002,
            driver=self.driver,
            has_edge=edge,
            limits=dict(platform.limits if platform is not None else LOCAL_LIMITS),
            trouble=platform.trouble if platform is not None else None,
            nodes=platform.node_views(world.replicas, world.now) if platform is not None else (),
            forwards=platform.forwards if platform is not None else (),
            ports=platform.ports() if platform is not None else (),
        )

    def _looked_back(self, past: Scene) -> tuple[ReplicaView, ...]:
        """Views of a past instant; of what was as it is at the instant looked at before they are the same objects."""
        known, self._past_views = self._past_views, {}
        for one in past.replicas:
            state = (one.created_ts, one.looked_ts, one.phase, one.pid, one.draining)
            before = known.get(one.name)
            view = before[1] if before is not None and before[0] == state else replica_view(one, past)
            self._past_views[one.name] = (state, view)
        return tuple([view for _, view in self._past_views.values()])
