"""Scenes to take pictures of: the keys that lead to each view, a fleet in which time stands still, pictures on file."""

from __future__ import annotations

import difflib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from textual.pilot import Pilot

from console.state.simulator import SimulatorSource
from console.tui.app import TrinityApp
from console.tui.strip import Strip
from tests.unit.console.picture import characters
from tests.unit.console.sample import FixedClock
from tests.unit.console.waiting import comes

FOLDER = Path(__file__).parent / "snapshots"
SIZES = ((40, 12), (80, 24), (120, 40), (200, 60))
LOOKS = ("minimalist", "minimalist-light", "ansi-16")
NOON = 1_790_000_000.0
WAITING = ("asking for lines", "connecting")
"""What a panel says that waits for its data."""
QUIET_POLLS = 4
"""As often must the screen be the same before it is taken."""
POLL_S = 0.02


class Scene(NamedTuple):
    """A view, the keys that lead to it from the overview, words that are there once it is, and seconds that pass."""

    name: str
    keys: tuple[str, ...]
    shows: str
    wait_s: float = 0.0
    over: bool = False
    """Lies over a view: two sizes tell enough."""
    taken: bool = True

    def at(self, size: tuple[int, int]) -> bool:
        """Whether it is gone to at that size."""
        return not self.over or size in ((40, 12), (120, 40))


SCENES = (
    Scene("overview", (), "Replicas"),
    Scene("fleet", ("2",), "llm"),
    Scene("requests", ("3",), "Requests"),
    Scene("logs", ("4", "0"), "5250"),
    Scene("journal", ("5",), "Events"),
    Scene("drills", ("6",), "Drills"),
    Scene("charts", ("7",), "TTFT"),
    Scene("help", ("8",), "Help"),
    Scene("detail", ("d",), "llm-0"),
    Scene("everywhere", ("M",), "All fleets"),
    Scene("past", ("t",), "PAST"),
    Scene("compare", ("t", "<PAST>", "c", "shift+left", "c"), "A 14:13"),
    Scene("correlation", ("3", "<OUTCOME>", "enter"), "request"),
    Scene("heat-map", ("7", "H"), "TTFT"),
    Scene("command-line", ("colon", "s", "c"), "scale", over=True),
    Scene("palette", ("ctrl+p",), "Overview", over=True),
    Scene("columns", ("C",), "Columns", over=True),
    Scene("jump", ("J",), "eplicas", over=True),
    Scene("confirm", ("K",), "Cancel", over=True),
    Scene("drill-run", ("6", "<LAST RUN>", "enter", "<Cancel>", "y", "<of about>"), "of about", wait_s=15.0),
    Scene("drill-ended", (), "Replicas", wait_s=300.0, taken=False),
    Scene("drill-report", ("6", "<LAST RUN>", "p"), "Report"),
)


@asynccontextmanager
async def standing(
    size: tuple[int, int], make: Callable[[FixedClock], SimulatorSource] | None = None
) -> AsyncIterator[tuple[TrinityApp, Pilot[int], FixedClock]]:
    """A console on a fleet in which time stands still, a while after a replica was killed; or on one that is made."""
    clock = FixedClock(NOON)
    if make is not None:
        source = make(clock)
    else:
        source = SimulatorSource(replicas=3, rate=5.0, clock=clock)
        source.world.kill("llm-1", by="console:ada")
        clock.at += 20
    app = TrinityApp(source, user="ada", interval_s=0.05, clock=clock, bell=False, theme=LOOKS[0])
    async with app.run_test(size=size) as pilot:
        assert await comes(
            lambda: app.state.link == "live" and len(app.state.points) > 200 and app.view.replicas(), pilot
        )
        yield app, pilot, clock


async def settled(app: TrinityApp, pilot: Pilot[int], words: str, quiet: int = QUIET_POLLS) -> list[str]:
    """The characters, once the words are there and for so many looks nothing has moved."""
    last: list[str] = []
    same = 0

    def still() -> bool:
        nonlocal last, same
        app.screen_stack[0].query_one(Strip).quiet()  # a message goes when its time is over, not when the view is still
        now = characters(app)
        text = "\n".join(now)
        awaited = [*WAITING, *(["following"] if app.shown is not app.link else [])]
        same = same + 1 if now == last and words in text and not any(word in text for word in awaited) else 0
        last = now
        return same >= quiet

    if not await comes(still, pilot, POLL_S):
        raise AssertionError(f"never still, or never {words!r}:\n" + "\n".join(last))
    return last


async def lead(app: TrinityApp, pilot: Pilot[int], clock: FixedClock, scene: Scene) -> None:
    """To the scene, from the overview; a word in angle brackets is waited for before the next key."""
    for key in scene.keys:
        if key.startswith("<"):
            await settled(app, pilot, key[1:-1], quiet=1)
        else:
            await pilot.press(key)
            await pilot.pause()
    clock.at += scene.wait_s


async def back(app: TrinityApp, pilot: Pilot[int]) -> None:
    """To the present overview, whatever is open."""
    for _ in range(6):
        await pilot.press("escape")
        await pilot.pause()
        if len(app.screen_stack) == 1 and app.shown is app.link and app.view_name == "overview":
            break
    app.navigator.behind.clear()
    app.navigator.ahead.clear()
    await settled(app, pilot, "Replicas", quiet=1)


def compare(name: str, size: tuple[int, int], parts: dict[str, list[str]]) -> list[str]:
    """What differs from the picture on file, as a difference of lines; writes it where that was asked for."""
    path = FOLDER / f"{name}-{size[0]}x{size[1]}.txt"
    text = "".join("\n".join([f"== {part or 'characters'}", *lines]) + "\n" for part, lines in parts.items())
    if os.environ.get("TRINITY_SNAPSHOTS") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return []
    held = path.read_text(encoding="utf-8") if path.exists() else ""
    if held == text:
        return []
    changed = difflib.unified_diff(held.splitlines(), text.splitlines(), path.name, "now", lineterm="", n=1)
    return list(changed)[:60]
