"""Engine scrapers: `/metrics` of every running replica once a second, as readings, rates and sample rows.

Owns the counters' memory (resets over restarts, gaps) and the progress of each replica. Observes only: a replica
that does not answer in time has no reading for that second, which is no error and no event, since a busy engine
may answer late. Whoever judges (the progress watchdog) reads `progress`. Never blocks the loop.

Token counters of llama.cpp move when a request **ends** (measured), so token rates are taken over 10 s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import httpx
import msgspec

from backend.contract.clock import Clock
from backend.contract.fleet import EngineKind, ReplicaStatus
from backend.contract.ledger import RowSink
from backend.contract.rows import SampleRow
from backend.contract.words import Phase
from backend.telemetry.engine_names import EngineMetric, read_values
from backend.telemetry.exposition import parse
from backend.telemetry.rates import SecondCounts, second_of

PERIOD_S: Final = 1.0
TIMEOUT_S: Final = 2.0
STALE_S: Final = 5.0
"""A reading older than this is not shown: null is truer than an old number."""
TOKEN_WINDOW_S: Final = 10
SCRAPED_PHASES: Final = frozenset({Phase.READY, Phase.NOT_READY, Phase.DRAINING})
_COUNTERS: Final = (EngineMetric.TOKENS_OUT, EngineMetric.TOKENS_IN, EngineMetric.TOKENS_CACHED)


class ScrapeTarget(msgspec.Struct, frozen=True, kw_only=True):
    """One replica to ask. `started_ts` names the process: another one begins its counters at 0."""

    replica: str
    workload: str
    engine: EngineKind
    host: str
    port: int
    started_ts: float | None = None


class EngineReading(msgspec.Struct, frozen=True, kw_only=True):
    """The newest answer of one replica's engine. Null: not exported, or not known yet."""

    replica: str
    workload: str
    ts: float
    mono_s: float
    latency_s: float
    """How long `/metrics` took."""
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


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a replica's engine gets anywhere. A hang is `busy` with a heartbeat that stands still."""

    busy: bool
    """Work in a slot at the newest answer."""
    advanced_mono_s: float
    """Monotonic seconds when the heartbeat was last seen to move, or when the replica was first seen or idle."""
    answered_mono_s: float
    """Monotonic seconds of the newest answer."""
    slowest_step_s: float = 0.0
    """The longest time between two advances while busy that ended in an advance."""
    unanswered: int = 0
    """Scrapes in a row without an answer."""


def targets_of(replicas: Iterable[ReplicaStatus], engines: Mapping[str, EngineKind]) -> list[ScrapeTarget]:
    """Who is to be asked: running replicas of workloads with a known engine (`engines`: workload -> kind)."""
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


class CounterMemory:
    """One engine counter over the restarts of its process."""

    __slots__ = ("_generation", "_last")

    def __init__(self) -> None:
        self._last: float | None = None
        self._generation: float | None = None

    def increase(self, value: float, generation: float | None, *, fresh: bool) -> float:
        """How much was added since the reading before.

        A new process (`generation` changed) or a value that fell started from 0, so all of `value` is new. The
        first reading ever counts only where the process is `fresh`, that is, began while we were watching.
        """
        last, self._last = self._last, value
        known, self._generation = self._generation, generation
        if last is None:
            return value if fresh else 0.0
        if generation != known or value < last:
            return value
        return value - last


class _Replica:
    """What is remembered of one replica between scrapes."""

    __slots__ = ("progress", "rates", "reading", "step_seen", "target")

    def __init__(self, target: ScrapeTarget, mono_s: float) -> None:
        self.target = target
        self.reading: EngineReading | None = None
        self.rates = {metric: SecondCounts() for metric in _COUNTERS}
        self.step_seen: float | None = None
        self.progress = Progress(busy=False, advanced_mono_s=mono_s, answered_mono_s=mono_s)


