"""Engine scrapers: `/metrics` of every running replica once a second, as readings, rates and sample rows.

Owns what is remembered of each replica between scrapes: newest reading, counters, progress. Observes only: a
replica that does not answer in time has no reading for that second, which is no error and no event, since a busy
engine may answer late. Whoever judges (the progress watchdog) reads `progress`. Never blocks the loop.

Token rates are output and prompt tokens over the newest 10 closed seconds (see rates.py).
"""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from backend.contract.clock import Clock
from backend.contract.fleet import EngineKind, ReplicaStatus
from backend.contract.ledger import RowSink
from backend.contract.rows import SampleRow
from backend.contract.words import Phase
from backend.lean import absent
from backend.telemetry.counters import CounterMemory, Progress
from backend.telemetry.engine_names import EngineMetric, read_values
from backend.telemetry.exposition import parse
from backend.telemetry.llama_slots import SlotsReading, read_slots
from backend.telemetry.rates import SecondCounts

with absent("httpx._main"):
    import httpx

PERIOD_S: Final = 1.0
PHASE_S: Final = 0.2
"""Scrapes begin this long after each whole second, so that a second never holds two of them or none."""
TIMEOUT_S: Final = 2.0
STALE_S: Final = 5.0
"""A reading older than this is not shown: null is truer than an old number."""
TOKEN_WINDOW_S: Final = 10
REPEAT_S: Final = 30.0
"""A value that does not change is written to the ledger this often."""
SCRAPED_PHASES: Final = frozenset({Phase.READY, Phase.NOT_READY, Phase.DRAINING})
COUNTERS: Final = (EngineMetric.TOKENS_OUT, EngineMetric.TOKENS_IN, EngineMetric.TOKENS_CACHED)


class ScrapeTarget(msgspec.Struct, frozen=True, kw_only=True):
    """One replica to ask. `started_ts` names the process: another one begins its counters at 0."""

    replica: str
    workload: str
    engine: EngineKind
    host: str
    port: int
    started_ts: float | None = None


class EngineReading(msgspec.Struct, frozen=True, kw_only=True):
    """The newest answer of one replica's engine. Null, or left out of `values`: not exported or not known yet."""

    replica: str
    workload: str
    ts: float
    mono_s: float
    latency_s: float
    """How long the engine took to answer."""
    values: dict[EngineMetric, float]
    tokens_out_per_s: float | None = None
    tokens_in_per_s: float | None = None

    @property
    def running(self) -> int | None:
        """Requests in a slot."""
        return _as_int(self.values.get(EngineMetric.RUNNING))

    @property
    def waiting(self) -> int | None:
        """Requests the engine holds back."""
        return _as_int(self.values.get(EngineMetric.WAITING))


def targets_of(replicas: Iterable[ReplicaStatus], engines: Mapping[str, EngineKind]) -> list[ScrapeTarget]:
    """Who is to be asked: running replicas of workloads with a known engine (`engines`: workload -> kind)."""
    if all(engine == "none" for engine in engines.values()):
        return []
    return [
        ScrapeTarget(
            replica=replica.name,
            workload=replica.workload,
            engine=engines[replica.workload],
            host=replica.host,
            port=replica.port,
            started_ts=replica.started_ts,
        )
        for replica in replicas
        if replica.phase in SCRAPED_PHASES
        and replica.port is not None
        and engines.get(replica.workload, "none") != "none"
    ]


class _Replica:
    """What is remembered of one replica between scrapes."""

    __slots__ = ("progress", "rates", "reading", "slots_known", "step_seen", "target", "written")

    def __init__(self, target: ScrapeTarget, mono_s: float) -> None:
        self.target = target
        self.rates = {metric: SecondCounts() for metric in COUNTERS}
        self.written: dict[str, tuple[float, float]] = {}  # metric -> (ts, value) of the last sample row
        self.begin(target, mono_s)

    def begin(self, target: ScrapeTarget, mono_s: float) -> None:
        """Forget what belonged to an earlier process."""
        self.target = target
        self.reading: EngineReading | None = None
        self.step_seen: float | None = None
        self.slots_known = target.engine == "llamacpp"
        self.progress = Progress(busy=False, advanced_mono_s=mono_s, answered_mono_s=mono_s)


