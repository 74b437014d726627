"""The log explorer driven by its keys over a simulated fleet."""

from __future__ import annotations

import re
import time
from pathlib import Path

from console.state.log_explorer import LogExplorer
from console.tui.dialogs import AskDialog, PickDialog, Prompt
from console.tui.log_bar import LogBar
from console.tui.log_pane import LogPane
from console.tui.strip import Strip
from tests.unit.console.test_tui import Screen, console


def explorer(screen: Screen) -> LogExplorer:
    return screen.app.view.query_one(LogPane).explorer


async def all_logs(screen: Screen) -> LogExplorer:
    await screen.press("4", "0")
    await screen.until(lambda: screen.app.view_name == "logs", "the logs are shown")
    await screen.until(lambda: explorer(screen).store.received > 100 and "following" in screen.text, "lines came")
    return explorer(screen)


async def test_it_follows_pauses_without_loss_and_goes_on() -> None:
    async with console() as screen:
        await screen.press("4")
        await screen.until(lambda: explorer(screen).replicas == ("llm-0",), "the selection's logs")
        log = await all_logs(screen)
        assert log.replicas is None
        await screen.press("space")
        await screen.shows("paused")
        cursor, held = log.cursor, log.store.received
        await screen.until(lambda: log.store.received > held, "lines go on coming")
        await screen.shows("newer below")
        assert log.cursor == cursor
        await screen.press("up", "k", "pageup", "pagedown", "home")
        await screen.until(lambda: log.current() == log.store.after(None, 1).lines[0], "the oldest line held")
        await screen.press("down", "j", "right", "left", "end")
        await screen.until(lambda: log.following and "following" in screen.text, "follows again")


def matches(screen: Screen) -> int:
    """Which match the cursor is on, the newest being 1."""
    found = re.search(r"(\d+) of \d+ ", screen.text)
    return int(found[1]) if found else 0


async def test_search_highlights_while_typed_and_n_walks() -> None:
    async with console() as screen:
        log = await all_logs(screen)
        await screen.press("slash", *"slot [12]:")
        await screen.until(lambda: log.draft is not None and log.draft.text == "slot [12]:", "typed")
        await screen.press("enter")
        await screen.until(lambda: not screen.app.query(LogBar) and screen.app.query_one(Strip).display, "closed")
        await screen.until(lambda: log.finder.settled and matches(screen), "the newest match")
        first, place = log.cursor, matches(screen)
        await screen.press("N")
        await screen.until(lambda: matches(screen) == place + 1, "the match before it")
        await screen.press("n")
        await screen.until(lambda: log.cursor == first, "back again")
        await screen.press("escape")
        await screen.until(lambda: not log.finder.pattern, "esc ends the search")
        await screen.press("n")
        await screen.until(lambda: "begins a search" in screen.message, "says what to do")


async def test_filters_preview_stack_and_are_taken_back() -> None:
    async with console() as screen:
        log = await all_logs(screen)
        await screen.press("i", *"slot")
        await screen.shows("lines here stay")
        assert not log.filters
        await screen.press("enter", "x", *"slot 1(")
        await screen.shows("is no regular expression")
        await screen.press("enter")
        assert screen.app.query(LogBar), "a bad pattern stays open"
        await screen.press("backspace", "enter")
        await screen.until(lambda: len(log.filters) == 2, "both hold")
        await screen.until(lambda: log.look(30), "all read")
        shown = [line.message for line in log.shown(30)[0]]
        assert shown
        assert all(b"slot" in line and b"slot 1" not in line for line in shown)
        await screen.press("x", "a", "escape")
        await screen.until(lambda: not screen.app.query(LogBar) and len(log.filters) == 2, "esc takes nothing else")
        await screen.press("v", "v", "escape", "escape", "escape")
        await screen.until(lambda: not log.filters and not log.level, "one by one")
        assert screen.app.view_name == "logs"


async def test_fields_become_columns() -> None:
    async with console() as screen:
        log = await all_logs(screen)
        await screen.press("space", "F")
        await screen.until(lambda: isinstance(screen.app.screen, PickDialog), "asks which")
        await screen.press("enter")
        await screen.until(lambda: len(log.fields) == 1, "one column")
        await screen.press("escape")
        await screen.until(lambda: log.fields[0] in screen.text and "message" in screen.text, "a header")


async def test_a_time_is_gone_to_and_a_wrong_one_is_explained() -> None:
    async with console() as screen:
        log = await all_logs(screen)
        await screen.press("at")
        await screen.until(lambda: isinstance(screen.app.screen, AskDialog), "asks when")
        await screen.press(*"soon", "enter")
        await screen.shows("'soon' is no time")
        newest = log.store.before(None, 1).lines[0].ts
        await screen.press("ctrl+u", *"-20s", "enter")
        await screen.until(lambda: not log.following and log.current() is not None, "paused there")
        line = log.current()
        assert line is not None
        assert 15 < newest - line.ts < 25


