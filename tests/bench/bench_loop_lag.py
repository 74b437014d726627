"""How late the daemon's event loop runs while a console, a load and the autoscaler run.

The daemon's own figure (`trinity_loop_lag_seconds`) over 60 s and more, beside two floors of the same run: what an
idle uvloop process of the same niceness sees (the machine's share: too few cores for too many programs), and an
idle asyncio one. What the daemon adds is its own: callbacks that take long, or its
threads' hold of the interpreter lock.

Run: python tests/bench/bench_loop_lag.py [--seconds 70] [--rate 6] [--consoles 1]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import httpx
import msgspec
from prometheus_client.parser import text_string_to_metric_families

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from backend.telemetry.looplag import LoopLag
from tests.bench import machine
from tests.bench.real_console import Watched, attach
from tests.e2e.background_load import BackgroundLoad, chat_load
from tests.e2e.harness import RealFleet, real_fleet

GOAL_P99_S = 0.020
IDLE = """
import asyncio, msgspec, sys, uvloop
from backend.telemetry.looplag import LoopLagMeter
async def main():
    meter = LoopLagMeter()
    meter.start()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    print(msgspec.json.encode(meter.read()).decode())
{run}(main())
"""


def idle_process(run: str) -> subprocess.Popen[str]:
    """A program whose loop does nothing but measure how late it is; prints it when its stdin ends."""
    return subprocess.Popen(
        [sys.executable, "-P", "-c", IDLE.format(run=run)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def lateness(process: subprocess.Popen[str]) -> LoopLag:
    """End it and read what it saw over its last 60 s."""
    return msgspec.json.decode(process.communicate("\n", timeout=30)[0], type=LoopLag)


class Scheduled:
    """What the kernel did with a process's main thread from now on: seconds it ran, and waited for a core."""

    def __init__(self, pid: int) -> None:
        self._path = Path(f"/proc/{pid}/schedstat")
        self._before = self._read()

    def _read(self) -> tuple[int, int, int]:
        ran, waited, slices = map(int, self._path.read_text().split())
        return ran, waited, slices

    def line(self) -> str:
        ran, waited, slices = (now - then for now, then in zip(self._read(), self._before, strict=True))
        mean = waited / max(1, slices) / 1e6
        return f"ran {ran / 1e9:.2f} s, waited for a core {waited / 1e9:.2f} s in {slices} turns ({mean:.2f} ms each)"


def exported(fleet: RealFleet) -> dict[str, float]:
    """The daemon's own quantiles by label, over its last 60 s."""
    text = httpx.get(f"{fleet.metrics_url}/metrics").text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    return {s.labels["quantile"]: s.value for s in families["trinity_loop_lag_seconds"].samples if s.labels}


def busy(fleet: RealFleet, seconds: float, rate: float, consoles: int) -> None:
    fleet.trinity("autoscale", "on", "--yes")
    watched = [Watched(attach(fleet)) for _ in range(consoles)]
    load = BackgroundLoad(chat_load(fleet, rate=rate))
    time.sleep(10.0)  # starts are over: from here on 60 s are measured
    use, scheduled = machine.Others(), Scheduled(fleet.daemon_pid())
    floors = {"uvloop": idle_process("uvloop.run"), "asyncio": idle_process("asyncio.run")}
    try:
        time.sleep(max(61.0, seconds))
        lag, turns = exported(fleet), scheduled.line()
        idle = {name: lateness(process) for name, process in floors.items()}
        attached = fleet.snapshot().consoles
    finally:
        for process in floors.values():
            process.kill()
        for console in watched:
            console.close()
    summary = load.finish()
    fleet.trinity("autoscale", "off", "--yes")
    print(f"load: {summary.total} requests, {summary.failed} failed; consoles attached: {attached}; {use.line()}")
    floor = idle["uvloop"]
    assert floor.p99_s is not None
    p99 = lag["0.99"]
    print(
        f"daemon's loop: p99 {p99 * 1e3:.1f} ms (goal <= {GOAL_P99_S * 1e3:.0f}: {machine.goal(p99 <= GOAL_P99_S)}),"
        f" p50 {lag['0.5'] * 1e3:.2f} ms, worst {max(lag.values()) * 1e3:.1f} ms, last 60 s"
    )
    print(f"daemon's main thread: {turns}")
    for name, seen in idle.items():
        assert seen.p99_s is not None and seen.p50_s is not None and seen.max_s is not None
        print(
            f"idle {name} process (floor): p99 {seen.p99_s * 1e3:.1f} ms, p50 {seen.p50_s * 1e3:.2f} ms,"
            f" worst {seen.max_s * 1e3:.1f} ms, n={seen.count}"
        )
    print(f"p99 of the daemon is {p99 / floor.p99_s:.2f} x the idle uvloop process's")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=70.0)
    parser.add_argument("--rate", type=float, default=6.0)
    parser.add_argument("--consoles", type=int, default=1)
    given = parser.parse_args()
    machine.header("uvloop", "xllamacpp", "textual")
    with real_fleet() as fleet:
        fleet.until_ready(2)
        busy(fleet, given.seconds, given.rate, given.consoles)


if __name__ == "__main__":
    main()
