"""All parts of a running daemon, built in dependency order. Owns the wiring and nothing else.

`Parts.open` starts what must be there before anything can be asked; `close` detaches and leaves replicas and edge
running; `take_down` ends them. A failure while opening undoes what this call had started.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from typing import Any

from backend.actions.executor import ActionState, state_of
from backend.actions.fleet_verbs import fleet_executors
from backend.actions.gateway import Gateway
from backend.actions.platform_verbs import platform_executors
from backend.config.fleet_file import parse_fleet_file
from backend.config.own_logs import get_logger
from backend.config.paths import StatePaths
from backend.config.resolve import FleetConfig, resolve
from backend.contract.clock import Clock
from backend.contract.control import ActionRequest, Quantiles, Snapshot
from backend.contract.deltas import keep_unchanged
from backend.contract.errors import TrinityError
from backend.contract.fleet import WorkloadSpec
from backend.contract.platform import HasNodes, HasPorts, Limited
from backend.contract.rows import EventRow, RequestRow, Row
from backend.contract.words import Phase, Severity, Verb
from backend.daemon.connections import Connections
from backend.daemon.deeds import OwnVerbs
from backend.daemon.demo_load import DemoLoad
from backend.daemon.drill_desk import DaemonDrills
from backend.daemon.drivers import Driver, make_driver, missing, rollouts, use_of_nodes
from backend.daemon.edges import make_edge
from backend.daemon.fault_verbs import FaultVerbs
from backend.daemon.mercy import keep_retry_budget, watch_progress
from backend.daemon.observed.edge import ObservedEdge
from backend.daemon.past import Past
from backend.daemon.scaling_inputs import ScalingInputs
from backend.daemon.splices import Splices
from backend.daemon.streams import GATHER_S, Hub
from backend.daemon.views import Known, build_snapshot
from backend.edge.haproxy import HaproxyEdge
from backend.ledger import Ledger, Limits
from backend.ledger.log_retention import prune_logs
from backend.quantiles import summarize
from backend.reconcile.controller import Reconciler
from backend.reconcile.diff import diff
from backend.reconcile.leases import Leases
from backend.reconcile.wanted import WantedStore
from backend.recording.limits import RecordingLimits
from backend.recording.recorder import Recorder
from backend.scaling.controller import Autoscaler
from backend.scaling.policy import Threshold, ThresholdSettings
from backend.telemetry.engines import targets_of
from backend.telemetry.meters import Meters
from backend.telemetry.series import Levels

_log = get_logger(__name__)
_SNAPSHOT_AGE_S = 0.1
"""Consoles that ask within it share one."""
_SNAPSHOT_SHARE = 0.01
"""Of a core, that snapshots of a fleet that never stands still may take."""
_PREVIEW_WINDOW_S = 300.0
_RETENTION_PERIOD_S = 3600.0


class Parts:
    """Everything, wired. Attributes are set by `open`."""

    ledger: Ledger
    fleet: Driver
    edge: HaproxyEdge | ObservedEdge
    reconciler: Reconciler
    gateway: Gateway
    drills: DaemonDrills
    meters: Meters

    def __init__(self, paths: StatePaths, config: FleetConfig, clock: Clock, *, auto_port: bool = False) -> None:
        self.paths, self.config, self.clock, self.auto_port = paths, config, clock, auto_port
        self.started_ts, self.started_mono = clock.now(), clock.mono()
        self.was_ready = False
        self.metrics_url = ""
        self.read_only = False
        """Whether nobody may have anything done here."""
        self.hub = Hub(self.snapshot, self._pace_s)
        self.autoscalers: dict[str, Autoscaler] = {}
        self._loops: dict[str, asyncio.Task[None]] = {}
        self._snapshot: Snapshot | None = None
        self._shown: Snapshot | None = None
        """The newest one that was made: what did not change since keeps its objects."""
        self._snapshot_mono = self._snapshot_cost_s = 0.0
        self._seq = 0

    # -- life

    async def open(self) -> None:
        """Ledger, then edge and fleet (adopted or new), then those who act. Raises what any of them raises."""
        paths, config, clock = self.paths, self.config, self.clock
        self.ledger = await Ledger.open(paths.ledger_dir, clock)
        self.fleet = make_driver(config, paths, self.ledger, clock)
        self.edge = make_edge(
            config, paths, self.fleet, self.ledger, clock, auto_port=self.auto_port, read_only=self.read_only
        )
        self.past = Past(paths.recording_dir, self.ledger)
        settings = config.settings
        limits = RecordingLimits(
            retention_s=settings.record_retention_hours * 3600.0, disk_bytes=int(settings.record_disk_mib * 2**20)
        )
        self.recorder = Recorder(paths.recording_dir, limits, trouble=self._recorder_trouble)
        self.splices = Splices(paths, self.fleet, self.edge, self.ledger, clock, lambda: self.specs)
        store = WantedStore(paths.wanted_file, self.ledger, clock, fleet=config.name)
        self.leases = Leases()
        self.reconciler = Reconciler(self.fleet, self.edge, self.ledger, store, self.leases, clock)
        self.load = DemoLoad(self.ledger, self.hub.nudge)
        self.meters = Meters(
            fleet=config.name,
            clock=clock,
            source=self.ledger,
            sink=self.ledger,
            targets=lambda: targets_of(self.fleet.observe(), {s.name: s.engine for s in self.specs}),
            levels=self._levels,
        )
        self.gateway = Gateway(self.action_state, self.ledger, self.ledger, clock, blocker=self.leases.blocker)
        self.connections = Connections(
            self.fleet,
            lambda: self.specs,
            paths,
            clock,
            perform=self.gateway.perform,
            tell=self.event,
            changed=self._look_again,
        )
        self.drills = DaemonDrills(self)
        self.ledger.subscribe("events", self.hub.publish)
        self.ledger.subscribe("actions", self.hub.publish)
        self._register_verbs()
        for note in config.notes:
            self.event("config.clamped", Severity.WARNING, config.name, note)
        await self.edge.start()
        try:
            await self._open_fleet()
        except BaseException:
            if not self.edge.adopted:
                await self.edge.stop()
            raise

    async def _open_fleet(self) -> None:
        await self.fleet.adopt()
        await self.reconciler.start(self.config.workloads, yaml=self.config.text, source=self.config.source)
        self.fleet.on_change(lambda _: self.hub.nudge())
        for spec in self.config.workloads:
            if not spec.of:
                self._add_autoscaler(spec)
        await self.gateway.close_interrupted()
        await self.connections.open()
        await self.drills.recover()
        self._run("fault proxies of a dead daemon", self.splices.adopt_leftovers())
        self._run("telemetry", self.meters.run())
        watch = (self.fleet, self.edge, self.reconciler, self.ledger, self.clock)
        if self.config.file.driver != "kubernetes":  # it looks at processes of this machine
            self._run("progress watchdog", watch_progress(self.config, *watch))
        if isinstance(self.edge, ObservedEdge):
            self._run("feed of the platform's edge", self.edge.run())
        else:
            self._run("retry budget", keep_retry_budget(self.config, self.edge, lambda: self.specs, *watch[3:]))
        self._run("log retention", self._retain_logs())
        self._run("flight recorder", self._record())

    async def close(self) -> None:
        """Detach: replicas and edge go on, their next daemon adopts them."""
        await self._stop_actors()
        await self.splices.close()
        await self.reconciler.stop()
        await self.fleet.close()
        await self.edge.close()
        await self.ledger.close()

    async def take_down(self) -> None:
        """End replicas and edge, then ourselves. Best effort in every part, so that nothing is left running."""
        await self._stop_actors()
        await self.splices.stop()
        try:
            await self.reconciler.remove_all()
        except (TrinityError, OSError) as error:
            self.event("fleet.down_trouble", Severity.ERROR, self.config.name, str(error))
        await self.fleet.stop_all()
        await self.edge.stop()
        await self.ledger.close()

    async def _stop_actors(self) -> None:
        self.hub.close()
        await self.connections.close()
        await self.drills.close()
        await self.load.close()
        await self.gateway.stop()
        for task in self._loops.values():
            task.cancel()
        await asyncio.gather(*self._loops.values(), return_exceptions=True)
        await asyncio.to_thread(self.recorder.close)
        self.meters.close()

    async def _record(self) -> None:
        """A snapshot a second, and one at each change of a replica: a death that is mended sooner shows too."""
        self.recorder.start()
        changed, limits = asyncio.Event(), self.recorder.limits
        self.fleet.on_change(lambda _: changed.set())
        while True:
            changed.clear()
            self.recorder.offer(self.snapshot())
            gap_s = max(limits.gap_s, self._pace_s())
            await asyncio.sleep(gap_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, limits.period_s - gap_s)):
                    await changed.wait()

    def _recorder_trouble(self, words: str, failing: bool) -> None:
        """Called from the recorder's thread; the ledger hands the row to the loop."""
        kind, severity = ("trouble", Severity.ERROR) if failing else ("recovered", Severity.INFO)
        self.event(f"recorder.{kind}", severity, self.config.name, words)

    async def _retain_logs(self) -> None:
        """Hourly: logs of replicas that are gone are kept as long as the ledger's rows."""
        while True:
            living = {r.name for r in self.fleet.observe()} | {"edge"}
            too_old = self.clock.now() - Limits().retention_s
            await asyncio.to_thread(prune_logs, self.paths.logs_dir, living, older_than_ts=too_old)
            await asyncio.sleep(_RETENTION_PERIOD_S)

    def _run(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """A loop of the daemon's. Its death is an event: a daemon must not be half dead in silence."""

        async def watched() -> None:
            try:
                await work
            except asyncio.CancelledError:
                raise
            except Exception as error:
                _log.exception("background loop died", loop=name)
                words = f"The daemon's {name} loop died: {type(error).__name__}: {error}. Restart trinityd."
                self.event("daemon.loop_died", Severity.CRITICAL, self.config.name, words)

        self._loops[name] = asyncio.create_task(watched(), name=name)

    # -- verbs

    def _register_verbs(self) -> None:
        own = OwnVerbs(
            sink=self.ledger,
            clock=self.clock,
            load=self.load,
            drills=self.drills,
            public_url=lambda: self.edge.public_url,
            api_key=self.config.settings.trinity_api_key,
            shutdown=self.request_shutdown,
            newest_event=self._newest_event,
        )
        executors = fleet_executors(self.reconciler, set_autoscale=self._set_autoscale, parse=self.parse, diff=diff)
        faults = FaultVerbs(self.fleet, self.splices, self.edge)
        platform = platform_executors(self.fleet)
        for executor in (*executors, *platform, *self.connections.executors(), *own.executors(), *faults.executors()):
            self.gateway.register(executor)

    def _newest_event(self) -> int:
        """The number of the last event; 0 when there is none."""
        rows = self.ledger.recent("events", limit=1)
        return max((row.seq for row in rows if isinstance(row, EventRow)), default=0)

    def request_shutdown(self) -> None:
        """Replaced by the daemon's main loop, which owns the end."""

    def parse(self, yaml: str, source: str) -> tuple[WorkloadSpec, ...]:
        """The workloads of a trinity.yaml. Raises FileError."""
        return resolve(parse_fleet_file(yaml, source), source, yaml).workloads

    async def _set_autoscale(self, workload: str, on: bool) -> None:
        await self.reconciler.set_autoscale(workload, on)
        self._autoscaler(workload).set_enabled(on)
        self.hub.nudge()

    def _autoscaler(self, workload: str) -> Autoscaler:
        known = self.autoscalers.get(workload)
        if known is None:
            known = self._add_autoscaler(next(s for s in self.specs if s.name == workload))
        return known

    def _add_autoscaler(self, spec: WorkloadSpec) -> Autoscaler:
        settings = self.config.settings
        policy = Threshold(
            ThresholdSettings(
                target_cpu_percent=settings.target_cpu_percent,
                target_queue_depth=settings.target_queue_depth,
                target_ttft_ms=settings.target_ttft_ms,
                min_instances=settings.min_instances,
                max_instances=min(settings.max_instances, spec.max_replicas),
                cooldown_s=settings.cooldown_seconds,
            )
        )

        async def scale(count: int, reason: str) -> object:
            request = ActionRequest(
                verb=Verb.SCALE, target=spec.name, args={"replicas": count}, actor="autoscaler", reason=reason
            )
            return await self.gateway.perform(request)

        scaler = Autoscaler(
            spec.name,
            policy,
            ScalingInputs(self, spec.name).observe,
            scale,
            self.ledger,
            self.clock,
            enabled=self.reconciler.wanted.of(spec.name).autoscale,
        )
        self.autoscalers[spec.name] = scaler
        self._run(f"autoscaler of {spec.name}", scaler.run())
        return scaler

    # -- seeing

    @property
    def specs(self) -> tuple[WorkloadSpec, ...]:
        """What is declared now (after an apply, the new ones)."""
        return self.reconciler.specs

    def snapshot(self) -> Snapshot:
        """The fleet now; at most 100 ms old, or older where it costs so much that it is made less often."""
        now = self.clock.mono()
        if self._snapshot is None or now - self._snapshot_mono > max(_SNAPSHOT_AGE_S, self._pace_s()):
            self._seq += 1
            began = time.thread_time()
            fresh = build_snapshot(self._seq, self._known())
            if self._shown is not None:
                fresh = keep_unchanged(self._shown, fresh)
            self._snapshot_cost_s = time.thread_time() - began
            self._snapshot = self._shown = fresh
            self._snapshot_mono = now
            self.was_ready = self.was_ready or self._snapshot.health == "ok"
        return self._snapshot

    def _pace_s(self) -> float:
        """How far apart snapshots of a fleet that never stands still are made: by what they cost."""
        return min(1.0, max(GATHER_S, self._snapshot_cost_s / _SNAPSHOT_SHARE))

    def _look_again(self) -> None:
        """Something that a screen should show at once."""
        self._snapshot = None
        self.hub.nudge()

    def _known(self) -> Known:
        lag = self.meters.loop_lag.read()
        names = {spec.name for spec in self.specs}
        ours = isinstance(self.edge, HaproxyEdge)
        served = isinstance(self.edge, HaproxyEdge) or self.edge.present
        return Known(
            ts=self.clock.now(),
            fleet=self.config.name,
            specs=self.specs,
            wanted=self.reconciler.wanted,
            replicas=self.reconciler.observe(),
            edge=self.edge.observe(),
            point=self.meters.point(),
            readings=self.meters.engines.readings(),
            replica_traffic=self.meters.traffic.replica,
            lease=self.leases.holder,
            scaling=tuple(s.view() for name, s in self.autoscalers.items() if name in names),
            load=self.load.view(),
            drill=self.drills.view(),
            drills_blocked=self.drills.runner.blocked,
            consoles=self.hub.count,
            loop_lag_p99_s=lag.p99_s,
            dropped_rows=self.ledger.dropped,
            uptime_s=self.clock.mono() - self.started_mono,
            was_ready=self.was_ready,
            metrics_url=self.metrics_url,
            driver=self.config.file.driver,
            has_edge=served,
            edge_slots=ours,
            limits=missing(self.fleet, slots=ours, served=served),
            trouble=self.fleet.trouble() if isinstance(self.fleet, Limited) else None,
            nodes=self.fleet.nodes() if isinstance(self.fleet, HasNodes) else (),
            ports=self.fleet.ports() if isinstance(self.fleet, HasPorts) else (),
            forwards=self.connections.forwards.views(),
            rollouts=rollouts(self.fleet),
            former=self._shown.replicas if self._shown is not None else (),
        )

    def _levels(self) -> Levels:
        """What is counted at this instant."""
        edge = self.edge.observe()
        nodes = self.fleet.nodes() if isinstance(self.fleet, HasNodes) else ()
        cpu_percent, memory_percent = use_of_nodes(nodes)
        return Levels(
            cpu_percent=cpu_percent,
            memory_percent=memory_percent,
            queued=sum(w.queued for w in edge.workloads),
            in_flight=sum(w.in_flight for w in edge.workloads),
            ready=[r.phase for r in self.fleet.observe()].count(Phase.READY),
            wanted=sum(self.reconciler.wanted.of(s.name).replicas for s in self.specs),
        )

    def action_state(self) -> ActionState:
        """What previews see; TTFT over the last five minutes of the edge's streaming rows."""
        self._snapshot = None
        return state_of(self.snapshot(), self.specs, {s.name: self._ttft(s.name) for s in self.specs})

    def _ttft(self, workload: str) -> Quantiles:
        since = self.clock.now() - _PREVIEW_WINDOW_S
        rows: list[Row] = list(
            self.ledger.recent(
                "requests",
                since_ts=since,
                limit=20_000,
                where={"workload": workload, "vantage": "edge", "stream": True},
            )
        )
        values = [r.ttft_s for r in rows if isinstance(r, RequestRow) and r.ttft_s is not None]
        return summarize(values, window_s=_PREVIEW_WINDOW_S)

    def event(self, kind: str, severity: Severity, subject: str, message: str) -> None:
        """Something the daemon itself has to say."""
        now, mono = self.clock.now(), self.clock.mono()
        self.ledger.append(
            EventRow(ts=now, mono_s=mono, kind=kind, severity=severity, subject=subject, message=message)
        )
