"""Prints what the console costs: first frame, CPU and bytes to the terminal at 1 Hz, key to paint.

Run as `python tests/bench/bench_console.py [--seconds 20] [--replicas 2]`. Drives the real program on a
pseudo terminal at 120x40 over the simulator (whose own cost is in the CPU figures). The first frame is printed
beside a plain Textual app's, measured in the same run.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.e2e.console_pty import Console

PLAIN = """
from textual.app import App
from textual.widgets import Static
class Plain(App):
    def compose(self):
        yield Static("Replicas")
Plain().run()
"""
OURS = """
from console.tui.run import run_console
def factory():
    from console.state.simulator import SimulatorSource
    return SimulatorSource(replicas={replicas}, rate={rate})
run_console(factory)
"""


def first_frame(code: str, words: str, runs: int) -> float:
    """Median seconds from process start until `words` are on the screen."""
    times: list[float] = []
    for _ in range(runs):
        console = Console(code, size=(120, 40))
        try:
            console.until(lambda: console.shows(words), words)  # noqa: B023 - used at once
            times.append(time.monotonic() - console.started)
        finally:
            console.close()
    return statistics.median(times)


def steady(rate: float, replicas: int, seconds: float) -> dict[str, float]:
    """CPU share of one core and bytes a second after a settling time."""
    console = Console(OURS.format(replicas=replicas, rate=rate), size=(120, 40))
    try:
        console.until(lambda: console.shows("llm-1"), "replicas")
        settled = time.monotonic() + 5
        while time.monotonic() < settled:
            console.pump()
        process = psutil.Process(console.process.pid)
        before, sent, begin = sum(process.cpu_times()[:2]), len(console.raw), time.monotonic()
        while time.monotonic() - begin < seconds:
            console.pump()
        took = time.monotonic() - begin
        return {
            "cpu_percent": 100 * (sum(process.cpu_times()[:2]) - before) / took,
            "bytes_per_s": (len(console.raw) - sent) / took,
            "rss_mib": process.memory_info().rss / 2**20,
        }
    finally:
        console.close()


def key_to_paint(presses: int) -> tuple[float, float]:
    """Milliseconds from a cursor key to the first byte painted: median and 95th percentile."""
    console = Console(OURS.format(replicas=30, rate=0), size=(120, 40))
    try:
        console.until(lambda: console.shows("llm-9"), "replicas")
        for _ in range(40):
            console.pump(0.05)
        times: list[float] = []
        for index in range(presses):
            begin = time.monotonic()
            console.press("j" if index % 2 == 0 else "k")
            while not console.pump(1.0):
                pass
            times.append(1000 * (time.monotonic() - begin))
            end = time.monotonic() + 0.06
            while time.monotonic() < end:
                console.pump(0.02)
        times.sort()
        return statistics.median(times), times[int(len(times) * 0.95)]
    finally:
        console.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--runs", type=int, default=7)
    given = parser.parse_args()
    plain = first_frame(PLAIN, "Replicas", given.runs)
    ours = first_frame(OURS.format(replicas=given.replicas, rate=2), "connecting", given.runs)
    print(f"first frame       {ours * 1000:6.0f} ms   (an empty Textual app: {plain * 1000:.0f} ms)")
    for name, rate in (("idle", 0.0), ("busy, 5 req/s", 5.0)):
        cost = steady(rate, given.replicas, given.seconds)
        print(
            f"{name:<17} {cost['cpu_percent']:6.2f} % of a core   {cost['bytes_per_s']:7.0f} B/s   "
            f"{cost['rss_mib']:.0f} MiB   ({given.replicas} replicas, 120x40, 1 Hz)"
        )
    median, tail = key_to_paint(100)
    print(f"key to paint      {median:6.1f} ms median   {tail:.1f} ms p95")


if __name__ == "__main__":
    main()
