"""All meters of one fleet, ticking once a second: the daemon's one handle on telemetry.

Owns the second: it closes each second into a point of the series, writes the fleet's samples to the ledger, and
picks up totals and the last hour's series from it at start, so that a restarted daemon goes on where it was. Takes
everything it observes as arguments; acts on nothing.

Samples of the fleet (workload and replica null), one row a second each: `queue_depth`, `active_requests`,
`replicas_ready`, `replicas_wanted`, `requests_per_s`, `errors_per_s`, `tokens_out_per_s`, `cpu_percent`,
`memory_percent`, `ttft_count`, `ttft_p50_s`, `ttft_p95_s`, `ttft_p99_s` (the last three absent when idle). Of a
workload: `requests_total`, `errors_total`, `shed_total`, `retries_total`, `engine_tokens_*_total`, when they change
and at least every 30 s. Of a replica: what its engine exports (see engine_names.EngineMetric).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from backend.contract.clock import Clock
from backend.contract.control import SeriesPoint, Snapshot
from backend.contract.ledger import RowSink, RowSource
from backend.contract.rows import Row, SampleRow
from backend.telemetry.engine_names import EngineMetric
from backend.telemetry.engines import COUNTERS, REPEAT_S, EngineScraper, ScrapeTarget
from backend.telemetry.exporter import Exposition
from backend.telemetry.looplag import LoopLagMeter
from backend.telemetry.machine import MachineMeter
from backend.telemetry.rates import SETTLE_S, closed_second
from backend.telemetry.series import KEEP_S, Levels, Series, build_point, point_from_samples, samples_of
from backend.telemetry.traffic import STALE_S, Totals, TrafficMeter

LONGEST_REQUEST_S: Final = 600.0
"""How far back a request that ended just now may have begun."""
_TOTALS: Final = ("requests", "errors", "shed", "retries")
_FLUSH_MARGIN_S: Final = 0.1


class Meters:
    """Build it once the ledger is open and before the edge's log is read, so that no row is missed; `run`, `close`."""

    def __init__(
        self,
        *,
        fleet: str,
        clock: Clock,
        source: RowSource,
        sink: RowSink,
        targets: Callable[[], Sequence[ScrapeTarget]],
        levels: Callable[[], Levels],
        machine: MachineMeter | None = None,
    ) -> None:
        """`levels` gives queue, requests in flight and replica counts now; its machine fields, where they are
        null, are filled in with those of this machine."""
        self._fleet, self._clock, self._sink, self._levels = fleet, clock, sink, levels
        self.traffic = TrafficMeter(fleet, clock)
        self.engines = EngineScraper(fleet=fleet, targets=targets, clock=clock, sink=sink)
        self.machine = machine or MachineMeter(clock)
        self.loop_lag = LoopLagMeter()
        self.series = Series()
        self._written: dict[tuple[str, str], tuple[float, float]] = {}
        self.updated_mono_s = clock.mono()
        """When the newest point was made."""
        self._restore(source)
        self._detach = self.traffic.attach(source)

    async def run(self) -> None:
        """Scrape, tick and measure the running loop until cancelled. Ends with the error if any of them fails."""
        self.loop_lag.start()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.engines.run(), name="engine scraper")
                group.create_task(self._run(), name="telemetry")
        finally:
            self.loop_lag.stop()

    def close(self) -> None:
        """Let go of the ledger, once `run` has ended. The numbers stay readable."""
        self._detach()

    def point(self) -> SeriesPoint:
        """The newest second of the fleet, for the snapshot: rates over 10 s, everything else as it is now."""
        traffic = self.traffic.fleet()
        return build_point(
            int(self._clock.now()),
            ttft=traffic.ttft,
            requests=traffic.requests_per_s,
            errors=traffic.errors_per_s,
            tokens_per_s=self.engines.per_second(EngineMetric.TOKENS_OUT),
            levels=self._levels_now(),
        )

    def exposition(self, snapshot: Snapshot) -> Exposition:
        """What `/metrics` is made of."""
        return Exposition(
            snapshot=snapshot,
            traffic=self.traffic.fleet(),
            workload_traffic=self.traffic.workloads(),
            ttft_histograms=self.traffic.ttft_histograms(),
            tokens_out_total=self.engines.total(EngineMetric.TOKENS_OUT),
            tokens_in_total=self.engines.total(EngineMetric.TOKENS_IN),
            tokens_out_per_s=self.engines.per_second(EngineMetric.TOKENS_OUT),
            machine=self.machine.read(),
            loop_lag=self.loop_lag.read(),
        )

    def tick(self) -> None:
        """Close seconds that have ended into points and write samples. Called once a second by `run`."""
        now = self._clock.now()
        second = closed_second(now)
        self.traffic.prune()
        levels = self._levels_now()
        last = self.series.last_second
        first = second if last is None or last > second else max(last + 1, second - int(STALE_S) + 1)
        for closed in range(first, second + 1):
            point = self._point_of(closed, levels)
            self.series.push(point)
            for row in samples_of(point, self._fleet):
                self._sink.append(row)
        self._write_totals(now)
        self.updated_mono_s = self._clock.mono()

    async def _run(self) -> None:
        while True:
            self.tick()
            now = self._clock.now()
            # Just after a second closes: floor(now - SETTLE_S) steps at SETTLE_S past each whole second.
            await asyncio.sleep(1.0 - (now - SETTLE_S) % 1.0 + _FLUSH_MARGIN_S)

    def _point_of(self, second: int, levels: Levels) -> SeriesPoint:
        requests, errors = self.traffic.second(second)
        return build_point(
            second,
            ttft=self.traffic.fleet().ttft,
            requests=requests,
            errors=errors,
            tokens_per_s=self.engines.second(EngineMetric.TOKENS_OUT, second),
            levels=levels,
        )

    def _levels_now(self) -> Levels:
        levels, machine = self._levels(), self.machine.read()
        return Levels(
            queued=levels.queued,
            in_flight=levels.in_flight,
            ready=levels.ready,
            wanted=levels.wanted,
            cpu_percent=machine.cpu_percent if levels.cpu_percent is None else levels.cpu_percent,
            memory_percent=machine.memory_percent if levels.memory_percent is None else levels.memory_percent,
        )

    def _write_totals(self, now: float) -> None:
        ts, totals = self.traffic.closed_totals()
        for workload, known in totals.items():
            for name in _TOTALS:
                self._write_total(ts, workload, f"{name}_total", float(getattr(known, name)))
        for (workload, metric), amount in self.engines.totals().items():
            self._write_total(now, workload, str(metric), amount)

    def _write_total(self, ts: float, workload: str, metric: str, value: float) -> None:
        before = self._written.get((workload, metric))
        if before is not None and before[1] == value and ts - before[0] < REPEAT_S:
            return
        self._written[workload, metric] = (ts, value)
        self._sink.append(SampleRow(ts=ts, fleet=self._fleet, workload=workload, metric=metric, value=value))

    def _restore(self, source: RowSource) -> None:
        now = self._clock.now()
        samples = [row for row in source.recent("samples", limit=100_000) if isinstance(row, SampleRow)]
        ours = [row for row in samples if row.fleet == self._fleet]
        totals = self._restored_totals(ours)
        oldest = min([now - STALE_S, *(ts for ts, _ in totals.values())])
        rows: Iterable[Row] = source.recent("requests", since_ts=oldest - LONGEST_REQUEST_S, limit=200_000)
        self.traffic.restore(rows, totals)
        counters = {str(metric) for metric in COUNTERS}
        for row in ours:
            if row.metric in counters and row.replica is not None:
                self.engines.restore_counter(row.replica, EngineMetric(row.metric), row.value, row.ts)
        by_second: dict[int, dict[str, float]] = {}
        for row in ours:
            if row.workload is None and row.replica is None and row.ts >= now - KEEP_S:
                by_second.setdefault(int(row.ts), {})[row.metric] = row.value
        for second in sorted(by_second):
            self.series.push(point_from_samples(second, by_second[second]))

    def _restored_totals(self, samples: Sequence[SampleRow]) -> dict[str, tuple[float, Totals]]:
        newest: dict[str, dict[str, tuple[float, float]]] = {}
        for row in samples:
            if row.workload is not None and row.replica is None:
                newest.setdefault(row.workload, {})[row.metric] = (row.ts, row.value)
        totals: dict[str, tuple[float, Totals]] = {}
        for workload, known in newest.items():
            for metric in COUNTERS:
                if metric in known:
                    self.engines.restore_total(workload, metric, known[metric][1])
            if "requests_total" in known:
                ts = max(known[f"{name}_total"][0] for name in _TOTALS if f"{name}_total" in known)
                values = {name: int(known[f"{name}_total"][1]) for name in _TOTALS if f"{name}_total" in known}
                totals[workload] = (ts, Totals(**values))
        return totals
