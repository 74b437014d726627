"""How long `trinity drill check` takes on each shipped drill. Run: python tests/bench/bench_drill_check.py

Prints the median and the longest of three checks of each drill by the real command. Goal: 300 ms, for the median of
the slowest drill.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from backend.drills.library import library

ROUNDS = 3
GOAL_S = 0.3
CHECK = [sys.executable, "-c", "from console.cli import main; main()", "drill", "check"]


def seconds(drill: str) -> float:
    began = time.perf_counter()
    subprocess.run([*CHECK, drill], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def main() -> int:
    names = list(library())
    seconds(names[0])  # warm caches, byte code
    took = {name: [seconds(name) for _ in range(ROUNDS)] for name in names}
    for name, times in took.items():
        print(f"{name:<26} median {statistics.median(times) * 1000:5.0f} ms  max {max(times) * 1000:5.0f} ms")
    slowest = max(took, key=lambda name: statistics.median(took[name]))
    median = statistics.median(took[slowest])
    reached = median <= GOAL_S
    words = "reached" if reached else "NOT reached"
    print(f"goal: slowest ({slowest}) in {GOAL_S * 1000:.0f} ms: {median * 1000:.0f} ms, {words}")
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
