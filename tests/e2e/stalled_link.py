"""The console on a terminal that stops reading for a while, with what its event loop saw meanwhile. Judges nothing."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.console_pty import PATIENCE_S, Console

TICK_S = 0.05
PROGRAM = """
import asyncio, json, os, time
from console.tui.app import TrinityApp
from console.tui.run import run_console

seen = {{"lag_s": 0.0, "tick": 0, "waiting": 0}}

class Looked:
    # The pretended fleet lives on only as it is looked at: a sample that is missing is one that the console lost.

    def __init__(self):
        self.at = time.time()

    def now(self):
        return self.at

    def mono(self):
        return self.at

def factory():
    from console.state.simulator import SimulatorSource

    class Source(SimulatorSource):
        async def stream(self, interval_s=1.0):
            async for frame in super().stream(interval_s):
                yield frame
                self.clock.at += min(interval_s, 1.0)

    return Source(replicas={replicas}, rate=5.0, clock=Looked())

async def late():
    while True:  # how long the event loop did not come back
        begun = time.perf_counter()
        await asyncio.sleep(0.005)
        seen["lag_s"] = max(seen["lag_s"], time.perf_counter() - begun - 0.005)

async def busy(app):
    while True:  # every tick is another picture, and a whole one
        await asyncio.sleep({tick})
        if os.path.exists({path!r} + ".hold"):
            open({path!r} + ".held", "w").close()
            continue
        seen["tick"] += 1
        app.say("tick %06d" % seen["tick"])
        app.bell()
        app.action_redraw()
        outlet = app._driver._outlet
        seen["waiting"] = max(seen["waiting"], outlet.waiting if seen.get("watch") else 0)
        if os.path.exists({path!r} + ".begin"):
            os.unlink({path!r} + ".begin")
            seen.update(lag_s=0.0, watch=True)
        seen["points"] = [point.ts for point in app.state.points]
        with open({path!r} + ".new", "w") as file:
            json.dump(seen, file)
        os.replace({path!r} + ".new", {path!r})

begin = TrinityApp._begin
tasks = []
def begin_watched(self):
    begin(self)
    tasks.extend(asyncio.get_running_loop().create_task(work) for work in (late(), busy(self)))
TrinityApp._begin = begin_watched
run_console(factory, interval_s=0.25)
"""


@dataclass
class Stall:
    """What was seen of one."""

    lag_s: float
    """The longest time for which the event loop did not come round, in the stall and at its end."""
    waiting: int
    """The most writes that were under way or waiting behind one."""
    made: int
    """Pictures that were made meanwhile: the event loop went on."""
    at_resume: int
    """The picture that was the newest when reading went on."""
    pictures: list[int]
    """Those that came after that, in order."""
    points: list[float]
    """Times of the samples that the console holds in the end."""


def stall(
    place: Path,
    seconds: float,
    *,
    pictures_made: int = 0,
    size: tuple[int, int] = (80, 24),
    replicas: int = 20,
    reads: bool = False,
) -> Stall:
    """Run the console, do not read for that long (or do, for comparison), read again.

    With `pictures_made` the stall lasts until so many were, and none is made from then on: what is shown next is no
    matter of how fast anybody is."""
    path = place / "seen.json"
    console = Console(PROGRAM.format(path=str(path), tick=TICK_S, replicas=replicas), size=size)

    def seen() -> dict[str, Any]:
        return dict(json.loads(path.read_text())) if path.exists() else {}

    try:
        console.until(lambda: console.shows("tick 000010") or seen().get("tick", 0) > 10, "the tenth picture")
        begun = seen()["tick"]
        Path(f"{path}.begin").touch()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            console.take(0.05) if reads else time.sleep(0.05)
        if pictures_made:
            end = time.monotonic() + PATIENCE_S
            while seen()["tick"] < begun + pictures_made:
                assert time.monotonic() < end, f"{seen()['tick'] - begun} pictures were made, not {pictures_made}"
                time.sleep(0.05)
            Path(f"{path}.hold").touch()
            while not Path(f"{path}.held").exists():
                assert time.monotonic() < end, "it did not stop making pictures"
                time.sleep(TICK_S)
        at_resume, already = seen()["tick"], len(console.raw)
        pictures: list[int] = []
        end = time.monotonic() + PATIENCE_S
        while not pictures or pictures[-1] < at_resume:
            assert time.monotonic() < end, f"never: the newest picture, {at_resume}; came: {pictures}"
            console.take(0.05)  # an emulator would be slower than what comes
            pictures = [int(found) for found in re.findall(rb"tick (\d{6})", console.raw[already:])]
        final = seen()
        return Stall(final["lag_s"], final["waiting"], at_resume - begun, at_resume, pictures, final["points"])
    finally:
        console.close()
