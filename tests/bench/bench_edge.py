"""What the edge costs: latency added to a request, against the same fixed-answer replica asked directly.

Interleaved pairs on keep-alive connections, one request at a time: direct, through the edge, direct, ... The replica is
a second HAProxy that answers by itself, so that its own time is small and steady. Two request sizes are measured.

Run: python tests/bench/bench_edge.py [--pairs N] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import platform
import random
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from backend.config.paths import StatePaths
from backend.contract.clock import SystemClock
from backend.contract.fleet import WorkloadSpec
from backend.contract.rows import Row
from backend.edge.haproxy import HaproxyEdge
from backend.edge.settings import EdgeSettings, find_haproxy
from backend.quantiles import quantile

ANSWER = json.dumps({"object": "text_completion", "choices": [{"index": 0, "text": "x" * 200}]})
GOAL_P50_MS, GOAL_P99_MS = 0.15, 1.0


class Counter:
    """A RowSink that counts."""

    rows = 0

    def append(self, row: Row) -> None:
        self.rows += 1

    async def append_durable(self, row: Row) -> None:
        self.rows += 1


class Line:
    """One keep-alive connection."""

    def __init__(self, port: int, body: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.request = (
            b"POST /v1/completions HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body)
        ) + body

    def ask(self) -> float:
        """Seconds from sending a request to having its whole answer."""
        began = time.perf_counter()
        self.socket.sendall(self.request)
        data = self.socket.recv(65536)
        while not data.endswith(b'"}]}'):
            data += self.socket.recv(65536)
        took = time.perf_counter() - began
        assert data.startswith(b"HTTP/1.1 200"), data[:200]
        return took


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fixed_replica(binary: str, directory: Path) -> tuple[subprocess.Popen[bytes], int]:
    """A HAProxy that answers every request itself."""
    port = free_port()
    path = directory / "fixed.cfg"
    path.write_text(
        f"""global
  nbthread 1
  tune.bufsize 131072
defaults
  mode http
  timeout client 60s
  timeout connect 1s
  timeout server 60s
frontend fixed
  bind 127.0.0.1:{port}
  option http-buffer-request
  http-request return status 200 content-type application/json string '{ANSWER}'
"""
    )
    process = subprocess.Popen([binary, "-db", "-q", "-f", str(path)])
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return process, port
        except ConnectionRefusedError:
            time.sleep(0.01)
    raise TimeoutError("the fixed-answer replica did not start")


def measure(direct_port: int, edge_port: int, body: bytes, pairs: int) -> tuple[list[float], list[float]]:
    direct, edge = Line(direct_port, body), Line(edge_port, body)
    for _ in range(min(500, pairs)):
        direct.ask()
        edge.ask()
    gc.disable()
    one: list[float] = []
    two: list[float] = []
    order = random.Random(7)
    for _ in range(pairs):
        if order.random() < 0.5:
            one.append(direct.ask())
            two.append(edge.ask())
        else:
            two.append(edge.ask())
            one.append(direct.ask())
    gc.enable()
    return one, two


def summary(name: str, direct: list[float], edge: list[float]) -> dict[str, float | str]:
    def at(values: list[float], q: float) -> float:
        found = quantile(values, q)
        assert found is not None
        return found * 1000

    pairs = [b - a for a, b in zip(direct, edge, strict=True)]
    order = random.Random(11)
    boot = sorted(at(order.choices(pairs, k=len(pairs)), 0.5) for _ in range(200))
    return {
        "request": name,
        "pairs": len(pairs),
        "direct_p50_ms": at(direct, 0.5),
        "direct_p99_ms": at(direct, 0.99),
        "edge_p50_ms": at(edge, 0.5),
        "edge_p99_ms": at(edge, 0.99),
        "added_p50_ms": at(pairs, 0.5),
        "added_p50_low_ms": boot[5],
        "added_p50_high_ms": boot[194],
        "added_p99_ms": at(edge, 0.99) - at(direct, 0.99),
    }


def machine() -> dict[str, str | int]:
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    return {
        "cpu": cpu,
        "cores": os.cpu_count() or 0,
        "load": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "haproxy": find_haproxy().version,
    }


async def run(pairs: int) -> list[dict[str, float | str]]:
    with tempfile.TemporaryDirectory(prefix="be-") as directory:
        os.environ["XDG_RUNTIME_DIR"] = directory
        os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])
        paths = StatePaths(Path(directory) / "state").create()
        settings = EdgeSettings(port=free_port(), stats_port=free_port(), stats_password="bench")
        replica, port = fixed_replica(find_haproxy().path, Path(directory))
        edge = HaproxyEdge(paths, settings, Counter(), SystemClock(), "bench")
        try:
            await edge.start()
            await edge.configure([WorkloadSpec(name="llm", command=("none",), slots=8, max_replicas=16)])
            await edge.fill("llm", "llm-0", host="127.0.0.1", port=port, check_port=port, maxconn=8)
            # HAProxy writes its log as ever; the daemon's reading of it would only disturb the client's clock here.
            await edge.close()
            results = []
            for name, size in (("500 B", 500), ("16 KiB", 16384)):
                body = json.dumps({"prompt": "x" * (size - 14)}).encode()
                direct, through = await asyncio.to_thread(measure, port, settings.port, body, pairs)
                results.append(summary(name, direct, through))
            return results
        finally:
            again = HaproxyEdge(paths, settings, Counter(), SystemClock(), "bench")
            await again.start()
            await again.stop()
            replica.kill()
            replica.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = asyncio.run(run(options.pairs))
    if options.json:
        print(json.dumps({"machine": machine(), "results": results}))
        return
    print("machine:", ", ".join(f"{k} {v}" for k, v in machine().items()))
    for r in results:
        print(
            f"{r['request']:>7}: n={r['pairs']} pairs"
            f"  direct p50 {r['direct_p50_ms']:.3f} p99 {r['direct_p99_ms']:.3f} ms"
            f"  edge p50 {r['edge_p50_ms']:.3f} p99 {r['edge_p99_ms']:.3f} ms"
            f"  added p50 {r['added_p50_ms']:.3f} ms [{r['added_p50_low_ms']:.3f}, {r['added_p50_high_ms']:.3f}]"
            f" (goal {GOAL_P50_MS}), added p99 {r['added_p99_ms']:.3f} ms (goal {GOAL_P99_MS})"
        )


if __name__ == "__main__":
    main()
