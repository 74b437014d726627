"""Runs the console for long on 1,000 replicas and 5,000 log lines a second, and says what grew.

On a pseudo terminal of 120x40 over the simulator, in the log explorer with all replicas, with a walk through the
other views once a minute. Prints the process's memory (RSS) after warm-up and at the end, the growth, and the numbers
of tasks, threads and open files. Ends with 1 where memory grew by 5 % or more, or tasks or files did. Warm-up ends when
what is bounded is full: it begins with a flood that fills what the log explorer may hold in memory and on disk.

Run: make soak [MINUTES=30], or python tests/bench/soak.py --minutes 30 [--lines 5000] [--replicas 1000]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench import machine
from tests.e2e.console_pty import Console

LIMIT = 0.05
WARM_UP_S = 600.0
WALK_S = 60.0
SAMPLE_S = 5.0
ROOM = {"tasks": 5, "threads": 5, "files": 20}
"""More of them than after warm-up is a leak; older log lines stand in up to 16 files."""
FILL_S, FILL_LINES = 240.0, 60_000
"""Lines a second at first: as many as fill all that may be held of them, so that from then on the oldest go."""
LIVED_S = 2100
"""The simulated world is as old as what it remembers: it grows no more, so that what grows is the console."""
PROGRAM = """
import asyncio, json, os
from console.tui.app import TrinityApp
from console.tui.run import run_console

def factory():
    from console.state.simulator import SimulatorSource
    source = SimulatorSource(replicas={replicas}, warm_s={before})
    source.flood_per_s = {fill}
    sources.append(source)
    return source

async def count():
    while True:
        seen = {{"tasks": len(asyncio.all_tasks()), "files": len(os.listdir("/proc/self/fd"))}}
        with open({path!r} + ".new", "w") as file:
            json.dump(seen, file)
        os.replace({path!r} + ".new", {path!r})
        await asyncio.sleep(1.0)

begin, tasks, sources = TrinityApp._begin, [], []
def begin_counted(self):
    begin(self)
    loop = asyncio.get_running_loop()
    tasks.append(loop.create_task(count()))
    loop.call_later({fill_s}, lambda: setattr(sources[0], "flood_per_s", {lines}))
TrinityApp._begin = begin_counted
run_console(factory)
"""


class Soak:
    """A console that is watched."""

    def __init__(self, place: Path, replicas: int, lines: int) -> None:
        self.path = place / "counts.json"
        code = PROGRAM.format(
            path=str(self.path), replicas=replicas, lines=lines, before=LIVED_S, fill=FILL_LINES, fill_s=FILL_S
        )
        self.console = Console(code, size=(120, 40))
        self.console.until(lambda: self.console.shows("llm-1"), "replicas", 180)
        self.process = psutil.Process(self.console.process.pid)
        self.sent = 0
        self.walk()

    def explore(self) -> None:
        """The log explorer, with the lines of all replicas."""
        self.console.press("4")
        self.idle(1.0)
        self.console.press("0")

    def idle(self, seconds: float) -> None:
        """Take what comes; what came is not kept."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.sent += len(self.console.take(left))
            self.console.raw = b""

    def walk(self) -> None:
        """Through the views, with some keys in each, and back to the logs. The first time it builds them."""
        for view in "1237568":
            self.console.press(view)
            self.idle(0.5)
            self.console.press("jjjk")
            self.idle(0.5)
            self.console.press("\x1b")
            self.idle(0.3)
        self.explore()

    def now(self) -> dict[str, Any]:
        """What is held: memory in bytes, tasks, threads, files."""
        with self.process.oneshot():
            held = {"rss": self.process.memory_info().rss, "threads": self.process.num_threads()}
        return held | json.loads(self.path.read_text())


def words(held: dict[str, Any]) -> str:
    return (
        f"RSS {held['rss'] / 2**20:.1f} MiB   {held['tasks']} tasks   {held['threads']} threads   {held['files']} files"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--replicas", type=int, default=1000)
    parser.add_argument("--lines", type=int, default=5000)
    given = parser.parse_args()
    machine.header("textual", minutes=given.minutes, replicas=given.replicas, lines_per_s=given.lines)
    length, warm_up = WARM_UP_S + 60 * given.minutes, WARM_UP_S
    with tempfile.TemporaryDirectory() as place:
        soak = Soak(Path(place), given.replicas, given.lines)
        try:
            begun = time.monotonic()
            warm: list[dict[str, Any]] = []
            late: list[dict[str, Any]] = []
            walked = shown = begun
            while (now := time.monotonic()) - begun < length:
                soak.idle(SAMPLE_S)
                if now - walked > WALK_S:
                    walked = now
                    soak.walk()
                held = soak.now()
                if warm_up - 4 * SAMPLE_S <= now - begun < warm_up + SAMPLE_S:
                    warm.append(held)
                if now - begun >= length - 5 * SAMPLE_S:
                    late.append(held)
                if now - shown > length / 12:
                    shown = now
                    print(f"{(now - begun) / 60:6.1f} min   {words(held)}", flush=True)
        finally:
            soak.console.close()
    before = min(warm, key=lambda held: held["rss"])
    after = min(late, key=lambda held: held["rss"])
    grown = after["rss"] / before["rss"] - 1
    print(f"after {warm_up / 60:.1f} min of warm-up:   {words(before)}   least of {len(warm)}")
    print(f"after {given.minutes:.1f} min more:         {words(after)}   least of {len(late)}")
    print(f"to the terminal: {soak.sent / length:.0f} B/s")
    leaks = [name for name, room in ROOM.items() if after[name] > before[name] + room]
    ok = grown < LIMIT and not leaks
    print(f"growth {grown:+.1%}, {', '.join(leaks) or 'no tasks, threads or files'} left behind: {machine.goal(ok)}")
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
