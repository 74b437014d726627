"""What watching a large cluster costs: the first list, then CPU while pods change, and the requests that it takes.

An emulated API server in a process of its own holds the pods and changes them; the driver runs alone in another, on
uvloop as in the daemon, and is asked for all replicas ten times a second. Beside it, against the same server, the
floor: a process that reads the same pages and the same watch and decodes the JSON, no more.

Run: python tests/bench/bench_kube.py [--pods 5000] [--changes 50] [--seconds 6] [--rounds 2]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench import machine
from tests.bench.machine import goal

GOAL_FIRST_S, GOAL_CPU = 1.5, 5.0


async def driver(kubeconfig: str, pods: int, seconds: float) -> dict[str, Any]:
    """The driver: seconds until all pods are there (from nothing, and from its libraries' being loaded), then CPU."""
    begin, cpu_begin = time.monotonic(), time.process_time()
    from backend.config.fleet_file import KubernetesFile
    from backend.config.paths import StatePaths
    from backend.contract.clock import SystemClock
    from backend.fleet.kube import KubeFleet
    from tests.fakes.ledger import MemoryLedger

    heard = 0

    def listen(_: object) -> None:
        nonlocal heard
        heard += 1

    with tempfile.TemporaryDirectory() as place:
        ledger = MemoryLedger()
        fleet = KubeFleet(
            StatePaths(Path(place)), ledger, SystemClock(), "bench", KubernetesFile(kubeconfig=kubeconfig)
        )
        await fleet.access.open()
        loaded = time.monotonic()
        await fleet.adopt()
        while len(fleet.observe()) < pods:
            await fleet.pods.synced.wait()
        first, cpu_first = time.monotonic(), time.process_time()
        await asyncio.sleep(2.0)
        fleet.on_change(listen)
        rows, cpu, start = len(ledger.rows), time.process_time(), time.monotonic()
        lag = 0.0
        while time.monotonic() - start < seconds:
            due = time.monotonic() + 0.1
            await asyncio.sleep(0.1)
            lag = max(lag, time.monotonic() - due)
            fleet.observe()
            fleet.workloads()
        took, spent = time.monotonic() - start, time.process_time() - cpu
        requests = dict(fleet.access.requests)
        await fleet.close()
    return {
        "first_s": first - loaded,
        "whole_s": first - begin,
        "first_cpu_s": cpu_first - cpu_begin,
        "cpu_percent": 100 * spent / took,
        "changes_per_s": heard / took,
        "rows_per_s": (len(ledger.rows) - rows) / took,
        "lag_ms": 1000 * lag,
        "requests": requests,
    }


async def floor(kubeconfig: str, pods: int, seconds: float) -> dict[str, Any]:
    """The same pages and the same watch, decoded and thrown away."""
    import aiohttp
    import msgspec
    import yaml

    document = yaml.safe_load(Path(kubeconfig).read_text())
    server = document["clusters"][0]["cluster"]["server"]
    headers = {"Authorization": f"Bearer {document['users'][0]['user']['token']}"}
    path = f"{server}/api/v1/namespaces/default/pods"
    async with aiohttp.ClientSession(headers=headers, read_bufsize=2**21) as session:
        begin, seen, size = time.monotonic(), 0, 0
        query = {"limit": "500"}
        while True:
            async with session.get(path, params=query) as response:
                body = await response.read()
            page = msgspec.json.decode(body)
            seen, size = seen + len(page["items"]), size + len(body)
            if "continue" not in page["metadata"] or not page["metadata"]["continue"]:
                break
            query = {"limit": "500", "continue": page["metadata"]["continue"]}
        first = time.monotonic() - begin
        assert seen == pods, seen
        query = {"watch": "1", "resourceVersion": page["metadata"]["resourceVersion"]}
        lines = 0
        async with session.get(path, params=query) as response:
            await asyncio.sleep(2.0)
            cpu, start, rest = time.process_time(), time.monotonic(), b""
            while time.monotonic() - start < seconds:
                rest += await response.content.readany()
                *whole, rest = rest.split(b"\n")
                for line in whole:
                    msgspec.json.decode(line)
                    lines += 1
            took, spent = time.monotonic() - start, time.process_time() - cpu
    return {"first_s": first, "bytes": size, "cpu_percent": 100 * spent / took, "changes_per_s": lines / took}


def alone(what: str, kubeconfig: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One measurement in a fresh process."""
    argv = [sys.executable, __file__, "--as", what, "--kubeconfig", str(kubeconfig)]
    argv += ["--pods", str(options.pods), "--seconds", str(options.seconds)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, default=5000)
    parser.add_argument("--changes", type=float, default=50.0)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--as", dest="what", choices=["driver", "floor"])
    parser.add_argument("--kubeconfig", default="")
    options = parser.parse_args()
    if options.what:
        import uvloop

        work = {"driver": driver, "floor": floor}[options.what]
        print(json.dumps(uvloop.run(work(options.kubeconfig, options.pods, options.seconds))))
        return 0
    machine.keep_byte_code()
    machine.header("kubernetes", "aiohttp", "msgspec", "uvloop", pods=options.pods, rounds=options.rounds)
    with tempfile.TemporaryDirectory() as place:
        kubeconfig = Path(place, "kubeconfig")
        argv = [sys.executable, "-m", "tests.kube_emulator", "--pods", str(options.pods)]
        argv += ["--changes", str(options.changes), "--kubeconfig", str(kubeconfig)]
        server = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).resolve().parents[2])
        try:
            assert server.stdout is not None
            assert server.stdout.readline().startswith("serving")
            alone("driver", kubeconfig, options)  # byte code, and the server's cache of encoded pods
            others = machine.Others()
            ours, floors = [], []
            for _ in range(options.rounds):
                floors.append(alone("floor", kubeconfig, options))
                ours.append(alone("driver", kubeconfig, options))
        finally:
            server.terminate()
            server.wait()
    print(f"the machine meanwhile: {others.line()}")
    return report(ours, floors, options)


def report(ours: list[dict[str, Any]], floors: list[dict[str, Any]], options: argparse.Namespace) -> int:
    """Prints; 0 where the goals are met."""

    def of(rows: list[dict[str, Any]], name: str) -> str:
        return machine.spread([row[name] for row in rows], "")

    first, floor_first = (statistics.median(row["first_s"] for row in rows) for rows in (ours, floors))
    cpu, floor_cpu = (statistics.median(row["cpu_percent"] for row in rows) for rows in (ours, floors))
    print(f"first list of {options.pods} pods ({floors[0]['bytes'] / 2**20:.1f} MiB): {of(ours, 'first_s')}s; ", end="")
    print(f"floor {of(floors, 'first_s')}s, {first / floor_first:.2f}x; goal {GOAL_FIRST_S} s ", end="")
    print(f"{goal(first <= GOAL_FIRST_S)} (from a bare interpreter {of(ours, 'whole_s')}s)")
    print(f"CPU at {of(ours, 'changes_per_s')}changes/s: {of(ours, 'cpu_percent')}% of a core; ", end="")
    print(f"floor {of(floors, 'cpu_percent')}%, {cpu / floor_cpu:.2f}x; goal {GOAL_CPU} % {goal(cpu <= GOAL_CPU)}")
    print(f"rows {of(ours, 'rows_per_s')}/s; the loop was late by at most {of(ours, 'lag_ms')}ms")
    requests = ours[-1]["requests"]
    print("requests: " + ", ".join(f"{name} {count}" for name, count in sorted(requests.items())))
    kinds = [name for name in requests if name.startswith(("list ", "watch ")) and not name.endswith(".metrics.k8s.io")]
    once = all(requests[name] == 1 for name in kinds if "(more)" not in name)
    print(f"one list and one watch for each kind: {goal(once)}")
    return 0 if first <= GOAL_FIRST_S and cpu <= GOAL_CPU and once else 1


if __name__ == "__main__":
    sys.exit(main())
