"""The table on screen: sideways, marks, sort by mouse, and only what changed is written anew."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input

from backend.contract.control import ReplicaView
from console.render.columns import REPLICAS
from console.state.simulator import SimulatorSource
from console.tui.app import TrinityApp
from console.tui.columns import ColumnsDialog
from console.tui.command_line import CommandInput
from console.tui.filter_bar import FilterBar
from console.tui.strip import Strip
from console.tui.vtable import LEFT_MORE, RIGHT_MORE, VTable
from tests.unit.console import sample
from tests.unit.console.waiting import comes

pytestmark = pytest.mark.timeout(600)


class Fleet:
    """A fleet view whose tables stand still: what they show comes from the test."""

    def __init__(self, app: TrinityApp, pilot: Pilot[int]) -> None:
        self.app, self.pilot = app, pilot

    @property
    def table(self) -> VTable[Any]:
        return self.app.query_one("#fleet-replicas", VTable)

    def show(self, *replicas: ReplicaView) -> None:
        self.app.state.snapshot = sample.snapshot(replicas=replicas)
        self.app.view.update()

    @property
    def lines(self) -> list[str]:
        width, height = self.table.size
        return ["".join(text for text, _ in line) for line in self.table.paint(width, height)]

    @property
    def header(self) -> str:
        return self.lines[1]

    async def until(self, met: Callable[[], Any], what: str) -> None:
        if not await comes(met, self.pilot, 0.01):
            raise AssertionError(f"never: {what}")

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)


@asynccontextmanager
async def fleet(size: tuple[int, int] = (60, 30), count: int = 6, **parts: Any) -> AsyncIterator[Fleet]:
    source = SimulatorSource(replicas=1, warm_s=0)
    source.reachable = False
    app = TrinityApp(source, user="ada", bell=False, clock=sample.FixedClock(1000.0), **parts)
    async with app.run_test(size=size) as pilot:
        await app.action_view("fleet")
        await pilot.pause()
        tables = Fleet(app, pilot)
        tables.show(*(sample.replica(f"llm-{n}", restarts=n) for n in range(count)))
        tables.table.focus()
        await pilot.pause()
        yield tables


async def test_right_and_left_reach_every_column_and_the_first_stays() -> None:
    async with fleet() as screen:
        assert screen.header.endswith(RIGHT_MORE)
        assert LEFT_MORE.strip() not in screen.header
        await screen.press("left")
        seen = screen.header
        await screen.press("right")
        seen += screen.header
        assert LEFT_MORE.strip() in seen
        for _ in range(20):
            screen.table.action_sideways(1)
            assert screen.header.startswith("  REPLICA")
            seen += screen.header
        titles = [column.title for column in REPLICAS if not column.hidden]
        assert [title for title in titles if title not in seen] == []
        assert LEFT_MORE.strip() in screen.header
        assert not screen.header.endswith(RIGHT_MORE)
        assert "WHY" in screen.header
        before = screen.header
        await screen.press("left")
        assert screen.header != before, "the keys pressed beyond the end are not owed"


async def test_a_wide_screen_has_nothing_to_scroll() -> None:
    async with fleet((200, 30)) as screen:
        header = screen.header
        await screen.press("right")
        assert screen.header == header
        assert RIGHT_MORE not in header


async def test_ranges_and_all_are_marked_and_the_title_counts_what_is_hidden() -> None:
    async with fleet() as screen:
        await screen.press("space", "down", "down", "V")
        assert "4 marked" in screen.lines[0]
        assert sum("◆" in line for line in screen.lines) == 4
        screen.app.view.set_filter("name:llm-0")
        assert "/name:llm-0" in screen.lines[0]
        assert "4 marked, 3 hidden" in screen.lines[0]
        assert sorted(screen.app.view.replicas()) == ["llm-0", "llm-1", "llm-2", "llm-3"]
        screen.app.view.set_filter("")
        await screen.press("asterisk")
        assert "6 marked" in screen.lines[0]
        await screen.press("asterisk")
        assert "marked" not in screen.lines[0]


async def test_a_column_that_is_not_there_is_said_in_the_title() -> None:
    async with fleet((120, 30)) as screen:
        screen.app.view.set_filter("colour:red restarts>3")
        assert "2 of 6  no column colour; there are replica phase rst age" in screen.lines[0]
        assert screen.table.model.notes


async def test_a_title_that_is_clicked_sorts_also_when_scrolled() -> None:
    async with fleet() as screen:
        await screen.press("right")
        assert screen.table.sort_by("nothing") != ""
        at = screen.header.index("RST")
        assert await screen.pilot.click(screen.table, offset=(at, 1))
        assert screen.table.model.sort_key == "restarts"
        assert await screen.pilot.click(screen.table, offset=(at, 1))
        assert screen.table.model.current is not None
        assert screen.lines[2].startswith(("  llm-5", "▸ llm-5"))
        assert await screen.pilot.click(screen.table, offset=(57, 1))
        assert "RST" not in screen.header, "the sign for more goes there"
        assert await screen.pilot.click(screen.table, offset=(screen.header.index(LEFT_MORE.strip()), 1))
        assert "RST" in screen.header
        assert screen.table.sort_by("name") == ""
        assert "REPLICA↑" in screen.header


async def test_only_rows_that_changed_are_written_anew() -> None:
    async with fleet((120, 30), count=200) as screen:
        asked: list[str] = []

        def counting(cell: Any) -> Any:
            return lambda view, now: asked.append(view.status.name) or cell(view, now)

        model = screen.table.model
        model.set_columns(
            [msgspec.structs.replace(c, cell=counting(c.cell)) for c in model.columns if c.key in ("name", "phase")]
        )
        screen.table.sync()
        rows = len(screen.lines) - 2
        assert len(asked) <= 2 * (rows + 1), "only what is on screen"
        asked.clear()
        views = list(model.order)
        views[3] = sample.replica("llm-3", restarts=9)
        views[150] = sample.replica("llm-150", restarts=9)
        screen.show(*views)
        assert set(asked) == {"llm-3"}
        asked.clear()
        await screen.press("down")
        assert set(asked) == {"llm-0", "llm-1"}


async def test_ages_step_on_rows_that_did_not_change() -> None:
    async with fleet() as screen:
        clock = screen.app.clock
        assert isinstance(clock, sample.FixedClock)
        await screen.press("right", "right")
        assert " 50s " in screen.lines[2]
        clock.at += 30
        assert " 1m " in screen.lines[2]


async def test_columns_are_chosen_in_a_dialog_shown_at_once_and_kept_for_the_next_console(tmp_path: Path) -> None:
    path = tmp_path / "console.json"
    async with fleet((120, 30), preferences=path) as screen:
        await screen.press("C")
        await screen.until(lambda: isinstance(screen.app.screen, ColumnsDialog), "asks")
        await screen.press("down", "down", "space", "up", "J", "plus")
        assert "RST" not in screen.header
        assert screen.header.split()[:2] == ["REPLICA", "PHASE"]
        await screen.press("end", "up", "up", "K", "minus", "enter")
        await screen.until(path.exists, "kept")
        header = screen.header
        await screen.press("C")
        await screen.until(lambda: isinstance(screen.app.screen, ColumnsDialog), "asks again")
        await screen.press("space", "down", "space", "escape")
        await screen.until(lambda: not isinstance(screen.app.screen, ColumnsDialog), "left")
        assert screen.header == header, "esc leaves the columns as they were"
    async with fleet((120, 30), preferences=path) as screen:
        assert screen.header == header
        await screen.press("C")
        await screen.until(lambda: isinstance(screen.app.screen, ColumnsDialog), "asks")
        await screen.press("0", "enter")
        await screen.until(lambda: "fleet-replicas" not in path.read_text(), "the default is not kept")
        assert "RST" in screen.header


async def test_a_broken_file_of_preferences_is_told_in_the_strip(tmp_path: Path) -> None:
    path = tmp_path / "console.json"
    path.write_text("{")
    async with fleet(preferences=path) as screen:
        strip = screen.app.query_one(Strip)
        await screen.until(lambda: "is not what the console writes" in str(strip.message), "told")


async def test_a_view_without_a_table_has_no_columns_to_choose() -> None:
    async with fleet() as screen:
        await screen.press("question_mark", "C")
        strip = screen.app.query_one(Strip)
        await screen.until(lambda: "no table here" in str(strip.message), "told")


async def test_tab_completes_columns_and_their_words_while_the_filter_is_typed() -> None:
    async with fleet((120, 30)) as screen:
        await screen.press("slash", "p", "h")
        assert "llm-0" in screen.lines[2], "on the way to a column's name nothing is hidden"
        await screen.press("tab")
        bar = screen.app.query_one(FilterBar)
        assert bar.value == "phase:"
        await screen.press("F", "a", "tab", "tab")
        assert bar.value == "phase:Failed"
        assert screen.table.model.filter == "phase:Failed"
        assert "no row matches" in screen.lines[2]
        await screen.press("escape")
        assert "/" not in screen.lines[0]


@pytest.mark.parametrize(("opens", "line"), [(("slash", "/"), FilterBar), (("colon", ":"), CommandInput)])
async def test_what_is_typed_ahead_belongs_to_the_line_and_never_reaches_the_verbs(
    opens: tuple[str, str], line: type[Input]
) -> None:
    async with fleet() as screen:
        for key, character in (opens, ("K", "K"), ("plus", "+"), ("slash", "/"), ("colon", ":"), ("X", "X")):
            screen.app.post_message(events.Key(key, character))
        await screen.until(lambda: [bar.value for bar in screen.app.query(line)] == ["K+/:X"], "all of it in the line")
        assert len(screen.app.screen_stack) == 1, "no dialog was opened"
