"""What a large fleet costs: CPU and bytes a second of the whole dashboard, the first list, a filter's keystrokes.

Drives the real program on a pseudo terminal at 120x40 over the simulator, of whose replicas about a twentieth change
each second. The simulator lives in the same process; the same one without any screen is run beside it as the floor.

Run: python tests/bench/bench_scale.py [--seconds 30] [--presses 20] [--replicas 1000,10000]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench import machine
from tests.bench.machine import at, goal
from tests.e2e.console_pty import Console

GOAL_CPU = {1000: 2.0, 10000: 5.0}
GOAL_BYTES, GOAL_THIN_BYTES = 2048, 600
GOAL_LIST_S, GOAL_KEY_MS = 1.5, 50.0
OURS = """
import time
from console.tui.run import run_console
def factory():
    from console.state.simulator import SimulatorSource
    made = SimulatorSource(replicas={replicas}, rate={rate})
    with open({marks!r}, "w") as file:
        file.write(str(time.monotonic()))
    return made
run_console(factory{options})
"""
FLOOR = """
import asyncio
from console.state.simulator import SimulatorSource
async def main():
    source = SimulatorSource(replicas={replicas}, rate={rate})
    async for _ in source.stream(1.0):
        print("frame", flush=True)
asyncio.run(main())
"""


def floor(replicas: int, seconds: float) -> float:
    """CPU share, in percent of a core, of the simulator alone at 1 Hz."""
    program = subprocess.Popen(
        [sys.executable, "-c", FLOOR.format(replicas=replicas, rate=None)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert program.stdout is not None
        for _ in range(3):
            program.stdout.readline()
        return share(psutil.Process(program.pid), seconds, time.sleep)
    finally:
        program.kill()
        program.wait()


def share(process: psutil.Process, seconds: float, wait: object) -> float:
    """CPU seconds of a process a second, in percent, while `wait` runs for a while."""
    before, begin = sum(process.cpu_times()[:2]), time.monotonic()
    wait(seconds)  # type: ignore[operator] # sleep, or pumping a console
    return 100 * (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - begin)


class Running:
    """The console over so many replicas, live and settled."""

    def __init__(self, replicas: int, *, rate: float | None = None, options: str = "") -> None:
        self.marks = Path(f"/tmp/trinity-bench-scale-{os.getpid()}")
        code = OURS.format(replicas=replicas, rate=rate, options=options, marks=str(self.marks))
        self.console = Console(code, size=(120, 40))
        self.console.until(lambda: self.console.shows("llm-1 "), "the list", timeout=60)
        self.list_s = time.monotonic() - float(self.marks.read_text())
        self.pump(8)

    def pump(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.console.pump(0.02)

    def steady(self, seconds: float) -> tuple[float, float, float]:
        """Percent of a core, bytes a second, MiB."""
        process, sent = psutil.Process(self.console.process.pid), len(self.console.raw)
        cpu = share(process, seconds, self.pump)
        return cpu, (len(self.console.raw) - sent) / seconds, process.memory_info().rss / 2**20

    def filter_keys(self, presses: int) -> list[float]:
        """Milliseconds from each letter of a filter to the first byte painted, deepening and taken back."""
        self.console.press("/")
        self.pump(0.5)
        times: list[float] = []
        for number in range(presses):
            key = "llm-77"[number // 2 % 6] if number % 2 == 0 else "\x7f"
            while self.console.pump(0.0):
                pass
            begin = time.monotonic()
            self.console.press(key)
            while not self.console.pump(1.0):
                pass
            times.append(1000 * (time.monotonic() - begin))
            self.pump(0.12)
        return times

    def close(self) -> None:
        self.console.close()
        self.marks.unlink(missing_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--presses", type=int, default=20)
    parser.add_argument("--replicas", default="1000,10000")
    given = parser.parse_args()
    machine.header("textual", size="120x40")
    others = machine.Others()
    machine.keep_byte_code()
    for replicas in (int(word) for word in given.replicas.split(",")):
        alone = floor(replicas, given.seconds)
        run = Running(replicas)
        try:
            cpu, sent, memory = run.steady(given.seconds)
            times = run.filter_keys(given.presses)
        finally:
            run.close()
        most = GOAL_CPU.get(replicas, 5.0)
        print(f"{replicas} replicas, 5 % changing each second, n={given.seconds:.0f} s")
        print(f"  CPU        {cpu:6.2f} % of a core with the simulator in it (goal {most:.0f}: {goal(cpu <= most)})")
        print(f"             {alone:6.2f} % the simulator alone, the console {cpu - alone:.2f} % more")
        print(f"  terminal   {sent:6.0f} B/s (goal {GOAL_BYTES}: {goal(sent <= GOAL_BYTES)})   RSS {memory:.0f} MiB")
        listed = goal(run.list_s <= GOAL_LIST_S)
        print(f"  first list {run.list_s:6.2f} s after its data was there (goal {GOAL_LIST_S}: {listed})")
        worst = max(times)
        print(
            f"  filter key {at(times, 0.5):6.1f} ms p50, {worst:.1f} ms worst of {len(times)} "
            f"(goal {GOAL_KEY_MS:.0f}: {goal(worst <= GOAL_KEY_MS)})"
        )
    for words, options, rate, most in (
        ("low bandwidth", ", low_bandwidth=True", None, GOAL_THIN_BYTES),
        ("nothing changes", "", 0.0, 0),
    ):
        run = Running(1000, rate=rate, options=options)
        try:
            cpu, sent, _ = run.steady(given.seconds)
        finally:
            run.close()
        print(f"1000 replicas, {words:<16} {sent:6.0f} B/s (goal {most}: {goal(sent <= most)})   {cpu:.2f} % of a core")
    print("  (an age that steps, e.g. 1h to 2h, is a change of about 50 bytes)")
    print(others.line())


if __name__ == "__main__":
    main()
