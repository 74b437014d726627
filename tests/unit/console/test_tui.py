"""The console driven by its keys over a simulated fleet: every key of the help does what it says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from backend.contract.address import Driver
from backend.contract.clock import Clock
from backend.contract.words import Phase, Severity, Verb
from console.render.layout import PANES
from console.render.theme_shelf import ThemeShelf, shipped_folder
from console.state.simulator import SimulatorSource
from console.tui import strip
from console.tui.app import TrinityApp
from console.tui.dialogs import AskDialog, ConfirmDialog, PickDialog
from console.tui.keys import KEYS
from console.tui.scroll import ScrollPanel
from console.tui.strip import Strip
from console.tui.views.detail import DetailView
from console.tui.vtable import VTable
from tests.unit.console.waiting import comes

pytestmark = pytest.mark.timeout(600)


class Screen:
    """An app under test, its source, and ways to wait."""

    def __init__(self, app: TrinityApp, source: SimulatorSource, pilot: Pilot[int]) -> None:
        self.app, self.source, self.pilot = app, source, pilot

    @property
    def text(self) -> str:
        return "\n".join(strip.text for strip in self.app.screen._compositor.render_strips())

    async def until(self, met: Callable[[], Any], what: str) -> None:
        if not await comes(met, self.pilot):
            raise AssertionError(f"never: {what}\n{self.text}")

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def shows(self, words: str) -> None:
        await self.until(lambda: words in self.text, f"shows {words!r}")

    def verbs_done(self) -> list[str]:
        return [row.verb for row in self.source.world.actions]

    @property
    def message(self) -> str:
        return "".join(text for text, _ in self.app.screen_stack[0].query_one(Strip).message)


@asynccontextmanager
async def console(
    *,
    size: tuple[int, int] = (120, 40),
    replicas: int = 2,
    driver: Driver = "local",
    edge: bool = True,
    clock: Clock | None = None,
    **parts: Any,
) -> AsyncIterator[Screen]:
    source = SimulatorSource(replicas=replicas, driver=driver, edge=edge, clock=clock)
    app = TrinityApp(source, user="ada", interval_s=0.05, clock=clock, **parts)
    async with app.run_test(size=size) as pilot:
        screen = Screen(app, source, pilot)
        await screen.until(lambda: app.state.link == "live" and len(app.state.points) > 200, "live with history")
        await screen.until(app.view.replicas, "a replica is selected")
        yield screen


async def test_keys_that_act() -> None:
    keys = {
        "a": ("y", Verb.AUTOSCALE),
        "m": ("y", Verb.MAINTENANCE),
        "minus": ("y", Verb.SCALE),
        "D": ("y", Verb.DRAIN),
        "r": ("y", Verb.RESTART),
        "R": ("y", Verb.ROLLOUT),
        "K": ("llm-0", Verb.KILL),
    }
    async with console(replicas=3) as screen:
        for key, (confirm, verb) in keys.items():
            await screen.press(key)
            await screen.until(lambda: isinstance(screen.app.screen, ConfirmDialog), "asks first")
            assert verb not in screen.verbs_done()
            await screen.press(*("minus" if c == "-" else c for c in confirm))
            if len(confirm) > 1:
                await screen.press("enter")
            await screen.until(lambda verb=verb: verb in screen.verbs_done(), f"{verb} is performed")
            assert screen.source.world.actions[-1].actor == "console:ada"
            await screen.until(lambda verb=verb: f"✓ {verb}" in screen.message, "says that it is done")


@pytest.mark.parametrize("leave", ["escape", "n", "enter"])
async def test_cancel_is_the_default(leave: str) -> None:
    async with console() as screen:
        await screen.press("r")
        await screen.until(lambda: isinstance(screen.app.screen, ConfirmDialog), "asks first")
        await screen.press(leave)
        await screen.until(lambda: "Cancelled" in screen.message, "says that nothing was done")
        assert screen.verbs_done() == []


async def test_choosing_the_verb_and_enter_performs_it() -> None:
    async with console() as screen:
        await screen.press("r")
        await screen.until(lambda: isinstance(screen.app.screen, ConfirmDialog), "asks first")
        await screen.press("right", "enter")
        await screen.until(lambda: Verb.RESTART in screen.verbs_done(), "restart is performed")


async def test_a_high_risk_wants_the_name_typed() -> None:
    async with console() as screen:
        await screen.press("K")
        await screen.until(lambda: isinstance(screen.app.screen, ConfirmDialog), "asks first")
        await screen.press(*"llm-1", "enter", "y", "enter")
        await screen.pilot.pause(0.1)
        assert screen.verbs_done() == []
        await screen.press("escape")
        await screen.until(lambda: "Cancelled" in screen.message, "nothing was done")


async def test_marked_rows_are_previewed_together() -> None:
    async with console(replicas=3) as screen:
        await screen.press("space", "space", "D")
        await screen.until(lambda: isinstance(screen.app.screen, ConfirmDialog), "asks first")
        await screen.shows("drain 2 targets")
        await screen.shows("llm-0 gets no new")
        await screen.shows("llm-1 gets no new")
        await screen.press("y")
        await screen.until(lambda: screen.verbs_done().count("drain") == 2, "both are drained")
        await screen.press("escape")
        await screen.until(lambda: not screen.app.view.table().model.marks, "esc clears the marks")


async def test_draining_again_takes_it_back() -> None:
    async with console() as screen:
        screen.source.world.drain("llm-0", on=True)
        await screen.until(lambda: screen.app.state.replica("llm-0").status.phase == Phase.DRAINING, "it drains")
        await screen.press("D")
        await screen.until(lambda: Verb.UNDRAIN in screen.verbs_done(), "undrain")


async def test_scale_to_a_number_checks_it_and_undo_takes_it_back() -> None:
    async with console() as screen:
        await screen.press("s")
        await screen.until(lambda: isinstance(screen.app.screen, AskDialog), "asks how many")
        await screen.press("x", "enter")
        await screen.shows("A whole number")
        await screen.press("backspace", "4", "enter")
        await screen.until(lambda: screen.source.world.wanted["llm"] == 4, "scaled to 4")
        await screen.until(screen.app.state.last_undoable, "it can be undone")
        await screen.press("u")
        await screen.until(lambda: isinstance(screen.app.screen, ConfirmDialog), "asks first")
        await screen.press("y")
        await screen.until(lambda: screen.source.world.wanted["llm"] == 2, "back to 2")


async def test_load_starts_and_stops() -> None:
    async with console() as screen:
        await screen.press("g")
        await screen.until(lambda: isinstance(screen.app.screen, AskDialog), "asks the rate")
        await screen.press("enter")
        await screen.until(lambda: screen.app.state.snapshot.load.running, "load runs")
        await screen.press("g")
        await screen.until(lambda: not screen.app.state.snapshot.load.running, "load stops")


async def test_note_and_acknowledge() -> None:
    async with console() as screen:
        await screen.press("n")
        await screen.until(lambda: isinstance(screen.app.screen, AskDialog), "asks the note")
        await screen.press(*"deploy", "enter")
        await screen.shows("deploy")
        await screen.press("A")
        await screen.until(lambda: "nothing to acknowledge" in screen.message, "no alarm yet")
        screen.source.world.kill("llm-1", by="test")
        await screen.shows("1 alarm")
        await screen.press("A")
        await screen.until(lambda: not screen.app.state.unacknowledged(), "acknowledged")


async def test_read_only_refuses_every_verb() -> None:
    async with console(read_only=True) as screen:
        for key in KEYS:
            if key.group == "Act" and key.id not in ("act.undo", "act.acknowledge"):
                await screen.press(key.keys)
                await screen.until(lambda: "ead-only" in screen.message, f"{key.id} is refused")
                screen.app.screen_stack[0].query_one(Strip).quiet()
        assert screen.verbs_done() == []


async def test_filter_narrows_as_typed_and_escape_clears_it() -> None:
    async with console(replicas=12) as screen:
        await screen.press("slash", *"llm-11")
        await screen.until(lambda: len(screen.app.view.table().model) == 1, "one row is left")
        await screen.press("enter")
        await screen.until(lambda: screen.app.view.replicas() == ["llm-11"], "and is selected")
        await screen.press("escape")
        await screen.until(lambda: len(screen.app.view.table().model) == 12, "all are back")


async def test_sort_keys_and_header_clicks() -> None:
    async with console(replicas=4) as screen:
        model = screen.app.view.table().model
        await screen.press("o")
        assert model.sort_key == "name"
        await screen.press("O")
        assert model.descending
        assert model.keys[0] == "llm-3"
        await screen.pilot.click("#replicas", offset=(24, 1))
        assert model.sort_key == "phase"
        await screen.pilot.click("#replicas", offset=(5, 4))
        await screen.until(lambda: model.cursor == 2, "a click selects a row")
        await screen.pilot.click("#replicas", offset=(5, 4), times=2)
        await screen.until(lambda: screen.app.view_name == "detail", "a double click describes it")


async def test_palette_runs_commands_and_goes_to_replicas() -> None:
    async with console() as screen:
        await screen.press("ctrl+p")
        await screen.until(lambda: isinstance(screen.app.screen, PickDialog), "the palette opens")
        await screen.press(*"go to llm-1", "enter")
        await screen.until(lambda: screen.app.view.replicas() == ["llm-1"], "the cursor is there")
        await screen.press("ctrl+p")
        await screen.until(lambda: isinstance(screen.app.screen, PickDialog), "the palette opens")
        await screen.shows("▸ Go to llm-1")
        await screen.press(*"hacker", "enter")
        await screen.until(lambda: screen.app.theme_spec.name == "hacker", "the theme is switched")
        assert screen.app.theme == "hacker"


async def test_themes_cycle_and_every_one_draws() -> None:
    async with console() as screen:
        seen = set()
        for _ in screen.app.theming.shelf.names():
            await screen.press("T")
            await screen.pilot.pause(0.05)
            seen.add(screen.app.theme_spec.name)
            assert "llm-0" in screen.text
        assert seen == set(screen.app.theming.shelf.names())


async def test_tab_walks_the_panes_of_a_small_terminal() -> None:
    async with console(size=(40, 12)) as screen:
        seen = []
        for _ in PANES:
            visible = [panel for panel in screen.app.view.canvases() if panel.display]
            assert len(visible) == 1
            seen.append(visible[0].id)
            await screen.press("tab")
            await screen.pilot.pause(0.05)
        assert len(set(seen)) == len(PANES)
        await screen.press("shift+tab")
        await screen.until(lambda: "Logs" in screen.text, "back to the last pane")


@pytest.mark.parametrize("size", [(24, 6), (100, 17)])
async def test_every_view_draws_at_sizes_of_which_there_is_no_picture(size: tuple[int, int]) -> None:
    async with console(size=size) as screen:
        for key in "23456781":
            await screen.press(key)
            await screen.pilot.pause(0.05)
            failed = [panel for panel in screen.app.view.canvases() if panel.failure]
            assert not failed, f"view {key}: {[panel.failure for panel in failed]}"
            assert "failed:" not in screen.text
        await screen.press("d")
        await screen.pilot.pause(0.05)
        assert screen.app.view_name == "detail"


async def test_resizing_lays_out_again() -> None:
    async with console(size=(120, 40)) as screen:
        before = {p.id for p in screen.app.view.canvases() if p.display}
        assert len(before) > 5
        await screen.pilot.resize_terminal(60, 14)
        await screen.until(lambda: sum(p.display for p in screen.app.view.canvases()) == 1, "one pane")
        await screen.pilot.resize_terminal(200, 60)
        await screen.until(lambda: {p.id for p in screen.app.view.canvases() if p.display} >= before, "all panes")


async def test_a_lost_daemon_is_stale_and_comes_back_by_itself() -> None:
    async with console() as screen:
        screen.source.reachable = False
        await screen.shows("STALE")
        assert "llm-0" in screen.text
        screen.source.reachable = True
        await screen.until(lambda: "STALE" not in screen.text, "live again")


async def test_a_failing_panel_shows_its_error_and_the_rest_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    async with console() as screen:
        panel = screen.app.query_one("#queue")

        def broken(width: int, height: int) -> list[Any]:
            raise ValueError("no such number")

        monkeypatch.setattr(panel, "body", broken)
        await screen.shows("ValueError")
        assert "llm-0" in screen.text
        await screen.press("2")
        await screen.shows("Workloads")


async def test_alarms_ring_the_bell_unless_muted(monkeypatch: pytest.MonkeyPatch) -> None:
    async with console() as screen:
        rung: list[int] = []
        monkeypatch.setattr(screen.app, "bell", lambda: rung.append(1))
        screen.source.world.kill("llm-0", by="test")
        await screen.until(lambda: rung, "the bell rings")
        await screen.app.run_action("mute")
        rung.clear()
        screen.source.world.kill("llm-1", by="test")
        await screen.until(lambda: len(screen.app.state.unacknowledged()) == 2, "a second alarm")
        assert not rung


async def test_rows_can_be_described_and_shown_raw() -> None:
    async with console() as screen:
        await screen.press("3")
        await screen.until(lambda: len(screen.app.view.table().model), "requests are listed")
        await screen.press("d")
        await screen.shows("request_id")
        await screen.press("y")
        await screen.shows("request raw")
        await screen.press("y")
        await screen.press("d")
        detail = screen.app.view
        assert isinstance(detail, DetailView)
        panel = detail.query_one(ScrollPanel)
        await screen.press("down", "up", "pagedown", "pageup", "end", "home")
        assert panel.top == 0
        await screen.press("escape")
        await screen.until(lambda: screen.app.view_name == "requests", "back to the requests")


async def test_second_tables_get_the_focus_by_tab() -> None:
    async with console() as screen:
        for key, view, second, kind in (
            ("2", "fleet", "#fleet-workloads", VTable),
            ("5", "journal", "#actions", VTable),
            ("6", "drills", "#drill-plan", ScrollPanel),
        ):
            await screen.press(key)

            def first_has_it(view: str = view) -> bool:
                table = screen.app.view.table()
                return screen.app.view_name == view and table is not None and table.has_focus

            await screen.until(first_has_it, f"{view}'s first table")
            await screen.press("tab")
            await screen.until(lambda: screen.app.query_one(second, kind).has_focus, second)  # noqa: B023 - awaited
            assert screen.app.chosen_workload() == "llm"


async def test_redraw_and_quit() -> None:
    async with console() as screen:
        await screen.press("ctrl+l")
        await screen.shows("llm-0")
        await screen.press("q")
        await screen.until(lambda: not screen.app.is_running, "it ends")
        assert screen.app.return_value == 0


async def test_a_message_goes_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    async with console() as screen:
        screen.app.say("it stays")
        monkeypatch.setattr(strip, "MESSAGE_S", 0.01)
        assert screen.message.strip() == "it stays"
        screen.app.say("it goes")
        await screen.until(lambda: not screen.message, "the line says where one is again")


async def test_an_unknown_theme_is_said_and_the_default_taken() -> None:
    async with console(theme="sepia") as screen:
        await screen.until(lambda: "no theme 'sepia'" in screen.message, "says so")
        assert screen.app.theme_spec.name == "minimalist"


def test_every_key_has_its_own_id_and_no_key_is_bound_twice() -> None:
    ids = [key.id for key in KEYS]
    assert len(ids) == len(set(ids))
    keys = [one for key in KEYS for one in key.keys.split(",")]
    assert len(keys) == len(set(keys))
    destructive = {key.keys for key in KEYS if key.group == "Act"}
    assert not any("ctrl" in key for key in destructive), "no destructive control chord"


async def test_debug_events_are_shown_on_demand() -> None:
    async with console() as screen:
        screen.source.world.event("edge.slot", Severity.DEBUG, "edge", "slot 7 is empty")
        screen.source.world.event("edge.filled", Severity.INFO, "llm-0", "llm-0 takes requests")
        await screen.press("5")
        await screen.shows("llm-0 takes requests")
        assert "slot 7 is empty" not in screen.text
        await screen.press("v")
        await screen.shows("slot 7 is empty")


async def test_an_edited_theme_is_shown_at_once_and_a_broken_one_leaves_the_last_good(tmp_path: Path) -> None:
    text = (shipped_folder() / "minimalist.toml").read_text().replace('name = "minimalist"', 'name = "mine"')
    path = tmp_path / "mine.toml"
    path.write_text(text)
    async with console(theme="mine", shelf=ThemeShelf(own=tmp_path)) as screen:
        theming = screen.app.theming
        assert theming.spec.name == "mine"
        path.write_text(text.replace('accent = "#8ab4f8"', 'accent = "#ffffff"'))
        await screen.until(lambda: theming.spec.colors.accent == "#ffffff", "the saved file is shown")
        assert theming.ink.style("accent").color.name == "#ffffff"
        path.write_text("torn = ")
        await screen.until(lambda: "mine.toml" in screen.message, "the strip says what is wrong")
        assert theming.spec.colors.accent == "#ffffff"
