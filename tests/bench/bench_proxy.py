"""What a neutral fault proxy costs: latency added to a request, against the same replica asked directly.

Interleaved pairs in one run on keep-alive connections, one request at a time: direct, through the proxy, direct, ...
The replica is a HAProxy that answers by itself, so that its own time is small and steady. A second series opens a new
connection for each request, as the edge does towards a replica.

Run: python tests/bench/bench_proxy.py [--pairs N] [--json]
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).parents[2]))

from backend.contract.faults import ProxyTarget
from backend.drills import processes
from backend.drills.proxy.spec import ProxyPorts, ProxySpec
from backend.edge.settings import find_haproxy
from backend.quantiles import quantile
from tests.bench.bench_edge import Line, fixed_replica

GOAL_P50_MS, GOAL_P99_MS = 0.5, 5.0
BODY_BYTES = 2000


def start_proxy(directory: Path, pid: int, port: int) -> tuple[subprocess.Popen[bytes], int]:
    """A neutral proxy before that port, and its own."""
    spec = ProxySpec(
        name="bench",
        control_path=str(directory / "ctl"),
        ports_path=str(directory / "ports"),
        target=ProxyTarget(port=port, pid=pid, mark=processes.start_mark(pid) or ""),
    )
    argv = [sys.executable, "-m", "backend.drills.proxy", "--spec", msgspec.json.encode(spec).decode()]
    process = subprocess.Popen(argv, cwd=Path(__file__).parents[2])
    path = directory / "ports"
    while not path.exists():
        if process.poll() is not None:
            raise SystemExit("The proxy did not start.")
        time.sleep(0.01)
    return process, msgspec.json.decode(path.read_bytes(), type=ProxyPorts).port


def measure(direct: int, through: int, pairs: int, *, fresh: bool) -> dict[str, float]:
    """Milliseconds: quantiles of both ways and of the difference within pairs."""
    ports, taken = {"direct": direct, "proxy": through}, {"direct": list[float](), "proxy": list[float]()}
    lines = {name: Line(port, b"x" * BODY_BYTES) for name, port in ports.items()}
    rng = random.Random(1)
    for number in range(pairs + 50):
        order = ["direct", "proxy"] if rng.random() < 0.5 else ["proxy", "direct"]
        for name in order:
            began = time.perf_counter()
            if fresh:
                lines[name].socket.close()
                lines[name] = Line(ports[name], b"x" * BODY_BYTES)
            lines[name].ask()
            if number >= 50:
                taken[name].append((time.perf_counter() - began) * 1000)
    for line in lines.values():
        line.socket.close()
    added = [slow - fast for fast, slow in zip(taken["direct"], taken["proxy"], strict=True)]
    found: dict[str, float] = {}
    for name, values in (("direct", taken["direct"]), ("proxy", taken["proxy"]), ("added", added)):
        for q in (0.5, 0.99):
            value = quantile(values, q)
            assert value is not None
            found[f"{name}_p{q * 100:g}_ms"] = value
    found["ratio_p50"] = found["proxy_p50_ms"] / found["direct_p50_ms"]
    found["ratio_p99"] = found["proxy_p99_ms"] / found["direct_p99_ms"]
    return found


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tb-") as name, contextlib.ExitStack() as ends:
        directory = Path(name)
        replica, port = fixed_replica(find_haproxy(None).path, directory)
        ends.callback(end, replica)
        proxy, through = start_proxy(directory, replica.pid, port)
        ends.callback(end, proxy)
        gc.disable()
        kinds = (("keep-alive", False), ("new connection", True))
        found = {kind: measure(port, through, options.pairs, fresh=fresh) for kind, fresh in kinds}
    if options.json:
        print(json.dumps(found))
    else:
        for kind, row in found.items():
            print(
                f"{kind:15} direct p50 {row['direct_p50_ms']:.3f} p99 {row['direct_p99_ms']:.3f} ms, through the proxy"
                f" {row['proxy_p50_ms']:.3f} and {row['proxy_p99_ms']:.3f} ms: added p50 {row['added_p50_ms']:.3f},"
                f" p99 {row['added_p99_ms']:.3f} ms, ratio {row['ratio_p50']:.2f} and {row['ratio_p99']:.2f}"
            )
    worst_p50 = max(row["added_p50_ms"] for row in found.values())
    worst_p99 = max(row["added_p99_ms"] for row in found.values())
    good = worst_p50 <= GOAL_P50_MS and worst_p99 <= GOAL_P99_MS
    print(f"goal: at most {GOAL_P50_MS} ms added at p50, {GOAL_P99_MS} ms at p99: {'met' if good else 'MISSED'}")
    return 0 if good else 1


def end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(3)
    process.kill()
    process.wait()


if __name__ == "__main__":
    sys.exit(main())