class EngineScraper:
    """Asks every target once a second, all at the same time, at most one question per replica under way."""

    def __init__(
        self,
        *,
        fleet: str,
        targets: Callable[[], Sequence[ScrapeTarget]],
        clock: Clock,
        sink: RowSink | None = None,
        client: httpx.AsyncClient | None = None,
        period_s: float = PERIOD_S,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._fleet, self._targets, self._clock, self._sink = fleet, targets, clock, sink
        self._period_s, self._timeout_s = period_s, timeout_s
        # A kept connection would hold one of llama.cpp's few HTTP threads between two scrapes.
        # Engines speak plain HTTP: without a bare TLS context the machine's certificates are read, 30 ms on the loop.
        self._client = client or httpx.AsyncClient(
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            limits=httpx.Limits(max_keepalive_connections=0),
            headers={"Connection": "close"},
            trust_env=False,
        )
        self._replicas: dict[str, _Replica] = {}
        # Outlives a replica's absence: the same process may come back and must not be counted twice.
        self._counters: dict[tuple[str, EngineMetric], CounterMemory] = {}
        self._past: dict[tuple[str, EngineMetric], tuple[float, float]] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._failure: BaseException | None = None
        self._watching_since = clock.now()
        self._totals: dict[tuple[str, EngineMetric], float] = {}
        self._workload_rates: dict[tuple[str, EngineMetric], SecondCounts] = {}

    async def run(self) -> None:
        """Scrape until cancelled."""
        try:
            while True:
                self.tick()
                now = self._clock.now()
                await asyncio.sleep(_next_tick(now, self._period_s) - now)
        finally:
            await self.close()

    async def close(self) -> None:
        """End what is under way."""
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        await self._client.aclose()

    def tick(self) -> None:
        """Ask everyone who is not being asked already; forget replicas that are gone. Raises what an earlier
        question ended with if that was a mistake of ours: no scrape dies unseen."""
        if self._failure is not None:
            raise self._failure
        targets = {target.replica: target for target in self._targets()}
        for name in [name for name in self._replicas if name not in targets]:
            del self._replicas[name]
        for name, target in targets.items():
            known = self._replicas.get(name)
            if known is None:
                self._replicas[name] = _Replica(target, self._clock.mono())
            elif known.target != target:
                known.begin(target, self._clock.mono())
            if name not in self._asking:
                task = asyncio.create_task(self._ask(target), name=f"scrape {name}")
                task.add_done_callback(self._ended)
                self._asking[name] = task

    def readings(self) -> dict[str, EngineReading]:
        """The newest reading of each replica, unless it is stale."""
        now = self._clock.mono()
        return {
            name: replica.reading
            for name, replica in self._replicas.items()
            if replica.reading is not None and now - replica.reading.mono_s <= STALE_S
        }

    def reading(self, replica: str) -> EngineReading | None:
        """One replica's newest reading; null where there is none or it is stale."""
        return self.readings().get(replica)

    def progress(self, replica: str) -> Progress | None:
        """What the progress watchdog judges by; null for a replica that is not watched or never answered."""
        known = self._replicas.get(replica)
        return known.progress if known is not None and known.reading is not None else None

    def total(self, metric: EngineMetric, workload: str | None = None) -> float | None:
        """A counter over all replicas of a workload (or of all), past and present; null where nobody exported it."""
        parts = [
            amount
            for (name, known), amount in self._totals.items()
            if known is metric and (workload is None or name == workload)
        ]
        return sum(parts) if parts else None

    def totals(self) -> dict[tuple[str, EngineMetric], float]:
        """Every total, by workload and metric."""
        return dict(self._totals)

    def per_second(
        self, metric: EngineMetric, workload: str | None = None, *, seconds: int = TOKEN_WINDOW_S
    ) -> float | None:
        """The rate of a counter over the newest closed seconds; null while no replica that exports it answers."""
        if not any(
            metric in reading.values and (workload is None or reading.workload == workload)
            for reading in self.readings().values()
        ):
            return None
        now = self._clock.now()
        return sum(
            rates.per_second(now, seconds)
            for (name, known), rates in self._workload_rates.items()
            if known is metric and (workload is None or name == workload)
        )

    def second(self, metric: EngineMetric, second: int) -> float | None:
        """What was counted in one second of the last minute; null where nobody exported it."""
        parts = [rates.total(second, 1) for (_, known), rates in self._workload_rates.items() if known is metric]
        return sum(parts) if parts else None

    def restore_total(self, workload: str, metric: EngineMetric, amount: float) -> None:
        """Go on from a total of an earlier daemon."""
        self._totals[workload, metric] = amount

    def restore_counter(self, replica: str, metric: EngineMetric, seen: float, ts: float) -> None:
        """Go on from what an earlier daemon had counted at `ts` of a process that may still run."""
        self._past[replica, metric] = (ts, seen)

    def take(
        self, target: ScrapeTarget, text: str, *, latency_s: float, slots: SlotsReading | None = None
    ) -> EngineReading:
        """Account for one answer: `text` is the body of `/metrics`, `slots` of `/slots` where that was asked."""
        now, mono_s = self._clock.now(), self._clock.mono()
        replica = self._replicas.setdefault(target.replica, _Replica(target, mono_s))
        values = read_values(target.engine, parse(text))
        if slots is not None and slots.used_ratio is not None:
            values.setdefault(EngineMetric.KV_USAGE, slots.used_ratio)
        began = replica.reading.ts if replica.reading is not None else now
        for metric in COUNTERS:
            if metric in values:
                memory, fresh = self._memory(target, metric)
                ahead = slots.decoded if slots is not None and metric is EngineMetric.TOKENS_OUT else 0
                added = memory.increase(values[metric], target.started_ts, fresh=fresh, ahead=ahead)
                values[metric] = memory.seen
                self._count(replica, metric, added, began, now)
        step = values.get(EngineMetric.PROGRESS)
        replica.progress = replica.progress.after(
            mono_s=mono_s,
            busy=values.get(EngineMetric.RUNNING, 0.0) > 0,
            moved=step is None or step != replica.step_seen,
        )
        replica.step_seen = step
        replica.reading = EngineReading(
            replica=target.replica,
            workload=target.workload,
            ts=now,
            mono_s=mono_s,
            latency_s=latency_s,
            values=values,
            tokens_out_per_s=_rate(replica, values, EngineMetric.TOKENS_OUT, now),
            tokens_in_per_s=_rate(replica, values, EngineMetric.TOKENS_IN, now),
        )
        self._record(replica, replica.reading)
        return replica.reading

    def _memory(self, target: ScrapeTarget, metric: EngineMetric) -> tuple[CounterMemory, bool]:
        """The memory of a counter, and whether a first reading of it is all new."""
        key = (target.replica, metric)
        since = self._watching_since
        if key not in self._counters:
            self._counters[key] = CounterMemory()
            past = self._past.pop(key, None)
            if past is not None and target.started_ts is not None:
                since = past[0]
                if target.started_ts <= past[0]:
                    self._counters[key].prime(past[1], target.started_ts)
        return self._counters[key], target.started_ts is not None and target.started_ts >= since

    async def _ask(self, target: ScrapeTarget) -> None:
        try:
            began = self._clock.mono()
            text = await self._get(target, "/metrics")
            latency_s = self._clock.mono() - began
            slots = None
            replica = self._replicas.get(target.replica)
            if text is not None and replica is not None and replica.slots_known and _is_busy(target, text):
                # After /metrics: a request that ends in between is missing for one second rather than counted twice.
                slots = await self._ask_slots(target, replica)
            current = self._replicas.get(target.replica)
            if current is None or current.target != target:
                return  # It went away, or is another process now.
            if text is None:
                current.progress = current.progress.without_answer()
            else:
                self.take(target, text, latency_s=latency_s, slots=slots)
        finally:
            self._asking.pop(target.replica, None)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self._failure = task.exception() or self._failure

    async def _ask_slots(self, target: ScrapeTarget, replica: _Replica) -> SlotsReading | None:
        body = await self._get(target, "/slots")
        slots = None if body is None else read_slots(body.encode())
        if body is not None and slots is None:
            replica.slots_known = False
        return slots

    async def _get(self, target: ScrapeTarget, path: str) -> str | None:
        """The body of a 200, an empty text for another status of `/slots` (switched off), null without an answer."""
        host = f"[{target.host}]" if ":" in target.host else target.host
        try:
            answer = await self._client.get(f"http://{host}:{target.port}{path}", timeout=self._timeout_s)
        except httpx.HTTPError:
            return None
        if answer.status_code != 200:
            return "" if path == "/slots" else None
        return answer.text

    def _count(self, replica: _Replica, metric: EngineMetric, added: float, began: float, now: float) -> None:
        key = (replica.target.workload, metric)
        self._totals[key] = self._totals.get(key, 0.0) + added
        rates = self._workload_rates.setdefault(key, SecondCounts())
        for counts in (replica.rates[metric], rates):
            counts.spread(began, now, added)

    def _record(self, replica: _Replica, reading: EngineReading) -> None:
        if self._sink is None:
            return
        rows: dict[str, float | None] = {str(metric): value for metric, value in reading.values.items()}
        rows["engine_tokens_out_per_s"] = reading.tokens_out_per_s
        rows["engine_tokens_in_per_s"] = reading.tokens_in_per_s
        for metric, value in rows.items():
            before = replica.written.get(metric)
            if value is None or (before is not None and before[1] == value and reading.ts - before[0] < REPEAT_S):
                continue
            replica.written[metric] = (reading.ts, value)
            self._sink.append(
                SampleRow(
                    ts=reading.ts,
                    fleet=self._fleet,
                    workload=reading.workload,
                    replica=reading.replica,
                    metric=metric,
                    value=value,
                )
            )


def _rate(replica: _Replica, values: Mapping[EngineMetric, float], metric: EngineMetric, now: float) -> float | None:
    return replica.rates[metric].per_second(now, TOKEN_WINDOW_S) if metric in values else None


def _is_busy(target: ScrapeTarget, text: str) -> bool:
    return read_values(target.engine, parse(text)).get(EngineMetric.RUNNING, 0.0) > 0


def _next_tick(now: float, period_s: float) -> float:
    return (math.floor((now - PHASE_S) / period_s) + 1) * period_s + PHASE_S


def _as_int(value: float | None) -> int | None:
    return None if value is None else int(value)