async def test_the_life_before_the_last_restart() -> None:
    async with console(replicas=1) as screen:
        log = await all_logs(screen)
        await screen.press("p")
        await screen.until(lambda: "No earlier life of llm-0" in screen.message, "says why not")
        screen.source.world.kill("llm-0", by="test")
        await screen.until(lambda: len(log.lives("llm-0")) == 2, "a second life")
        await screen.press("p")
        await screen.shows("life 1 of 2")
        assert {line.incarnation for line in log.shown(30)[0]} == {log.lives("llm-0")[0]}
        await screen.press("p")
        await screen.until(lambda: "life 1 of 2" not in screen.text, "all again")


async def ask_to_save(screen: Screen, file: Path) -> None:
    await screen.press("S")
    await screen.until(lambda: isinstance(screen.app.screen, AskDialog), "asks for a name")
    screen.app.screen.query_one(Prompt).value = str(file)
    await screen.press("enter")


async def test_what_is_shown_is_saved_and_nothing_overwritten_unasked(tmp_path: Path) -> None:
    file = tmp_path / "slots.log"
    async with console() as screen:
        log = await all_logs(screen)
        await screen.press("i", *"slot 1:", "enter", "space")
        await ask_to_save(screen, file)
        await screen.until(lambda: "lines saved to" in screen.message, "says how many")
        await ask_to_save(screen, file)
        await screen.until(lambda: isinstance(screen.app.screen, PickDialog), "asks before it overwrites")
        await screen.press("enter")
        await screen.until(lambda: "Nothing was saved" in screen.message, "kept by default")
        saved = file.read_bytes().splitlines()
        assert saved
        assert all(b" llm-" in line and b"slot 1:" in line for line in saved)
        assert log.store.held > len(saved)
        assert [path.name for path in tmp_path.iterdir()] == ["slots.log"]


async def test_enter_shows_every_row_of_the_request() -> None:
    async with console() as screen:
        log = await all_logs(screen)
        await screen.press("i", *"prompt done", "enter", "up", "up", "up")
        await screen.until(lambda: not log.following and log.current() is not None, "a request's line")
        line = log.current()
        assert line is not None
        identity = line.row().correlation_id
        await screen.press("enter")
        await screen.until(lambda: screen.app.view_name == "correlation", "the request's rows")
        await screen.until(lambda: len(screen.app.view.table().model) > 1, "rows came")
        assert identity in screen.text
        assert {"edge", "log"} <= {piece.seen_by for piece in screen.app.view.table().model.order}
        await screen.press("enter")
        await screen.shows("request_id")
        await screen.press("escape", "escape")
        await screen.until(lambda: screen.app.view_name == "logs", "back to the line")
        assert log.cursor == line.key
        await screen.press("3")
        await screen.until(lambda: len(screen.app.view.table().model), "requests are listed")
        await screen.press("enter")
        await screen.until(lambda: screen.app.view_name == "correlation", "a request offers the same")


async def test_w_wraps_and_a_line_can_be_clicked_and_copied() -> None:
    async with console(size=(60, 20)) as screen:
        log = await all_logs(screen)
        await screen.press("w", "space")
        assert log.wrap
        await screen.pilot.click(LogPane, offset=(10, 5))
        pane = screen.app.view.query_one(LogPane)
        await screen.until(pane.selected_text, "a line is selected")
        assert "llm-" in pane.selected_text()


async def test_a_time_before_what_is_held_is_asked_for_and_live_goes_on_meanwhile() -> None:
    async with console(replicas=3) as screen:
        log = await all_logs(screen)
        live = log.store
        await screen.press("at")
        await screen.until(lambda: isinstance(screen.app.screen, AskDialog), "asks when")
        whole = log.whole_from()
        assert whole is not None
        screen.app.screen.query_one(Prompt).value = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(whole - 30))
        await screen.press("enter")
        await screen.until(lambda: log.store is not live, "a window of the past")
        await screen.shows("until ")
        line = log.current()
        assert line is not None
        assert line.ts < whole
        received = live.received
        await screen.until(lambda: live.received > received, "what is live goes on being held")
        await screen.press("end")
        await screen.until(lambda: log.store is live and "following" in screen.text, "live again")


async def test_a_broken_connection_loses_and_repeats_nothing() -> None:
    async with console() as screen:
        log = await all_logs(screen)
        screen.source.reachable = False
        await screen.shows("reconnecting")
        screen.source.reachable = True
        received = log.store.received
        await screen.until(lambda: log.store.received > received and "reconnecting" not in screen.text, "goes on")
        lines = [(line.replica, line.ts, line.message) for line in log.store.after(None, 50_000).lines]
        assert len(set(lines)) == len(lines)
        assert log.store.lost == 0


async def test_an_instant_of_the_past_shows_its_lines_and_live_comes_back_as_it_was() -> None:
    async with console() as screen:
        log = await all_logs(screen)
        live = log.store
        await screen.press("t")
        await screen.until(lambda: log.until_ts is not None, "the past's lines")
        assert all(line.ts < (log.until_ts or 0.0) for line in log.store.after(None, 50_000).lines)
        await screen.press("t")
        await screen.until(lambda: log.store is live and log.until_ts is None, "live again")
