"""A terminal that takes nothing for a minute: what the console's event loop saw of it, and what came after.

Drives the real program at 120x40, which makes another whole picture twenty times a second; the reader stops, and goes
on. Lateness of the event loop holds the making of those pictures and, on a busy machine, what others took of it: the
same is measured without a stall in the same run.

Run: python tests/bench/bench_stall.py [--seconds 60] [--replicas 1000]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench import machine
from tests.bench.machine import goal
from tests.e2e.stalled_link import TICK_S, stall

GOAL_LAG_S = 0.050


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--replicas", type=int, default=1000)
    given = parser.parse_args()
    machine.header("textual", replicas=given.replicas, stall_s=given.seconds)
    for name, reads in (("no stall", True), ("stalled", False)):
        with tempfile.TemporaryDirectory() as place:
            seen = stall(Path(place), given.seconds, size=(120, 40), replicas=given.replicas, reads=reads)
        missing = sum(round(later - earlier) - 1 for earlier, later in pairwise(seen.points))
        print(f"{name:<10} event loop late at most {1000 * seen.lag_s:.0f} ms   {missing} samples missing", end="")
        if reads:
            print(flush=True)
            continue
        gaps = [later - earlier for earlier, later in pairwise(seen.pictures)]
        after = seen.pictures[max(range(len(gaps)), key=gaps.__getitem__) + 1]
        print(f"   {seen.waiting} writes under way at most, of which one is a bell")
        print(f"the first new picture is {after - seen.at_resume} pictures ({(after - seen.at_resume) * TICK_S:.2f} s) "
              f"younger than the reader's return, of {max(gaps)} merged")  # fmt: skip
        print(f"goal event loop <= {1000 * GOAL_LAG_S:.0f} ms: {goal(seen.lag_s <= GOAL_LAG_S)}   "
              f"no sample missing: {goal(not missing)}")  # fmt: skip


if __name__ == "__main__":
    main()
