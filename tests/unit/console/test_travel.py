"""Time travel on the screen, over a simulated fleet in which a replica is killed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from backend.contract.errors import Unreachable
from backend.contract.words import Phase
from console.state.simulator import SimulatorSource
from console.tui import travel
from console.tui.app import TrinityApp
from console.tui.dialogs import AskDialog
from console.tui.scrubber import Scrubber
from console.tui.travel import Travel
from console.tui.views.requests import RequestsView

from .sample import FixedClock
from .test_tui import Screen

pytestmark = pytest.mark.timeout(600)


class Traveller(Screen):
    """A screen with the bar of time travel on it."""

    @property
    def travel(self) -> Travel:
        part = self.app.part("travel")
        assert isinstance(part, Travel)
        return part

    def phase(self, name: str = "llm-0") -> Phase:
        view = self.app.state.replica(name)
        assert view is not None
        return view.status.phase

    async def at(self, ts: float) -> None:
        await self.until(lambda: self.app.state.snapshot is not None and self.app.state.snapshot.ts == ts, f"at {ts}")


@asynccontextmanager
async def past(*, size: tuple[int, int] = (120, 40), **parts: Any) -> AsyncIterator[Traveller]:
    """40 s after llm-0 was killed, with the newest instant held."""
    clock = FixedClock()
    source = SimulatorSource(replicas=2, clock=clock)
    source.world.kill("llm-0", by="test")
    clock.at += 40
    app = TrinityApp(source, user="ada", interval_s=0.05, clock=clock, bell=False, **parts)
    async with app.run_test(size=size) as pilot:
        screen = Traveller(app, source, pilot)
        if not app.replay:
            await screen.until(lambda: app.state.link == "live" and len(app.state.points) > 200, "live with history")
            await screen.press("t")
        await screen.until(lambda: app.state.past and screen.travel.found, "an instant is held")
        yield screen


KILLED = FixedClock().at


async def test_travel_to_before_and_after_a_kill_and_back_to_live_with_one_key() -> None:
    async with past() as screen:
        assert isinstance(screen.app.focused, Scrubber)
        await screen.shows("◷ PAST")
        assert screen.phase() == Phase.READY
        for _ in range(3):
            await screen.press("comma")
        await screen.at(KILLED)
        await screen.shows("✗ Failed")
        await screen.press("left")
        await screen.at(KILLED - 1)
        await screen.until(lambda: "✗ Failed" not in screen.text, "before the kill it is ready")
        await screen.press("full_stop")
        await screen.at(KILLED)
        await screen.press("t")
        await screen.until(lambda: not screen.app.state.past and "PAST" not in screen.text, "back to live")
        assert not screen.app.query(Scrubber)
        assert screen.app.clock.now() == KILLED + 40
        assert screen.app.state.link == "live"


async def test_leaving_before_the_bar_stands_is_live_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with past() as screen:
        await screen.press("t")
        base = screen.app.screen
        mount = base.mount

        def mount_and_leave(*widgets: Any, **where: Any) -> Any:
            mounted = mount(*widgets, **where)
            screen.travel.leave()
            return mounted

        monkeypatch.setattr(base, "mount", mount_and_leave)
        await screen.travel._open(None)
        await screen.until(lambda: not screen.app.query(Scrubber), "the bar is gone")
        assert screen.app.shown is screen.app.link
        await screen.shows("llm-1")


async def test_verbs_are_refused_with_the_way_back() -> None:
    async with past() as screen:
        for key in ("r", "K", "s", "plus", "a", "n", "g"):
            await screen.press("tab" if key == "r" else "2", key)
            await screen.until(lambda: "Press t to go back to live." in screen.message, f"{key} is refused")
            screen.app.say("")
        assert not screen.source.world.actions
        await screen.press("X")
        await screen.until(lambda: screen.verbs_done() == ["drill-stop"], "X acts on what is, from any instant")


async def test_every_view_shows_the_instant_and_the_keys_stay_with_the_bar() -> None:
    async with past() as screen:
        await screen.press("home")
        first = (await screen.source.extent()).first_ts
        assert first is not None
        await screen.at(first)
        for key, name in (("2", "fleet"), ("3", "requests"), ("4", "logs"), ("5", "journal"), ("6", "drills")):
            await screen.press(key)
            await screen.until(lambda: screen.app.view_name == name, name)  # noqa: B023 - awaited within its turn
            await screen.until(lambda: isinstance(screen.app.focused, Scrubber), "the bar keeps the keys")
        assert "ended by signal" not in screen.text
        await screen.press("3", "end")
        view = screen.app.view
        assert isinstance(view, RequestsView)
        await screen.until(lambda: len(view.model) > 10, "the requests by then")
        newest = max(row.ts for row in view.model.order)
        await screen.press("shift+left")
        await screen.until(lambda: any(view.model.order) and view.model.order[0].ts < newest - 30, "fewer")


async def test_tab_leads_to_the_panels_and_shift_tab_back() -> None:
    async with past() as screen:
        await screen.press("tab")
        await screen.until(lambda: screen.app.focused is screen.app.view.table(), "the table")
        await screen.press("shift+tab")
        await screen.until(lambda: isinstance(screen.app.focused, Scrubber), "the bar")
        await screen.press("escape")
        await screen.until(lambda: not screen.app.state.past, "esc on the bar goes back to live")
        screen.travel.open()
        await screen.until(lambda: screen.app.state.past, "held again")
        screen.app.look_at(screen.app.link)
        await screen.until(lambda: not screen.app.query(Scrubber), "the bar is gone")
        assert screen.travel.held is None
        screen.travel.open(KILLED)
        await screen.at(KILLED)
        screen.travel.open(KILLED + 5)
        await screen.at(KILLED + 5)


async def test_two_instants_are_compared_and_one_with_the_present() -> None:
    async with past() as screen:
        screen.travel.go_to(KILLED - 1)
        await screen.at(KILLED - 1)
        await screen.press("c")
        await screen.until(lambda: "A is" in screen.message, "A is marked")
        await screen.press("right")
        await screen.at(KILLED)
        await screen.press("c")
        await screen.shows("● Ready → ✗ Failed")
        await screen.shows("Between them")
        await screen.press("right", "right", "right")
        await screen.shows("restarted: Killed, signal 9")
        await screen.press("t")
        await screen.shows("→  now")
        await screen.press("c")
        await screen.until(lambda: screen.travel.marked is not None and screen.travel.marked.ts > KILLED, "A is now")


async def test_a_time_is_typed() -> None:
    async with past() as screen:
        await screen.press("at")
        await screen.until(lambda: isinstance(screen.app.screen, AskDialog), "asks when")
        await screen.press(*"-20s", "enter")
        await screen.at(KILLED + 20)
        screen.travel.leave()
        screen.travel.at("soon")
        assert "'soon' is no time." in screen.message
        await screen.press("colon", *"at -39s", "enter")
        await screen.at(KILLED + 1)
        await screen.press("colon", "escape")
        await screen.until(lambda: isinstance(screen.app.focused, Scrubber), "the bar has its keys back")
        await screen.press("colon", *"compare", "enter")
        await screen.shows("c marks the instant A")
        await screen.press("colon", *"live", "enter")
        await screen.until(lambda: not screen.app.state.past, "live again")


async def test_a_held_key_is_fluid_since_only_the_newest_wish_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async with past() as screen:
        asked: list[float] = []
        moment = screen.source.moment

        async def slow(ts: float, *, window_s: int = 900) -> Any:
            asked.append(ts)
            await screen.pilot.pause(0.05)
            return await moment(ts, window_s=window_s)

        monkeypatch.setattr(screen.source, "moment", slow)
        for _ in range(30):
            screen.travel.step(-1)
        await screen.at(KILLED + 10)
        assert len(asked) <= 3
        screen.travel.step(-100)
        screen.travel.go_to(KILLED)
        await screen.at(KILLED)


async def test_playing_zoom_and_mouse(monkeypatch: pytest.MonkeyPatch) -> None:
    played = SimpleNamespace(s=1000.0)
    monkeypatch.setattr(travel, "time", SimpleNamespace(monotonic=lambda: played.s))
    async with past() as screen:
        screen.travel.go_to(KILLED + 36)
        await screen.press("space", "space", "space")
        await screen.shows("▸ 16x")
        played.s += 0.5
        await screen.at(KILLED + 40)
        await screen.until(lambda: "▸" not in "".join(screen.text.splitlines()[-4]), "it stands")
        await screen.press("z", "z")
        scrub = screen.travel.scrub
        assert scrub is not None
        assert scrub.span == pytest.approx((scrub.last - scrub.first) / 4)
        await screen.press("Z", "Z")
        assert scrub.span == scrub.last - scrub.first
        column = scrub.column_of(KILLED, 118)
        assert column is not None
        await screen.pilot.click("#scrubber", offset=(column + 1, 1))
        await screen.at(KILLED)


async def test_what_is_not_recorded_is_said_and_a_lost_daemon_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async with past() as screen:
        await screen.press("home", "comma")
        await screen.until(lambda: "Nothing is known from before." in screen.message, "nothing before")
        await screen.press("end", "full_stop", "full_stop")
        await screen.until(lambda: "Nothing happened after this." in screen.message, "nothing after")
        screen.source.reachable = False
        await screen.press("left")
        await screen.until(lambda: "does not answer" in screen.message, "the daemon is gone")
        assert screen.app.state.past
        await screen.press("t")
        await screen.until(lambda: not screen.app.state.past, "live, as far as that goes")
        await screen.press("t")
        await screen.until(lambda: "does not answer" in screen.message, "no past without it")
        assert not screen.app.state.past
        screen.source.reachable = True
        screen.travel.open()
        await screen.until(lambda: screen.app.state.past, "held again")

        async def gone(*_: object, **__: object) -> Any:
            raise Unreachable("The daemon is away.")

        monkeypatch.setattr(screen.source, "rows", gone)
        monkeypatch.setattr(screen.source, "extent", gone)
        await screen.press("home")
        await screen.until(lambda: "The daemon is away." in screen.message, "says so")
        assert screen.app.state.past


async def test_a_recording_has_a_past_only() -> None:
    async with past(replay=True) as screen:
        await screen.shows("REPLAY")
        assert screen.app.link.state.link == "connecting"
        for key in ("t", "escape"):
            await screen.press(key)
            await screen.until(lambda: "no live fleet behind it" in screen.message, f"{key} says so")
            screen.app.say("")
        for key in ("X", "r"):
            await screen.press(key)
            await screen.until(lambda: "This is a recording" in screen.message, f"{key} is refused")
            screen.app.say("")


async def test_the_bar_fits_every_terminal() -> None:
    async with past(size=(40, 12)) as screen:
        for width, height, rows in ((40, 12, 2), (80, 24, 3), (200, 60, 3)):
            await screen.pilot.resize_terminal(width, height)
            bar = screen.app.query_one(Scrubber)
            await screen.until(lambda: bar.size == (width, rows), f"{rows} rows")  # noqa: B023 - awaited in its turn
            await screen.shows("PAST")
            assert not [panel for panel in screen.app.view.canvases() if panel.failure]
