"""The scraper against real llama.cpp: live token rates, exact totals, silence, restarts, and a full house."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

from backend.contract.clock import SystemClock
from backend.telemetry.engine_names import EngineMetric
from backend.telemetry.engines import EngineScraper, ScrapeTarget
from tests.integration.shim_rig import free_port

SLOTS = 2
pytestmark = pytest.mark.timeout(400)


class Replica:
    """One engine process at a time, on a port of its own each."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self.start()

    def start(self) -> None:
        self.port = free_port()
        self.started_ts = time.time()
        sizes = {"SLOTS": str(SLOTS), "THREADS": "1", "CONTEXT": "1024", "PORT": str(self.port)}
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "backend.serving.llm"], env={**os.environ, **sizes}, stderr=log, stdout=log
            )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if httpx.get(f"{self.url}/health", timeout=10).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.05)
        raise AssertionError(self._log.read_text()[-2000:])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def target(self) -> ScrapeTarget:
        return ScrapeTarget(
            replica="llm-0",
            workload="llm",
            engine="llamacpp",
            host="127.0.0.1",
            port=self.port,
            started_ts=self.started_ts,
        )

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    one = Replica(tmp_path / "log")
    yield one
    one.end()


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=300, limits=limits) as one:
        yield one


async def generate(client: httpx.AsyncClient, url: str, tokens: int) -> int:
    """A streamed completion; returns the output tokens of its usage."""
    body = {
        "prompt": "Count: 1 2 3 4",
        "max_tokens": tokens,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    used = 0
    async with client.stream("POST", f"{url}/v1/completions", json=body) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                used = (msgspec.json.decode(line[6:]).get("usage") or {}).get("completion_tokens", used)
    return used


async def until(condition: Callable[[], object], seconds: float = 150.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - a condition of several parts
            await asyncio.sleep(0.02)


async def test_rates_are_live_and_totals_exact_over_a_restart(replica: Replica, client: httpx.AsyncClient) -> None:
    engines = EngineScraper(
        fleet="local", targets=lambda: [replica.target()], clock=SystemClock(), period_s=0.2, timeout_s=30.0
    )
    running = asyncio.create_task(engines.run())
    await until(lambda: engines.reading("llm-0"))
    work = [asyncio.create_task(generate(client, replica.url, 250)) for _ in range(SLOTS)]
    await until(lambda: (engines.per_second(EngineMetric.TOKENS_OUT) or 0) > 0)
    kv_usage: list[float] = []

    def busy() -> bool:
        reading = engines.reading("llm-0")
        if reading is not None and reading.running == SLOTS:
            kv_usage.append(reading.values[EngineMetric.KV_USAGE])
        return bool(kv_usage)

    await until(busy)
    assert not any(one.done() for one in work)  # llama.cpp's own counter still stands at 0.
    assert 0.0 < kv_usage[0] < 1.0
    used = sum(await asyncio.gather(*work))
    await until(lambda: engines.total(EngineMetric.TOKENS_OUT) == used)

    replica.end()
    replica.start()
    used += await generate(client, replica.url, 30)
    await until(lambda: engines.total(EngineMetric.TOKENS_OUT) == used)
    await until(lambda: (r := engines.reading("llm-0")) is not None and r.running == 0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_frozen_engine_is_silence_and_its_return_is_no_restart(
    replica: Replica, client: httpx.AsyncClient
) -> None:
    engines = EngineScraper(
        fleet="local", targets=lambda: [replica.target()], clock=SystemClock(), period_s=0.2, timeout_s=1.0
    )
    running = asyncio.create_task(engines.run())
    await until(lambda: engines.reading("llm-0"))
    work = asyncio.create_task(generate(client, replica.url, 200))
    await until(lambda: (p := engines.progress("llm-0")) is not None and p.busy)
    os.kill(replica.process.pid, signal.SIGSTOP)
    await until(lambda: (p := engines.progress("llm-0")) is not None and p.unanswered >= 3)
    stuck = engines.progress("llm-0")
    assert stuck is not None
    assert stuck.busy
    os.kill(replica.process.pid, signal.SIGCONT)
    used = await work
    await until(lambda: (p := engines.progress("llm-0")) is not None and p.unanswered == 0 and not p.busy)
    total = engines.total(EngineMetric.TOKENS_OUT)
    assert total is not None
    assert total <= used
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_scrapes_of_a_full_house(replica: Replica, client: httpx.AsyncClient) -> None:
    """All slots busy and as many more waiting in the engine: answers still come before it has done any of it."""
    engines = EngineScraper(
        fleet="local", targets=lambda: [replica.target()], clock=SystemClock(), period_s=0.1, timeout_s=30.0
    )
    work = [asyncio.create_task(generate(client, replica.url, 300)) for _ in range(2 * SLOTS)]
    running = asyncio.create_task(engines.run())
    full: set[float] = set()

    def answered() -> bool:
        reading = engines.reading("llm-0")
        if reading is not None and (reading.running, reading.waiting) == (SLOTS, SLOTS):
            full.add(reading.mono_s)
        return len(full) >= 3

    await until(lambda: answered() or any(one.done() for one in work))
    assert not any(one.done() for one in work)
    progress = engines.progress("llm-0")
    assert progress is not None
    assert progress.unanswered == 0
    for one in (running, *work):
        one.cancel()
    await asyncio.gather(running, *work, return_exceptions=True)