class EngineScraper:
    """Asks every target once a second, all at the same time, at most one question per replica in flight."""

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
        totals: Mapping[str, Mapping[EngineMetric, float]] | None = None,
    ) -> None:
        self._fleet, self._targets, self._clock, self._sink = fleet, targets, clock, sink
        self._period_s, self._timeout_s = period_s, timeout_s
        # A kept connection would hold one of llama.cpp's few HTTP threads between two scrapes.
        self._client = client or httpx.AsyncClient(
            limits=httpx.Limits(max_keepalive_connections=0), headers={"Connection": "close"}, trust_env=False
        )
        self._owns_client = client is None
        self._replicas: dict[str, _Replica] = {}
        # Outlives a replica's absence: the same process may come back and must not be counted twice.
        self._counters: dict[tuple[str, EngineMetric], CounterMemory] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._watching_since = clock.now()
        self._totals: dict[str, dict[EngineMetric, float]] = {
            workload: dict(known) for workload, known in (totals or {}).items()
        }
        self._workload_rates: dict[str, dict[EngineMetric, SecondCounts]] = {}

    async def run(self) -> None:
        """Scrape until cancelled."""
        try:
            while True:
                self.tick()
                await asyncio.sleep(self._period_s)
        finally:
            await self.close()

    async def close(self) -> None:
        """End what is under way."""
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        if self._owns_client:
            await self._client.aclose()

    def tick(self) -> None:
        """Ask everyone who is not being asked already; forget replicas that are gone."""
        targets = {target.replica: target for target in self._targets()}
        for name in [name for name in self._replicas if name not in targets]:
            del self._replicas[name]
        for name, target in targets.items():
            known = self._replicas.get(name)
            if known is None:
                self._replicas[name] = _Replica(target, self._clock.mono())
            elif known.target != target:
                self._begin_again(known, target)
            if name not in self._asking:
                task = asyncio.create_task(self._ask(target), name=f"scrape {name}")
                self._asking[name] = task
                task.add_done_callback(lambda _, name=name: self._asking.pop(name, None))  # type: ignore[misc]

    def readings(self) -> dict[str, EngineReading]:
        """The newest reading of each replica, unless it is stale."""
        now = self._clock.mono()
        return {
            name: replica.reading
            for name, replica in self._replicas.items()
            if replica.reading is not None and now - replica.reading.mono_s <= STALE_S
        }

    def reading(self, replica: str) -> EngineReading | None:
        """One replica's, or null where there is none or it is stale."""
        return self.readings().get(replica)

    def progress(self, replica: str) -> Progress | None:
        """What the progress watchdog judges by; null for a replica that is not watched or never answered."""
        known = self._replicas.get(replica)
        return known.progress if known is not None and known.reading is not None else None

    def total(self, metric: EngineMetric, workload: str | None = None) -> float | None:
        """Tokens of a workload (or of all) over all its replicas, past and present; null where nobody exported."""
        parts = [
            known[metric]
            for name, known in self._totals.items()
            if metric in known and (workload is None or name == workload)
        ]
        return sum(parts) if parts else None

    def per_second(self, metric: EngineMetric, workload: str | None = None) -> float | None:
        """The rate of a counter over the newest 10 closed seconds; null while no replica in question answers."""
        if not any(
            metric in reading.values and (workload is None or reading.workload == workload)
            for reading in self.readings().values()
        ):
            return None
        now = self._clock.now()
        return sum(
            rates[metric].per_second(now, TOKEN_WINDOW_S)
            for name, rates in self._workload_rates.items()
            if metric in rates and (workload is None or name == workload)
        )

    def take(self, target: ScrapeTarget, text: str, *, latency_s: float) -> EngineReading:
        """Account for one answer (`text` is the body of `/metrics`)."""
        now, mono_s = self._clock.now(), self._clock.mono()
        replica = self._replicas.setdefault(target.replica, _Replica(target, mono_s))
        values = read_values(target.engine, parse(text))
        fresh = target.started_ts is not None and target.started_ts >= self._watching_since
        for metric in _COUNTERS:
            if metric in values:
                memory = self._counters.setdefault((target.replica, metric), CounterMemory())
                added = memory.increase(values[metric], target.started_ts, fresh=fresh)
                self._count(replica, metric, added, now)
        replica.progress = _advance(replica, values, mono_s)
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
        self._record(replica.reading)
        return replica.reading

    async def _ask(self, target: ScrapeTarget) -> None:
        began = self._clock.mono()
        try:
            answer = await self._client.get(
                f"http://{_bracketed(target.host)}:{target.port}/metrics", timeout=self._timeout_s
            )
        except httpx.HTTPError:
            self._unanswered(target)
            return
        current = self._replicas.get(target.replica)
        if current is None or current.target != target:
            return  # It went away, or is another process now.
        if answer.status_code != 200:
            self._unanswered(target)
            return
        self.take(target, answer.text, latency_s=self._clock.mono() - began)

    def _unanswered(self, target: ScrapeTarget) -> None:
        replica = self._replicas.get(target.replica)
        if replica is not None:
            replica.progress = msgspec.structs.replace(replica.progress, unanswered=replica.progress.unanswered + 1)

    def _begin_again(self, replica: _Replica, target: ScrapeTarget) -> None:
        mono_s = self._clock.mono()
        replica.target, replica.reading, replica.step_seen = target, None, None
        replica.progress = Progress(busy=False, advanced_mono_s=mono_s, answered_mono_s=mono_s)

    def _count(self, replica: _Replica, metric: EngineMetric, added: float, now: float) -> None:
        workload = replica.target.workload
        totals = self._totals.setdefault(workload, {})
        totals[metric] = totals.get(metric, 0.0) + added
        second = second_of(now, now)
        replica.rates[metric].add(second, added)
        rates = self._workload_rates.setdefault(workload, {})
        rates.setdefault(metric, SecondCounts()).add(second, added)

    def _record(self, reading: EngineReading) -> None:
        if self._sink is None:
            return
        rows = dict[str, float | None](reading.values.items())
        rows["engine_tokens_out_per_s"] = reading.tokens_out_per_s
        rows["engine_tokens_in_per_s"] = reading.tokens_in_per_s
        rows["engine_scrape_s"] = reading.latency_s
        for metric, value in rows.items():
            if value is not None:
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


def _advance(replica: _Replica, values: Mapping[EngineMetric, float], mono_s: float) -> Progress:
    """The progress after an answer. Idle counts as an advance, and so does a heartbeat that moved either way."""
    before, step = replica.progress, values.get(EngineMetric.PROGRESS)
    busy = values.get(EngineMetric.RUNNING, 0.0) > 0
    moved = step is None or step != replica.step_seen
    replica.step_seen = step
    advanced = mono_s if moved or not busy else before.advanced_mono_s
    slowest = before.slowest_step_s
    if moved and busy and before.busy:
        slowest = max(slowest, mono_s - before.advanced_mono_s)
    return Progress(busy=busy, advanced_mono_s=advanced, answered_mono_s=mono_s, slowest_step_s=slowest)


def _rate(replica: _Replica, values: Mapping[EngineMetric, float], metric: EngineMetric, now: float) -> float | None:
    return replica.rates[metric].per_second(now, TOKEN_WINDOW_S) if metric in values else None


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _as_int(value: float | None) -> int | None:
    return None if value is None else int(value)
