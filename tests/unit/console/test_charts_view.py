"""The charts view by its keys and the mouse: one cursor through every chart, zoom, the way to the past."""

from __future__ import annotations

from typing import Any

import pytest
from textual import events

from console.state.replica_ttft import ReplicaTtft
from console.tui.chart_panels import ChartPanel
from console.tui.heat_panel import HeatPanel
from console.tui.views.charts import NAMES, ChartsView

from .sample import FixedClock
from .test_tui import Screen, console

pytestmark = pytest.mark.timeout(600)


async def charts(screen: Screen) -> ChartsView:
    await screen.press("7")
    await screen.until(lambda: screen.app.view_name == "charts" and screen.app.view.display, "charts are shown")
    await screen.until(lambda: all(p.size.width for p in screen.app.view.canvases() if p.display), "laid out")
    view = screen.app.view
    assert isinstance(view, ChartsView)
    return view


def cursor_columns(screen: Screen) -> set[int]:
    return {x for line in screen.text.splitlines() for x, glyph in enumerate(line) if glyph == "│"}


async def test_the_cursor_moves_through_every_chart_and_esc_lets_go() -> None:
    async with console(clock=FixedClock()) as screen:
        view = await charts(screen)
        assert not cursor_columns(screen)
        await screen.press("left", "left", "left", "right")
        await screen.until(lambda: len(cursor_columns(screen)) == 2, "one line in each column of charts")
        lens = view.stage.lens
        newest = view._newest()
        assert lens.at == pytest.approx(newest - 2 * view._cell_s(), abs=2.5)
        before = lens.at
        await screen.press("shift+left")
        assert lens.at == before - 60
        await screen.press("shift+right", "home")
        assert lens.at < newest - 280
        await screen.press("end")
        assert lens.at == pytest.approx(view._newest(), abs=2.5)
        await screen.press("escape")
        await screen.until(lambda: not cursor_columns(screen), "the line is gone")
        assert screen.app.view_name == "charts"
        await screen.press("escape")
        await screen.until(lambda: screen.app.view_name == "overview", "then esc goes back")


async def test_zoom_and_the_words_above() -> None:
    async with console() as screen:
        view = await charts(screen)
        await screen.press("z")
        assert view.stage.lens.window_s == 60
        await screen.shows("-48s")
        await screen.press("z", "Z", "Z")
        assert view.stage.lens.window_s == 900
        await screen.shows("-15m")
        screen.source.world.kill("llm-1", by="test")
        await screen.until(lambda: view.stage.book.of(screen.app.state), "the death is marked")
        await screen.press("left", "end")
        await screen.shows("✗ llm-1: pid")


async def test_the_mouse_points_and_a_click_keeps_the_cursor() -> None:
    async with console() as screen:
        view = await charts(screen)
        await screen.pilot.hover("#chart-cpu", offset=(30, 3))
        await screen.until(lambda: view.stage.lens.hover is not None, "the mouse points")
        await screen.until(lambda: len(cursor_columns(screen)) == 2, "in every chart")
        await screen.pilot.hover("#chart-cpu", offset=(2, 3))
        await screen.until(lambda: view.stage.lens.hover is None, "the labels are no instant")
        await screen.pilot.click("#chart-queue" if view.query("#chart-queue") else "#chart-waiting", offset=(20, 2))
        await screen.until(lambda: view.stage.lens.cursor is not None, "a click stays")
        panel = view.query_one("#chart-cpu", ChartPanel)
        view.stage.lens.hover = 5.0
        panel.on_leave(events.Leave(panel))
        assert view.stage.lens.hover is None


async def test_enter_travels_to_the_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    async with console() as screen:
        view = await charts(screen)
        await screen.press("enter")
        await screen.until(lambda: "Choose an instant" in screen.message, "says what is missing")
        went: list[float] = []

        class Travel:
            async def open(self, ts: float) -> None:
                went.append(ts)

        monkeypatch.setitem(screen.app._parts, "travel", Travel())
        await screen.press("left", "left", "enter")
        await screen.until(lambda: went == [view.stage.lens.at], "it opens there")


