"""What the console costs on a real fleet: CPU and bytes to the terminal at 1 Hz, idle and under load, and the daemon's.

`trinity` on a pseudo terminal at 120x40 (and 80x24 idle), beside the daemon's CPU with and without a console
attached and an idle Textual app's: floors of the same run.

Run: python tests/bench/bench_console_real.py [--seconds 30] [--rate 5]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench import machine
from tests.bench.bench_console import PLAIN
from tests.bench.real_console import SIZE, Cost, attach, ready_rows
from tests.e2e.background_load import BackgroundLoad, chat_load
from tests.e2e.console_pty import Console
from tests.e2e.harness import RealFleet, real_fleet

GOAL_PERCENT = 3.0
SETTLE_S = 6.0


def daemon_cpu(fleet: RealFleet) -> float:
    used = psutil.Process(fleet.daemon_pid()).cpu_times()
    return used.user + used.system


def pump(console: Console, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        console.pump()


def watch(name: str, fleet: RealFleet, console: Console, seconds: float) -> tuple[float, float]:
    """Print and return (CPU % of a core, bytes/s) of a console, and the daemon's CPU meanwhile."""
    pump(console, SETTLE_S)
    cost, daemon, use, began = Cost(console), daemon_cpu(fleet), machine.Others(), time.monotonic()
    pump(console, seconds)
    took = time.monotonic() - began
    cpu, sent = cost.read()
    theirs = 100 * (daemon_cpu(fleet) - daemon) / took
    rss = psutil.Process(console.process.pid).memory_info().rss / 2**20
    print(
        f"{name:<22} {100 * cpu / took:6.2f} % of a core  {sent / took:7.0f} B/s  {rss:4.0f} MiB"
        f"   daemon {theirs:5.2f} %   n=1 of {took:.0f} s; {use.line()}",
        flush=True,
    )
    return 100 * cpu / took, sent / took


def alone(fleet: RealFleet, seconds: float) -> None:
    """The daemon without a console."""
    before, began = daemon_cpu(fleet), time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - began
    print(f"{'no console':<22} {'':>38}   daemon {100 * (daemon_cpu(fleet) - before) / took:5.2f} %", flush=True)


def on_the_fleet(fleet: RealFleet, seconds: float, rate: float) -> None:
    alone(fleet, seconds / 2)
    plain = Console(PLAIN, size=SIZE)
    try:
        plain.until(lambda: plain.shows("Replicas"), "the empty app")
        watch("an idle Textual app", fleet, plain, seconds / 2)
    finally:
        plain.close()
    small = attach(fleet, (80, 24))
    try:
        small.until(lambda: ready_rows(small) >= 2, "replicas at 80x24")
        watch("idle, 80x24", fleet, small, seconds / 2)
    finally:
        small.close()
    console = attach(fleet)
    try:
        console.until(lambda: ready_rows(console) >= 2, "replicas")
        idle, _ = watch("idle, 120x40", fleet, console, seconds)
        print(f"  goal <= {GOAL_PERCENT:g} % of a core idle: {machine.goal(idle <= GOAL_PERCENT)}")
        load = BackgroundLoad(chat_load(fleet, rate=rate))
        watch(f"load {rate:g}/s, 120x40", fleet, console, seconds)
        summary = load.finish()
        print(f"  the load: {summary.total} requests, {summary.ok} ok")
    finally:
        console.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=5.0)
    given = parser.parse_args()
    machine.header("textual", "uvloop", "httpx")
    with real_fleet() as fleet:
        fleet.until_ready(2)
        on_the_fleet(fleet, given.seconds, given.rate)


if __name__ == "__main__":
    main()
