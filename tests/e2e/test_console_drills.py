"""Drills in the console on a real terminal, over the simulated fleet: what a person sees and presses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.console_pty import RUN, Console

Open = Callable[..., Console]

BASELINE_GOES_BY = """
from backend.contract.clock import SystemClock
from console.state.sim_world import SimWorld
now, start_drill, ahead = SystemClock.now, SimWorld.start_drill, [0.0]
SystemClock.now = lambda self: now(self) + ahead[0]
def start(self, *parts):
    start_drill(self, *parts)
    ahead[0] += 6.0
SimWorld.start_drill = start
"""
"""Of the seven seconds before the first fault one is waited for; from then on time is what it is."""
LASTS = """
import msgspec
from console.state import sim_drills
shipped = sim_drills.script
def long(name):
    one = shipped(name)
    *phases, last = one.phases
    return msgspec.structs.replace(one, phases=(*phases, msgspec.structs.replace(last, seconds=90.0)))
sim_drills.script = long
"""
"""What is stopped by hand must not have ended by itself before, however slow the machine is."""


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    consoles: list[Console] = []

    def begin(size: tuple[int, int] = (100, 30), before: str = "", **env: str) -> Console:
        code = RUN.format(before=before, log=str(tmp_path / "console.log"), extra="")
        console = Console(code, size=size, env=env)
        consoles.append(console)
        console.until(lambda: console.shows("llm-1"), "the replicas are shown")
        console.press("f")
        console.until(lambda: console.shows("LAST RUN") and console.shows("llm-replica-kill"), "the list opens")
        return console

    yield begin
    for console in consoles:
        console.close()


def start(console: Console) -> None:
    console.until(lambda: console.shows("What would happen now") or console.screen.lines < 20, "its plan")
    console.press("\r")
    console.until(lambda: console.shows("Cancel"), "asks first")
    console.press("y")
    console.until(lambda: console.shows("Timeline"), "the timeline runs")


def test_a_drill_is_watched_to_its_marks_and_stopped_by_x(opened: Open) -> None:
    console = opened(before=BASELINE_GOES_BY + LASTS)
    start(console)
    console.until(lambda: console.shows("▼●◆"), "injected, effective, detected are marked")
    console.press("3")
    console.until(lambda: console.shows("◔ drill llm-replica-kill") and console.shows("X stop"), "banner elsewhere")
    console.press("X")
    console.until(lambda: console.shows("⊘ drills are blocked"), "stopped, and says that nothing starts")
    assert console.shows("trinity drill allow")
    console.press("6")
    console.until(lambda: console.shows("⊘ aborted-clean"), "the list knows how it ended")
    console.press("p")
    console.until(lambda: console.shows("⊘ ABORTED-CLEAN") and console.shows("What users felt"), "the report")
    console.press("q")
    assert console.wait() == 0


def test_a_small_terminal_without_colour_or_unicode_follows_a_drill(opened: Open) -> None:
    console = opened(size=(40, 12), before=BASELINE_GOES_BY + LASTS, NO_COLOR="1", LC_ALL="C")
    start(console)
    console.until(lambda: console.shows("v*D"), "marks in ASCII")
    assert "\n".join(console.screen.display).isascii()
    console.press("X")
    console.until(lambda: console.shows("- ABORTED-CLEAN"), "the report follows")


def test_a_finished_timeline_costs_no_byte(opened: Open) -> None:
    """Nothing ticks when nothing happens: the last run's timeline stands still."""
    console = opened(
        before="from console.state.simulator import SimulatorSource\n"
        "made = SimulatorSource.__init__\n"
        "def frozen(self, **parts):\n"
        "    made(self, **parts)\n"
        "    self.world.start_drill('r1', 'llm-replica-kill')\n"
        "    self.world.advance(self.world.now + 30)\n"
        "    self._advance = lambda: None\n"
        "SimulatorSource.__init__ = frozen\n"
    )
    console.press("w")
    console.until(lambda: console.shows("Timeline") and console.shows("✓ recovered"), "the last run's timeline")
    console.until_quiet(2.5)
