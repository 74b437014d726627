"""How long the command line takes to say something. Run: python tests/bench/bench_start.py

Prints medians of 20 interleaved starts, and each as a ratio to `python -c pass` in the same run.
Goal: `trinity drill --help` in 200 ms.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

ROUNDS = 20
GOAL_S = 0.2
TRINITY = [sys.executable, "-c", "from console.cli import main; main()"]
PROGRAMS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "trinity --help": [*TRINITY, "--help"],
    "trinity drill --help": [*TRINITY, "drill", "--help"],
    "trinity status --help": [*TRINITY, "status", "--help"],
    "trinity version": [*TRINITY, "version"],
}


def seconds(argv: list[str]) -> float:
    """Wall time of one run, from start to end."""
    began = time.perf_counter()
    subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def main() -> int:
    for argv in PROGRAMS.values():  # warm caches, byte code
        seconds(argv)
    took: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(ROUNDS):
        for name, argv in PROGRAMS.items():
            took[name].append(seconds(argv))
    base = statistics.median(took["python -c pass"])
    for name, values in took.items():
        median = statistics.median(values)
        print(f"{name:<24} median {median * 1000:6.1f} ms  min {min(values) * 1000:6.1f} ms  x{median / base:.1f}")
    reached = statistics.median(took["trinity drill --help"]) <= GOAL_S
    print(f"goal: trinity drill --help in {GOAL_S * 1000:.0f} ms: {'reached' if reached else 'NOT reached'}")
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
