"""Prints how soon a console shows something true: the last recorded snapshot, marked STALE, and the live fleet.

Run as `python tests/bench/bench_first_frame.py [--runs 10] [--replicas 1000]`. Each figure is the median of the runs,
from the process's start to the words on a pseudo terminal at 120x40, with a warm page cache; an empty Textual app is
measured in turn with them. The live fleet is a real daemon over two web servers.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from backend.recording.limits import RecordingLimits
from backend.recording.writer import SegmentWriter
from tests.bench.bench_console import PLAIN
from tests.e2e.console_pty import Console
from tests.e2e.light_fleet import light_fleet
from tests.unit.recording.fleets import seconds_of

OPEN = "from console.cli import main; main(['--state', {state!r}])"
UNSTARTABLE = {"MIN_INSTANCES": "3", "MAX_INSTANCES": "2"}


def shown_after(code: str, env: dict[str, str], shown: Callable[[Console], bool]) -> float:
    """Milliseconds from the start of a console to a screen that is as wanted."""
    console = Console(code, size=(120, 40), env=env)
    try:
        console.until(lambda: shown(console), "what is measured")
        return 1000 * (time.monotonic() - console.started)
    finally:
        console.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--replicas", type=int, default=1000)
    given = parser.parse_args()
    times: dict[str, list[float]] = {"empty": [], "stale": [], "live": []}
    with tempfile.TemporaryDirectory() as place, light_fleet() as fleet:
        writer = SegmentWriter(Path(place) / "recording", RecordingLimits())
        for one in seconds_of(590, replicas=given.replicas, changing=given.replicas // 20, start=time.time() - 700):
            writer.add(one)
        writer.close()
        live_env = {**fleet.env, "TRINITY_STATE": str(fleet.state)}
        for _ in range(given.runs + 1):
            times["empty"].append(shown_after(PLAIN, {}, lambda c: c.shows("Replicas")))
            code = OPEN.format(state=place)
            times["stale"].append(shown_after(code, UNSTARTABLE, lambda c: c.shows("STALE") and c.shows("llm-1 ")))
            code = OPEN.format(state=str(fleet.state))
            times["live"].append(shown_after(code, live_env, lambda c: c.shows("2/2 ready") and not c.shows("STALE")))
    empty, stale, live = (statistics.median(times[name][1:]) for name in ("empty", "stale", "live"))  # the first warms
    print(f"empty Textual app                 {empty:6.0f} ms")
    print(f"last snapshot, {given.replicas:>5} replicas     {stale:6.0f} ms   (gate 300)")
    print(f"live, a real daemon               {live:6.0f} ms   (gate 1000)")


if __name__ == "__main__":
    main()
