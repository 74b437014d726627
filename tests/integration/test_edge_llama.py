"""The edge in front of llama.cpp itself, whose headers leave long before the first token."""

from __future__ import annotations

import asyncio
import json
import math
import random
import re
import signal
import time

import httpx
import pytest

from backend.contract.fleet import ProbeSpec, ProbesSpec
from tests.integration.edge_bench import Bench, bench, client, until, workload
from tests.integration.serving_replicas import RunningReplica, replica

pytestmark = pytest.mark.timeout(400)
READY = ProbesSpec(readiness=ProbeSpec(path="/health/ready", port="health"))


async def put(b: Bench, name: str, running: RunningReplica) -> None:
    await running.until_health("ready", lambda status: status == 200, 150.0)
    await b.edge.fill("llm", name, host="127.0.0.1", port=running.port, check_port=running.health_port, maxconn=4)


async def timed_stream(host: str, port: int, body: bytes, request_id: str) -> tuple[float, float]:
    """On a raw connection: the seconds the engine says it has read the prompt, and those from before the request
    to its first body byte: an instant that is noted after writing may be noted late."""
    sent = time.monotonic()
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(
        f"POST /v1/completions HTTP/1.1\r\nHost: t\r\nConnection: close\r\nX-Request-ID: {request_id}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    await writer.drain()
    await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(1)
    took = time.monotonic() - sent
    rest = await reader.read(-1)
    writer.close()
    return float(re.findall(rb'"prompt_ms":([0-9.]+)', rest)[-1]) / 1000, took


async def test_ttft_in_the_row_is_the_clients_own() -> None:
    order = random.Random(5)
    async with bench() as b, replica() as running:
        b.specs = [workload("llm", probes=READY)]
        await b.up(0)
        await put(b, "llm-0", running)
        host, port = b.edge.public_url.removeprefix("http://").split(":")
        truth: dict[str, tuple[float, float]] = {}
        for number in range(24):
            words = int(math.exp(order.uniform(math.log(10), math.log(300))))
            prompt = " ".join(order.choice(("red", "green", "blue", "seven")) for _ in range(words))
            wish = {"prompt": prompt, "max_tokens": 3, "stream": True, "cache_prompt": False}
            truth[f"t-{number}"] = await timed_stream(host, int(port), json.dumps(wish).encode(), f"t-{number}")
        await until(lambda: len(b.sink.requests()) == len(truth), what="rows")
        rows = {r.request_id: r for r in b.sink.requests()}
        assert all(rows[i].ttft_s is not None and rows[i].outcome == "ok" for i in truth)
        assert max(read_s for read_s, _ in truth.values()) > 0.05, "prompts must be long enough to matter"
        # Between the engine's own count and a client's clock: headers, which leave at once, would be far below.
        wrong = {i: (rows[i].ttft_s, *t) for i, t in truth.items() if not t[0] <= (rows[i].ttft_s or 0) <= t[1] + 0.005}
        assert wrong == {}


async def test_replica_killed_before_its_first_byte_loses_nothing() -> None:
    async with bench() as b, replica() as one, replica() as two, client() as http:
        b.specs = [workload("llm", probes=READY, request_deadline_s=100.0)]
        await b.up(0)
        await put(b, "llm-0", one)
        await put(b, "llm-1", two)
        prompt = "one two three four five six seven eight nine ten " * 30
        wishes = [{"prompt": prompt, "max_tokens": 4, "stream": bool(n % 2), "cache_prompt": False} for n in range(4)]
        for each in (one, two):
            each.process.send_signal(signal.SIGSTOP)  # whoever is late to look finds them before the first byte still
        running = [asyncio.create_task(http.post(b.url, json=wish, timeout=100)) for wish in wishes]
        await until(lambda: sum(s.in_flight for s in b.edge.observe().servers) == 4, what="all in flight")
        one.process.kill()
        two.process.send_signal(signal.SIGCONT)
        answers: list[httpx.Response] = await asyncio.gather(*running)
        assert [a.status_code for a in answers] == [200] * 4
        await until(lambda: len(b.sink.requests()) == 4, what="rows")
        assert {r.replica for r in b.sink.requests()} == {"llm-1"}
        assert sum(r.retries > 0 for r in b.sink.requests()) == 2
