"""Several fleets in one console: a tab each with its own way through the views, and one list of all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from console.state.simulator import SimulatorSource
from console.tui.app import TrinityApp
from console.tui.dialogs import ConfirmDialog
from tests.unit.console.test_tui import Screen

pytestmark = pytest.mark.timeout(600)


@asynccontextmanager
async def two_fleets(**parts: Any) -> AsyncIterator[tuple[Screen, SimulatorSource]]:
    first, second = SimulatorSource(replicas=2, seed=1), SimulatorSource(replicas=3, seed=2)
    app = TrinityApp(first, others=[("amber", second)], user="ada", interval_s=0.05, **parts)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = Screen(app, first, pilot)
        await screen.until(lambda: all(link.state.link == "live" for link in app.links), "both are live")
        await screen.until(app.view.replicas, "a replica is selected")
        yield screen, second


def died(source: SimulatorSource) -> set[str]:
    """Whose process ended; they come back soon."""
    return {row.subject for row in source.world.events if row.kind == "replica.died"}


async def test_a_tab_is_a_fleet_with_its_own_way_through_the_views() -> None:
    async with two_fleets() as (screen, second):
        await screen.shows("amber")
        await screen.press("3")
        await screen.press("greater_than_sign")
        await screen.until(lambda: len(screen.app.state.replicas) == 3, "the second fleet is on screen")
        assert screen.app.source is second
        assert screen.app.view_name == "overview"
        await screen.press("5", "less_than_sign")
        await screen.until(lambda: screen.app.view_name == "requests", "the first fleet is where it was left")
        await screen.press("less_than_sign")
        await screen.until(lambda: screen.app.view_name == "journal", "and so is the second")
        await screen.press("escape")
        await screen.until(lambda: screen.app.view_name == "overview", "back on its own way")


async def test_a_click_on_a_tab_chooses_it() -> None:
    async with two_fleets() as (screen, second):
        x = screen.text.splitlines()[0].index("amber")
        await screen.pilot.click("#tab-line", offset=(x, 0))
        await screen.until(lambda: screen.app.source is second, "the clicked fleet")


async def test_the_merged_list_acts_on_each_row_in_its_own_fleet() -> None:
    async with two_fleets() as (screen, second):
        await screen.press("M")
        await screen.until(
            lambda: screen.app.view_name == "everywhere" and len(screen.app.view.replicas()) == 1, "list"
        )
        table = screen.app.view.table()
        assert table is not None
        assert {row.fleet for row in table.model.order} == {"local", "amber"}
        table.model.marks = {"0/llm-1", "1/llm-1", "1/llm-2"}
        await screen.press("K")
        await screen.until(lambda: isinstance(screen.app.screen, ConfirmDialog), "asked")
        await screen.shows("local · ")
        await screen.shows("amber · llm: 3 → 1 ready")
        await screen.press("3", "enter")
        await screen.until(lambda: died(second) == {"llm-1", "llm-2"}, "killed in the second fleet")
        assert [row.target for row in second.world.actions] == ["llm-1", "llm-2"]
        assert [row.target for row in screen.source.world.actions] == ["llm-1"]
        assert died(screen.source) == {"llm-1"}


async def test_enter_in_the_merged_list_goes_to_the_replica_in_its_own_tab() -> None:
    async with two_fleets() as (screen, second):
        await screen.press("M")
        await screen.until(
            lambda: screen.app.view_name == "everywhere" and len(screen.app.view.replicas()) == 1, "list"
        )
        table = screen.app.view.table()
        assert table is not None
        assert table.model.select("1/llm-2")
        await screen.press("enter")
        await screen.until(lambda: screen.app.source is second, "in its own tab")
        await screen.until(lambda: screen.app.view.replicas() == ["llm-2"], "the cursor is on it")


async def test_a_fleet_out_of_sight_is_marked_and_the_other_goes_on() -> None:
    async with two_fleets() as (screen, second):
        second.reachable = False
        await screen.shows("amber stale")
        assert screen.app.state.link == "live"
        await screen.press("M")
        await screen.shows("✗ stale: amber")


async def test_a_verb_on_the_last_replicas_wants_to_be_typed() -> None:
    async with two_fleets() as (screen, _):
        table = screen.app.view.table()
        assert table is not None
        table.model.marks = {"llm-0", "llm-1"}
        await screen.press("D")
        await screen.until(lambda: isinstance(screen.app.screen, ConfirmDialog), "asked")
        dialog = screen.app.screen
        assert isinstance(dialog, ConfirmDialog)
        assert dialog.typed == "2"
        assert "nothing of it serves meanwhile" in dialog.together[0]
        await screen.press("escape")


async def test_with_one_fleet_there_are_no_tabs() -> None:
    source = SimulatorSource(replicas=2)
    app = TrinityApp(source, user="ada", interval_s=0.05)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = Screen(app, source, pilot)
        await screen.until(lambda: app.state.link == "live", "live")
        assert not app.query_one("#tab-line").display
        await screen.press("greater_than_sign")
        assert "--attach" in screen.message
