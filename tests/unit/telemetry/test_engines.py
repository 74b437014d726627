"""The scraper: rates from counters, silence without errors, nothing old shown as new."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import pytest

from backend.contract.fleet import ReplicaStatus
from backend.contract.rows import SampleRow
from backend.contract.words import Phase
from backend.telemetry.engine_names import EngineMetric
from backend.telemetry.engines import EngineReading, EngineScraper, ScrapeTarget, targets_of
from backend.telemetry.llama_slots import SlotsReading
from tests.unit.telemetry.scenes import START, MemoryLedger, SettableClock, llama_page, target

Handler = Callable[[httpx.Request], httpx.Response | Coroutine[None, None, httpx.Response]]


class Fleet:
    """Targets that come and go."""

    def __init__(self, *targets: ScrapeTarget) -> None:
        self.targets = list(targets)

    def __call__(self) -> list[ScrapeTarget]:
        return self.targets


def scraper(
    fleet: Fleet, clock: SettableClock, *, handler: Any = None, ledger: MemoryLedger | None = None
) -> EngineScraper:
    client = httpx.AsyncClient(transport=httpx.MockTransport(handler)) if handler else None
    return EngineScraper(
        fleet="local", targets=fleet, clock=clock, sink=ledger, client=client, timeout_s=0.5, period_s=0.02
    )


def feed(
    engines: EngineScraper, clock: SettableClock, page: str, *, of: ScrapeTarget, slots: SlotsReading | None = None
) -> EngineReading:
    clock.wall += 1.0
    return engines.take(of, page, latency_s=0.002, slots=slots)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0.005)


def test_token_rate_is_the_counters_increase_over_ten_seconds() -> None:
    clock = SettableClock(START + 0.7)
    engines, one = scraper(Fleet(target()), clock), target()
    for second in range(20):
        reading = feed(engines, clock, llama_page(predicted=second * 50, prompt=second * 7, running=1), of=one)
    assert reading.tokens_out_per_s == pytest.approx(50.0)
    assert reading.tokens_in_per_s == pytest.approx(7.0)
    assert (reading.running, reading.waiting) == (1, 0)
    assert engines.per_second(EngineMetric.TOKENS_OUT) == pytest.approx(50.0)
    assert engines.total(EngineMetric.TOKENS_OUT, "llm") == 19 * 50


def test_totals_go_on_over_a_restart_of_the_replica() -> None:
    clock = SettableClock()
    engines = scraper(Fleet(), clock)
    feed(engines, clock, llama_page(predicted=100), of=target(started_ts=START))
    feed(engines, clock, llama_page(predicted=30), of=target(started_ts=START + 5, port=8200))
    assert engines.total(EngineMetric.TOKENS_OUT) == 130


def test_tokens_made_before_we_watched_are_not_counted_as_made_now() -> None:
    clock = SettableClock()
    engines = scraper(Fleet(), clock)
    feed(engines, clock, llama_page(predicted=100_000), of=target(started_ts=START - 3600))
    assert engines.total(EngineMetric.TOKENS_OUT) == 0
    feed(engines, clock, llama_page(predicted=100_040), of=target(started_ts=START - 3600))
    assert engines.total(EngineMetric.TOKENS_OUT) == 40


def test_tokens_made_while_no_daemon_ran_are_counted() -> None:
    clock = SettableClock()
    engines = scraper(Fleet(), clock)
    engines.restore_total("llm", EngineMetric.TOKENS_OUT, 500.0)
    for name in ("llm-0", "llm-1"):
        engines.restore_counter(name, EngineMetric.TOKENS_OUT, 100.0, START - 60)
    feed(engines, clock, llama_page(predicted=180), of=target("llm-0", started_ts=START - 3600))  # The same process.
    feed(engines, clock, llama_page(predicted=20), of=target("llm-1", started_ts=START - 30))  # A new one.
    assert engines.total(EngineMetric.TOKENS_OUT) == 500 + 80 + 20


def test_tokens_of_running_requests_make_the_rate_live() -> None:
    clock = SettableClock(START + 0.7)
    engines, one = scraper(Fleet(target()), clock), target()
    for second in range(15):
        slots = SlotsReading(decoded=second * 40, used_ratio=0.25)
        reading = feed(engines, clock, llama_page(predicted=0, running=2), of=one, slots=slots)
    assert reading.tokens_out_per_s == pytest.approx(40.0)
    assert reading.values[EngineMetric.KV_USAGE] == 0.25
    reading = feed(engines, clock, llama_page(predicted=600, running=0), of=one)
    assert engines.total(EngineMetric.TOKENS_OUT) == 600


def test_what_is_not_exported_is_null() -> None:
    clock = SettableClock()
    engines = scraper(Fleet(target()), clock)
    reading = feed(engines, clock, "llamacpp:tokens_predicted_total 5\n", of=target())
    assert reading.running is None
    assert reading.tokens_in_per_s is None
    assert engines.per_second(EngineMetric.TOKENS_IN) is None
    assert engines.total(EngineMetric.TOKENS_IN) is None


def test_old_reading_is_not_shown_and_its_rate_is_null() -> None:
    clock = SettableClock()
    engines = scraper(Fleet(target()), clock)
    feed(engines, clock, llama_page(predicted=5), of=target())
    assert engines.reading("llm-0") is not None
    clock.wall += 5.1
    assert engines.reading("llm-0") is None
    assert engines.per_second(EngineMetric.TOKENS_OUT) is None


async def test_every_target_is_asked_at_once_and_a_slow_one_delays_nobody() -> None:
    release = asyncio.Event()

    async def handler(request: httpx.Request) -> httpx.Response:
        if request.url.port == 8101:
            await release.wait()
        return httpx.Response(200, text=llama_page(predicted=1))

    engines = scraper(Fleet(target("a", port=8100), target("b", port=8101)), SettableClock(), handler=handler)
    engines.tick()
    await until(lambda: "a" in engines.readings())
    assert "b" not in engines.readings()
    engines.tick()  # b is still being asked and is not asked twice.
    release.set()
    await until(lambda: "b" in engines.readings())
    await engines.close()


@pytest.mark.parametrize(
    "trouble", [httpx.ReadTimeout("late"), httpx.ConnectError("refused"), httpx.RemoteProtocolError("cut"), 503]
)
async def test_silence_is_no_error(trouble: httpx.HTTPError | int) -> None:
    asked = 0

    def handler(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        if asked == 1:
            return httpx.Response(200, text=llama_page(predicted=1, decodes=4))
        if isinstance(trouble, int):
            return httpx.Response(trouble)
        raise trouble

    clock, ledger = SettableClock(), MemoryLedger()
    engines = scraper(Fleet(target()), clock, handler=handler, ledger=ledger)
    engines.tick()
    await until(lambda: engines.reading("llm-0") is not None)
    written = len(ledger.rows)
    engines.tick()
    await until(lambda: (known := engines.progress("llm-0")) is not None and known.unanswered == 1)
    assert engines.reading("llm-0") is not None  # Not stale yet.
    assert len(ledger.rows) == written
    await engines.close()


async def test_busy_llama_is_asked_for_its_slots_and_an_idle_one_is_not() -> None:
    running, paths = 1, list[str]()

    def handler(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.path)
        if request.url.path == "/slots":
            slot = {"is_processing": True, "n_ctx": 100, "next_token": [{"n_decoded": 9}]}
            return httpx.Response(200, json=[slot])
        return httpx.Response(200, text=llama_page(predicted=1, running=running))

    clock = SettableClock()
    engines = scraper(Fleet(target(started_ts=START + 1)), clock, handler=handler)
    engines.tick()
    await until(lambda: engines.total(EngineMetric.TOKENS_OUT) == 10)
    running = 0
    engines.tick()
    await until(lambda: len(paths) == 3)
    await engines.close()
    assert paths == ["/metrics", "/slots", "/metrics"]


async def test_slots_that_are_switched_off_are_asked_for_once() -> None:
    paths: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.path)
        if request.url.path == "/slots":
            return httpx.Response(501, json={"error": {"code": 501}})
        return httpx.Response(200, text=llama_page(predicted=1, running=1))

    engines = scraper(Fleet(target()), SettableClock(), handler=handler)
    for asked in (2, 3):
        engines.tick()
        await until(lambda asked=asked: len(paths) == asked and engines.reading("llm-0") is not None)
        await until(lambda: not engines._asking)
    await engines.close()
    assert paths == ["/metrics", "/slots", "/metrics"]


async def test_answer_of_a_process_that_is_gone_is_dropped() -> None:
    release = asyncio.Event()

    async def handler(request: httpx.Request) -> httpx.Response:
        await release.wait()
        return httpx.Response(200, text=llama_page(predicted=999))

    fleet = Fleet(target())
    engines = scraper(fleet, SettableClock(), handler=handler)
    engines.tick()
    await asyncio.sleep(0)
    fleet.targets = [target(started_ts=START + 9, port=8200)]
    engines.tick()
    release.set()
    await until(lambda: not engines._asking)
    assert engines.total(EngineMetric.TOKENS_OUT) is None
    await engines.close()


async def test_a_mistake_of_ours_is_not_swallowed() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise RuntimeError("a bug")

    engines = scraper(Fleet(target()), SettableClock(), handler=handler)
    with pytest.raises(RuntimeError, match="a bug"):
        await asyncio.wait_for(engines.run(), 30)
    await engines.close()


def test_a_hang_is_busy_without_an_advance() -> None:
    clock = SettableClock()
    engines, one = scraper(Fleet(target()), clock), target()
    feed(engines, clock, llama_page(predicted=0, decodes=10, running=1), of=one)
    moved = clock.mono()
    for _ in range(5):
        feed(engines, clock, llama_page(predicted=0, decodes=10, running=1), of=one)
    progress = engines.progress("llm-0")
    assert progress is not None
    assert progress.busy
    assert progress.advanced_mono_s == moved
    assert progress.answered_mono_s == clock.mono()


def test_samples_are_written_when_they_change_and_now_and_then() -> None:
    clock, ledger = SettableClock(), MemoryLedger()
    engines, one = scraper(Fleet(target()), clock, ledger=ledger), target()
    for second in range(40):
        feed(engines, clock, llama_page(predicted=0, running=second // 20), of=one)
    rows = [row for row in ledger.rows if isinstance(row, SampleRow) and row.metric == EngineMetric.RUNNING]
    assert [row.value for row in rows] == [0.0, 1.0]
    waiting = [row for row in ledger.rows if isinstance(row, SampleRow) and row.metric == EngineMetric.WAITING]
    assert [row.ts - START for row in waiting] == [1.0, 31.0]
    assert {row.replica for row in rows} == {"llm-0"}


def test_targets_are_running_replicas_with_a_known_engine() -> None:
    def status(name: str, phase: Phase, workload: str = "llm", port: int | None = 8100) -> ReplicaStatus:
        return ReplicaStatus(name=name, fleet="local", workload=workload, phase=phase, created_ts=START, port=port)

    replicas = [
        status("ready", Phase.READY),
        status("draining", Phase.DRAINING),
        status("hung", Phase.NOT_READY),
        status("starting", Phase.STARTING),
        status("dead", Phase.CRASH_LOOP),
        status("no-port", Phase.READY, port=None),
        status("web", Phase.READY, workload="web"),
        status("unknown", Phase.READY, workload="other"),
    ]
    found = targets_of(replicas, {"llm": "llamacpp", "web": "none"})
    assert [one.replica for one in found] == ["ready", "draining", "hung"]
