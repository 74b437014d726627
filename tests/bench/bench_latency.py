"""From a key to what it changes on the screen, while 1,000 replicas update every second and logs flood in.

Drives the real program on a pseudo terminal at 120x40 over the simulator; keys come at random moments. A press is
answered when the cursor's mark is on another row (the table never scrolls). The floor of the same run is a Textual
app of one widget that repaints one cell for each key: what the machine, Python and Textual take before there is
anything to do.

Run: python tests/bench/bench_latency.py [--presses 400] [--replicas 1000] [--lines 50000]
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench import machine
from tests.bench.machine import at, goal
from tests.e2e.console_pty import Console

GOAL_P50_MS, GOAL_P99_MS = 5.0, 30.0
CURSOR = "▸".encode()
FLOOR = """
from rich.segment import Segment
from textual.app import App
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget
class Cell(Widget, can_focus=True):
    on = False
    def render_line(self, y):
        return Strip([Segment(("▸" if self.on == (y == 0) else " ") + " " * (self.size.width - 1))])
    def on_key(self, event):
        self.on = not self.on
        self.refresh(Region(0, 0, 1, 2))
class Floor(App):
    def compose(self):
        yield Cell()
    def on_mount(self):
        self.query_one(Cell).focus()
Floor().run()
"""
OURS = """
from console.tui.run import run_console
def factory():
    from console.state.simulator import SimulatorSource
    source = SimulatorSource(replicas={replicas})
    source.flood_per_s = {lines}
    return source
run_console(factory)
"""


def latencies(console: Console, presses: int, seed: int) -> list[float]:
    """Milliseconds from each press to its answer."""
    chance = random.Random(seed)
    times: list[float] = []
    for index in range(presses):
        end = time.monotonic() + chance.uniform(0.05, 0.15)
        while time.monotonic() < end:
            console.pump(0.01)
        seen, begun = b"", time.perf_counter()
        console.press("j" if index % 16 < 8 else "k")
        while CURSOR not in seen:
            seen += console.pump(2.0)
            arrived = time.perf_counter()
            assert arrived - begun < 10, "a key without an answer"
        times.append(1000 * (arrived - begun))
    return times


def floor(presses: int) -> list[float]:
    """Of an app that does next to nothing."""
    console = Console(FLOOR, size=(120, 40))
    try:
        console.until(lambda: console.shows("▸"), "the cell")
        return latencies(console, presses, 3)
    finally:
        console.close()


def ours(view: str, presses: int, replicas: int, lines: int) -> tuple[list[float], float]:
    """Of the console in a view, and its CPU share meanwhile (with the simulator's and the flood's own)."""
    console = Console(OURS.format(replicas=replicas, lines=lines), size=(120, 40))
    try:
        console.until(lambda: console.shows("llm-1"), "replicas", 60)
        if lines:
            console.press("4")
            console.press("0")
            console.until(lambda: console.shows("following"), "the flood", 60)
            console.press("1")
            console.until(lambda: console.shows("Throughput"), "the overview", 60)
        console.press(view)
        end = time.monotonic() + 3
        while time.monotonic() < end:
            console.pump()
        process = psutil.Process(console.process.pid)
        before, begun = sum(process.cpu_times()[:2]), time.monotonic()
        times = latencies(console, presses, 5)
        return times, 100 * (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - begun)
    finally:
        console.close()


def line(name: str, times: list[float], more: str = "") -> str:
    ordered = sorted(times)
    return (
        f"{name:<34} p50 {at(ordered, 0.5):6.1f} ms   p95 {at(ordered, 0.95):6.1f} ms   p99 {at(ordered, 0.99):6.1f} ms"
        f"   n={len(times)}{more}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presses", type=int, default=400)
    parser.add_argument("--replicas", type=int, default=1000)
    parser.add_argument("--lines", type=int, default=50_000)
    given = parser.parse_args()
    machine.header("textual", replicas=given.replicas, lines_per_s=given.lines)
    print(line("floor: one Textual widget", floor(given.presses)), flush=True)
    quiet, cpu = ours("1", given.presses, given.replicas, 0)
    print(line("overview, updates at 1 Hz", quiet, f"   {cpu:.0f} % of a core"), flush=True)
    if given.lines:
        flooded, cpu = ours("1", given.presses, given.replicas, given.lines)
        print(line("overview, updates and flood", flooded, f"   {cpu:.0f} % of a core"), flush=True)
        flooded.sort()
        p50, p99 = at(flooded, 0.5), at(flooded, 0.99)
        print(f"goal p50 <= {GOAL_P50_MS:.0f} ms: {goal(p50 <= GOAL_P50_MS)}   "
              f"p99 <= {GOAL_P99_MS:.0f} ms: {goal(p99 <= GOAL_P99_MS)}")  # fmt: skip


if __name__ == "__main__":
    main()
