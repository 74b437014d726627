"""SVG pictures of the console for the README: `python -m console.tui.screenshots <folder>`. Opens no terminal."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from backend.contract.clock import SystemClock
from backend.contract.errors import Unreachable, UsageError
from console.state.simulator import SimulatorSource
from console.state.source import FleetSource
from console.tui import picture
from console.tui.app import TrinityApp
from console.tui.command_line import view_names

SIZE: Final = (120, 40)
ANSWER_S: Final = 10.0
SETTLE_S: Final = 3.0
STEP_S: Final = 0.25
"""A picture that is the same twice, so many seconds apart, stands; one that never does is taken after a while."""
SHOTS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("overview", ()),
    ("confirm", ("K",)),
    ("describe", ("escape", "d")),
    ("drills", ("6", "down")),
    ("drill-run", ("enter", "y", "+19")),
    ("drill-report", ("+20",)),
    ("fleet", ("2",)),
    ("requests", ("3",)),
    ("journal", ("5",)),
    ("logs", ("4", "0", "slash", *"took", "enter", "up", "up")),
    ("charts", ("escape", "7")),
    ("help", ("8",)),
    ("travel", ("1", "t", *["comma"] * 9)),
    ("compare", ("shift+left", "c", "shift+right", "c")),
)
"""Name, and the keys that lead there from the shot before; `+19` is that many seconds later."""
NAMES: Final = tuple(shot[0] for shot in SHOTS)


class SkippingClock(SystemClock):
    """The machine's clock, and a way to be later: a pretended drill need not be waited for."""

    ahead_s = 0.0

    def now(self) -> float:
        return super().now() + self.ahead_s


async def take(
    folder: Path,
    *,
    source: FleetSource | None = None,
    theme: str | None = None,
    size: tuple[int, int] = SIZE,
    names: Sequence[str] = NAMES,
) -> list[Path]:
    """Press the keys and save what is seen, `<name>.svg` each. A simulated fleet that has had a kill by default."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    clock = SkippingClock()
    if source is None:
        pretended = SimulatorSource(replicas=3, rate=5.0, clock=clock)
        pretended.world.kill("llm-1", by="console:ada")
        source = pretended
    app = TrinityApp(source, theme=theme, user="ada", bell=False, clock=clock)
    saved: list[Path] = []
    async with app.run_test(size=size) as pilot:
        await pilot.pause(2.5)
        for name, keys in SHOTS:
            for key in keys:
                if key.startswith("+"):
                    clock.ahead_s += float(key)
                    await pilot.pause(1.8)
                else:
                    await pilot.press(key)
                    await pilot.pause(0.6)
            if name in names:
                saved.append(folder / f"{name}.svg")
                app.save_screenshot(f"{name}.svg", str(folder))
    return saved


async def take_platform(folder: Path, *, theme: str | None = None, size: tuple[int, int] = SIZE) -> list[Path]:
    """A made-up Kubernetes fleet: its overview and its nodes."""
    source = SimulatorSource(replicas=200, driver="kubernetes", edge=False)
    app = TrinityApp(source, theme=theme, user="ada", bell=False)
    async with app.run_test(size=size) as pilot:
        await pilot.pause(2.5)
        app.save_screenshot("kubernetes.svg", str(folder))
        await pilot.press("N")
        await pilot.pause(1.0)
        app.save_screenshot("nodes.svg", str(folder))
    return [folder / "kubernetes.svg", folder / "nodes.svg"]


async def picture_of(source: FleetSource, *, view: str, size: tuple[int, int], theme: str | None, suffix: str) -> str:
    """One view as it stands once it has its data: `.svg`, `.txt` or `.tsv`. Raises TrinityError where there is none."""
    names = view_names()
    if view not in names:
        raise UsageError(f"There is no view {view!r}.", f"Choose one of {', '.join(names)}.")
    app = TrinityApp(source, theme=theme, bell=False, read_only=True)
    async with app.run_test(size=size) as pilot:
        for _ in range(int(ANSWER_S / STEP_S)):
            if app.state.link == "live" and app.state.snapshot is not None:
                break
            await pilot.pause(STEP_S)
        else:
            raise Unreachable(app.state.reason or "The daemon does not answer.", "Start a fleet with `trinity up`.")
        await app.action_view(names[view])
        seen = ""
        for look in range(1, int(ANSWER_S / STEP_S)):
            await pilot.pause(STEP_S)
            before, seen = seen, picture.text(app)
            if not app.view.awaits() and (seen == before or look * STEP_S >= SETTLE_S):
                break
        export = app.part("export")
        problem = export.unfit(suffix)
        if problem:
            raise UsageError(problem)
        return str(export.content(suffix))


def main() -> int:
    """Usage: screenshots FOLDER [THEME]."""
    if len(sys.argv) < 2:
        sys.stderr.write("Say where to: python -m console.tui.screenshots FOLDER [THEME]\n")
        return 64
    theme = sys.argv[2] if len(sys.argv) > 2 else None
    folder = Path(sys.argv[1])
    for path in (*asyncio.run(take(folder, theme=theme)), *asyncio.run(take_platform(folder, theme=theme))):
        sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
