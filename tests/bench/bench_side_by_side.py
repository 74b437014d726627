"""The same 1,000 rows in Textual's DataTable and in the console's table: CPU, bytes and key latency, as ratios.

Both run on a pseudo terminal of 120x40, one after the other and again, in turns, so that a busy machine is busy for
both; ratios are of the medians. The screens are in side_by_side_screens.py. CPU and bytes are those of a second in
which some rows change; the key latency is from a cursor key to the first byte of its answer, with nothing changing.

Run: python tests/bench/bench_side_by_side.py [--rows 1000] [--share 0.05] [--seconds 10] [--turns 3]
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench import machine
from tests.bench.machine import at
from tests.e2e.console_pty import Console

CODE = """
import os
from console.tui.run import FRAMES_PER_S
if {name!r} == "own":
    os.environ["TEXTUAL_FPS"] = FRAMES_PER_S  # as it is where run_console loads the screen library
from tests.bench import side_by_side_screens as screens
screens.{name}({rows}, {share})
"""
SETTLE_S = 4.0


def started(name: str, rows: int, share: float) -> Console:
    console = Console(CODE.format(name=name, rows=rows, share=share), size=(120, 40))
    console.until(lambda: console.shows("llm-9"), "rows", 60)
    idle(console, SETTLE_S)
    return console


def idle(console: Console, seconds: float) -> None:
    """Take what comes, without an emulator: that would be slower than some of what is measured."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        console.take(left)


def steady(name: str, rows: int, share: float, seconds: float) -> tuple[float, float]:
    """CPU in percent of a core and bytes a second."""
    console = started(name, rows, share)
    try:
        process = psutil.Process(console.process.pid)
        before, sent, begun = sum(process.cpu_times()[:2]), len(console.raw), time.monotonic()
        idle(console, seconds)
        took = time.monotonic() - begun
        return 100 * (sum(process.cpu_times()[:2]) - before) / took, (len(console.raw) - sent) / took
    finally:
        console.close()


def keys(name: str, rows: int, presses: int, seed: int) -> list[float]:
    """Milliseconds from each key to the first byte of its answer."""
    console = started(name, rows, 0.0)
    chance = random.Random(seed)
    try:
        times: list[float] = []
        for index in range(presses):
            idle(console, chance.uniform(0.2, 0.3))  # so long nothing of the last key is under way
            begun = time.perf_counter()
            console.press("\x1b[B" if index % 16 < 8 else "\x1b[A")
            while not console.take(2.0):
                assert time.perf_counter() - begun < 10, "a key without an answer"
            times.append(1000 * (time.perf_counter() - begun))
        return times
    finally:
        console.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--presses", type=int, default=60)
    given = parser.parse_args()
    machine.header("textual", rows=given.rows, changing=f"{given.share:.0%} a second", turns=given.turns)
    others = machine.Others()
    cpu: dict[str, list[float]] = {"plain": [], "own": []}
    sent: dict[str, list[float]] = {"plain": [], "own": []}
    times: dict[str, list[float]] = {"plain": [], "own": []}
    for turn in range(given.turns):
        for name in ("plain", "own"):
            percent, bytes_per_s = steady(name, given.rows, given.share, given.seconds)
            cpu[name].append(percent)
            sent[name].append(bytes_per_s)
            times[name] += keys(name, given.rows, given.presses, turn)
    print(f"{'':<26}{'DataTable':>14}{'console':>14}{'ratio':>10}")
    for title, unit, values in (("CPU", "% of a core", cpu), ("bytes", "B/s", sent)):
        a, b = statistics.median(values["plain"]), statistics.median(values["own"])
        print(f"{title + ', ' + unit:<26}{a:>14.1f}{b:>14.1f}{a / b:>9.1f}x   n={given.turns} x {given.seconds:.0f} s")
    for title, q in (("key to first byte p50, ms", 0.5), ("key to first byte p95, ms", 0.95)):
        a, b = (at(times[name], q) for name in ("plain", "own"))
        print(f"{title:<26}{a:>14.1f}{b:>14.1f}{a / b:>9.1f}x   n={len(times['own'])}")
    print(f"the machine meanwhile: {others.line()}")


if __name__ == "__main__":
    main()