async def test_tab_walks_the_charts_of_a_small_terminal() -> None:
    async with console(size=(40, 12)) as screen:
        view = await charts(screen)
        seen: list[Any] = []
        for _ in NAMES:
            shown = [panel.id for panel in view.query(ChartPanel) if panel.display]
            assert len(shown) == 1
            seen += shown
            await screen.press("tab")
            await screen.pilot.pause(0.02)
        assert len(set(seen)) == len(NAMES)
        assert view.pane == "heat"
        await screen.until(lambda: "▒ 100 ▓ 250 █ 500 ms" in screen.text, "the heat map's steps are in its title")


async def test_the_heat_map_opens_over_everything_and_tells_of_the_chosen_replica(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with console(replicas=3) as screen:
        view = await charts(screen)
        screen.source.world.rate = 50.0
        await screen.press("H")
        await screen.shows("TTFT p95 by replica")
        await screen.until(lambda: not view.query_one("#chart-cpu").display, "the charts make room")
        heat = view.query_one(HeatPanel)
        await screen.until(lambda: len(heat._rows) > 2, "rows")
        rows = list(heat._rows)
        with monkeypatch.context() as still:
            still.setattr(heat, "_fetched", lambda _: rows)  # a reading may come at any time and sort them anew
            heat.sync()
            await screen.press("down", "down")
            assert heat.chosen == heat._rows[1].name
            await screen.press("up", "up", "left", "left")
            assert heat.chosen == heat._rows[0].name
            await screen.until(lambda: heat.chosen in "".join(text for text, _ in heat.info()), "the title tells of it")
            await screen.pilot.hover(heat, offset=(60, 2))
            await screen.until(lambda: heat.chosen == heat._rows[1].name, "the mouse chooses too")
        screen.app.state.replica_ttft = ReplicaTtft()
        heat.sync()
        assert "no readings yet" in "".join(text for text, _ in heat.body(60, 10)[0])
        await screen.press("escape", "escape")
        await screen.until(lambda: view.query_one("#chart-cpu").display, "the charts are back")
        assert screen.app.view_name == "charts"


async def test_zooming_out_asks_the_record_once() -> None:
    async with console() as screen:
        view = await charts(screen)
        asked: list[int] = []
        series = screen.source.series

        async def counted(seconds: int) -> Any:
            asked.append(seconds)
            return await series(seconds)

        screen.source.series = counted  # type: ignore[method-assign]
        await screen.press("Z")
        await screen.until(lambda: view.stage.known.until > 0, "the record has answered")
        await screen.press("left", "left", "z", "Z")
        await screen.pilot.pause(0.05)
        assert len(asked) == 1
        view.stage.lens.all_s = 0.0
        await screen.press("Z", "Z", "Z")
        await screen.until(lambda: 299 <= view.stage.lens.all_s < 900, "everything is what is recorded")
        assert not view._words().note
        screen.app.look_at(screen.app.link)
        assert view.stage.lens.at is None, "another fleet or instant lets go of everything"


async def test_a_record_that_does_not_answer_is_said() -> None:
    async with console() as screen:
        view = await charts(screen)
        screen.source.reachable = False
        await screen.press("Z")
        await screen.until(lambda: "does not answer" in view._words().note, "says so")


async def test_the_mouse_on_the_overview_points_in_all_its_charts() -> None:
    async with console() as screen:
        await screen.pilot.hover("#queue", offset=(20, 3))
        await screen.until(lambda: len(cursor_columns(screen)) >= 3, "one line in each chart")
        await screen.pilot.hover("#replicas", offset=(20, 1))
        await screen.until(lambda: screen.app.view.stage.lens.hover is None, "it goes with the mouse")


async def test_pictures_move_less_often_over_a_thin_link() -> None:
    async with console(low_bandwidth=True) as screen:
        view = await charts(screen)
        cells = view.query_one("#chart-cpu", ChartPanel).gutter_and_cells()[1]
        assert cells.end % 6 == 0
