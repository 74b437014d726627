"""Drills in the console, by their keys over a simulated fleet: list, plan, timeline, report, comparison, X."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from backend.contract.control import DrillInfo
from backend.contract.words import Verb
from console.state.simulator import SimulatorSource
from console.tui.app import TrinityApp
from console.tui.banner import DrillBanner
from console.tui.dialogs import AskDialog, ConfirmDialog, PickDialog
from console.tui.views import drills as drills_view
from console.tui.views.drills import DrillsView
from tests.unit.console.sample import FixedClock
from tests.unit.console.test_tui import Screen

pytestmark = pytest.mark.timeout(600)

DRILL = "llm-replica-kill"


class Skipping(FixedClock):
    """Stands, so that a phase lasts as long as a test looks at it, until it is put ahead."""

    ahead_s = 0.0

    def now(self) -> float:
        return self.at + self.ahead_s


class Counting(SimulatorSource):
    """Counts what the drills view asks of the daemon."""

    lists = plans = 0

    async def drills(self, *, plans: bool = True) -> list[DrillInfo]:
        self.lists += 1
        self.plans += plans
        return await super().drills(plans=plans)

    async def drill(self, name: str) -> DrillInfo:
        self.plans += 1
        return next(info for info in await SimulatorSource.drills(self) if info.name == name)


class DrillScreen(Screen):
    clock: Skipping
    source: Counting

    async def choose(self, name: str = DRILL) -> None:
        await self.press("f")
        await self.until(lambda: self.app.view_name == "drills", "f opens the list")
        view = self.app.view
        assert isinstance(view, DrillsView)
        await self.until(lambda: view.model.select(name), f"{name} is listed")
        view.table().moved()  # type: ignore[union-attr] # it has one
        await self.shows("What would happen now")

    async def run(self, name: str = DRILL) -> None:
        await self.choose(name)
        await self.press("enter")
        await self.until(lambda: isinstance(self.app.screen, ConfirmDialog), "asks first")
        assert Verb.DRILL_RUN not in self.verbs_done()
        await self.press("y")
        await self.until(lambda: self.app.view_name == "drill-run", "the timeline opens by itself")


@asynccontextmanager
async def drills(size: tuple[int, int] = (120, 40), **parts: Any) -> AsyncIterator[DrillScreen]:
    clock = Skipping()
    source = Counting(replicas=2, clock=clock)
    app = TrinityApp(source, user="ada", interval_s=0.05, clock=clock, **parts)
    async with app.run_test(size=size) as pilot:
        screen = DrillScreen(app, source, pilot)
        screen.clock = clock
        await screen.until(lambda: app.state.link == "live" and len(app.state.points) > 200, "live with history")
        yield screen


async def test_the_list_says_results_and_the_plan_of_the_chosen_one() -> None:
    async with drills() as screen:
        await screen.choose()
        for words in ("LAST RUN", "DETECTED", "TOOK", "✓ pass", "– never run", "phase baseline", "undo: by the run"):  # noqa: RUF001
            await screen.shows(words)
        await screen.choose("two-down")
        await screen.shows("⊘ Refused: this would take the last healthy replica")


async def test_the_daemon_plans_one_drill_and_is_not_asked_again_while_nothing_happens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(drills_view, "LIST_EVERY_S", 3600.0)
    async with drills() as screen:
        await screen.choose()
        await screen.pilot.pause(0.2)
        asked = screen.source.lists, screen.source.plans
        assert asked[1] <= 4, "plans of the chosen ones only"
        await screen.pilot.pause(0.8)
        assert (screen.source.lists, screen.source.plans) == asked


async def test_a_drill_is_confirmed_run_watched_and_judged() -> None:
    async with drills() as screen:
        await screen.run()
        await screen.shows("X stops it" if screen.app.size.width < 100 else "X stops and undoes")
        await screen.shows("◔ baseline")
        screen.clock.ahead_s = 9.0
        await screen.shows("▼●◆")
        await screen.shows("✓ holding")
        screen.clock.ahead_s = 40.0
        await screen.until(lambda: screen.app.view_name == "drill-report", "the report follows")
        for words in (
            "✓ PASS",
            "What users felt",
            "PROVEN OK",
            "≥ 9",
            "DETECTED",
            "undone by the daemon",
            "report.html",
        ):
            await screen.shows(words)
        await screen.press("escape")
        await screen.until(lambda: screen.app.view_name == "drills", "esc goes to the list, not to the dead timeline")
        await screen.press("w")
        await screen.shows("Timeline")
        await screen.shows("end")


async def test_a_report_is_compared_with_an_earlier_run() -> None:
    async with drills() as screen:
        await screen.choose()
        await screen.press("p")
        await screen.shows("✓ PASS")
        await screen.press("c")
        await screen.until(lambda: isinstance(screen.app.screen, PickDialog), "earlier runs to choose from")
        await screen.press("enter")
        for words in ("Compared with", "CHANGE AT 95 %", "= same"):
            await screen.shows(words)
        await screen.press("escape")
        await screen.shows("What users felt")
        assert screen.app.view_name == "drill-report"


async def test_an_earlier_run_is_picked_from_history() -> None:
    async with drills() as screen:
        await screen.choose("llm-engine-hang")
        await screen.press("h")
        await screen.until(lambda: isinstance(screen.app.screen, PickDialog), "runs to choose from")
        await screen.press(*"fail", "enter")
        await screen.shows("✗ FAIL")
        await screen.shows("✗ 3")


async def test_a_report_is_saved_and_no_file_is_overwritten(tmp_path: Path) -> None:
    async with drills() as screen:
        await screen.choose()
        await screen.press("p")
        await screen.shows("What users felt")
        path = tmp_path / "r.json"
        for _ in range(2):
            await screen.press("o")
            await screen.until(lambda: isinstance(screen.app.screen, AskDialog), "asks where to")
            await screen.press("ctrl+a", "ctrl+k", *str(path), "enter")
            if not path.exists():
                await screen.until(path.exists, "is written")
                await screen.until(lambda: "✓ saved" in screen.message, "says so")
        await screen.shows("There is such a file already")
        assert json.loads(path.read_text())["name"] == DRILL


@pytest.mark.parametrize("place", ["1", "3", "6", "timeline", "dialog"])
async def test_x_stops_everything_from_everywhere_without_a_question(place: str) -> None:
    async with drills() as screen:
        await screen.run()
        if place == "dialog":
            await screen.press("1")
            await screen.until(screen.app.view.replicas, "a replica is selected")
            await screen.press("r")
            await screen.until(lambda: isinstance(screen.app.screen, ConfirmDialog), "a question is open")
        elif place != "timeline":
            await screen.press(place)
            await screen.shows("X stop")
        await screen.press("X")
        await screen.until(lambda: screen.source.world.drills.blocked, "drills are stopped and blocked")
        assert not screen.source.world.drills.running
        await screen.shows("drills are blocked")
        await screen.until(lambda: "aborted-clean" in screen.message, "says what happened")
        assert screen.source.world.actions[-1].args == {"panic": True}
        assert Verb.RESTART not in screen.verbs_done()


async def test_after_x_nothing_starts_until_p() -> None:
    async with drills() as screen:
        await screen.press("X")
        await screen.shows("trinity drill allow")
        await screen.choose()
        await screen.press("enter")
        await screen.until(lambda: "Drills are blocked" in screen.message, "refused with the reason")
        await screen.press("P")
        await screen.until(lambda: isinstance(screen.app.screen, ConfirmDialog), "asks first")
        await screen.press("y")
        await screen.until(lambda: not screen.app.query_one(DrillBanner).display, "the banner goes")
        await screen.run()


@pytest.mark.parametrize("size", [(40, 12), (80, 24), (120, 40), (200, 60), (24, 6)])
async def test_drill_screens_draw_at_every_size(size: tuple[int, int]) -> None:
    async with drills(size) as screen:
        await screen.press("f")
        await screen.until(lambda: screen.app.view_name == "drills" and screen.app.view.table().model.current, "listed")
        await screen.press("enter")
        await screen.until(lambda: isinstance(screen.app.screen, ConfirmDialog), "asks first")
        await screen.press("y")
        await screen.until(lambda: screen.app.view_name == "drill-run", "the timeline")
        for ahead in (9.0, 60.0):
            for _ in range(3):
                await screen.press("tab")
                await screen.pilot.pause(0.05)
                assert not [panel.failure for panel in screen.app.view.canvases() if panel.failure]
            screen.clock.ahead_s = ahead
            await screen.pilot.pause(0.1)
        await screen.until(lambda: screen.app.view_name == "drill-report", "the report")
        await screen.shows("PASS")
        await screen.pilot.resize_terminal(100, 30)
        await screen.shows("What users felt")


async def test_without_colour_and_in_ascii_a_drill_can_be_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("LC_ALL", "C")
    async with drills() as screen:
        await screen.run()
        screen.clock.ahead_s = 9.0
        await screen.shows("v injected  * effective  D detected  + recovered")
        await screen.shows("v*D")
        assert screen.text.isascii(), {c for c in screen.text if not c.isascii()}


async def test_dialogs_have_a_border_that_an_ascii_terminal_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    async with drills() as screen:
        await screen.choose()
        await screen.press("enter")
        await screen.until(lambda: isinstance(screen.app.screen, ConfirmDialog), "the question")
        await screen.shows("+-----")
        assert screen.text.isascii(), {c for c in screen.text if not c.isascii()}


async def test_a_console_that_only_looks_says_why_x_does_nothing() -> None:
    async with drills() as screen:
        await screen.run()
        screen.app.read_only = True
        await screen.shows("read-only, so no X: trinity drill stop")
        await screen.press("X")
        await screen.until(lambda: "X stops nothing here" in screen.message, "says so")
        assert not screen.source.world.drills.blocked
        await screen.press("1")
        await screen.shows("read-only")
        assert "X stop " not in screen.text


async def test_a_timeline_without_a_drill_says_what_to_do() -> None:
    async with drills() as screen:
        await screen.app.watch_drill("")
        await screen.shows("No drill has run here yet.")
        await screen.shows("enter runs one")
