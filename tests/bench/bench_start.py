"""How long the command line takes to say something. Run: python tests/bench/bench_start.py

Prints medians of 20 interleaved starts, and each as a ratio to `python -c pass` in the same run.
Goal: `trinity drill --help` in 200 ms.
"""

from __future__ import annotations

import resource
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


def seconds(argv: list[str]) -> tuple[float, float]:
    """Wall time of one run from start to end, and the processor time it took (which a busy machine changes little)."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    for argv in PROGRAMS.values():  # warm caches, byte code
        seconds(argv)
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in PROGRAMS}
    for _ in range(ROUNDS):
        for name, argv in PROGRAMS.items():
            took[name].append(seconds(argv))
    medians = {name: [statistics.median(column) for column in zip(*runs, strict=True)] for name, runs in took.items()}
    base = medians["python -c pass"][0]
    for name, (wall, cpu) in medians.items():
        least = min(run[0] for run in took[name])
        times = f"median {wall * 1000:6.1f} ms  min {least * 1000:6.1f} ms  cpu {cpu * 1000:6.1f} ms"
        print(f"{name:<24} {times}  x{wall / base:.1f}")
    reached = medians["trinity drill --help"][0] <= GOAL_S
    print(f"goal: trinity drill --help in {GOAL_S * 1000:.0f} ms: {'reached' if reached else 'NOT reached'}")
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
