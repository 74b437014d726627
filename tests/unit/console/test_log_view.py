"""The log explorer on screen over a simulated fleet. What each key does by itself is proven with all other keys."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from textual import events

from console.state.log_explorer import LogExplorer
from console.tui.dialogs import AskDialog, PickDialog, Prompt
from console.tui.log_bar import LogBar
from console.tui.log_pane import LogPane
from console.tui.strip import Strip
from tests.unit.console.test_tui import Screen, console

pytestmark = pytest.mark.timeout(600)

SIZE = (80, 24)


def explorer(screen: Screen) -> LogExplorer:
    return screen.app.view.query_one(LogPane).explorer


async def all_logs(screen: Screen) -> LogExplorer:
    await screen.press("4", "0")
    await screen.until(lambda: screen.app.view_name == "logs", "the logs are shown")
    await screen.until(lambda: explorer(screen).store.received > 100 and "following" in screen.text, "lines came")
    return explorer(screen)


async def typed(screen: Screen, key: str, pattern: str, *keys: str) -> None:
    """Open the line, write a pattern, press the keys."""
    await screen.press(key)
    await screen.until(lambda: screen.app.query(LogBar), "a line to type in")
    screen.app.query_one(LogBar).value = pattern
    draft = explorer(screen)
    await screen.until(lambda: draft.draft is not None and draft.draft.text == pattern, "typed")
    await screen.press(*keys)


async def answer(screen: Screen, key: str, words: str) -> None:
    await screen.press(key)
    await screen.until(lambda: isinstance(screen.app.screen, AskDialog), "asks")
    screen.app.screen.query_one(Prompt).value = words
    await screen.press("enter")


def matches(screen: Screen) -> int:
    """Which match the cursor is on, the newest being 1."""
    found = re.search(r"(\d+) of \d+ ", screen.text)
    return int(found[1]) if found else 0


@pytest.mark.usefixtures("one_place_and_time")  # no hour is there twice
async def test_paused_it_loses_nothing_whatever_happens_to_the_connection_or_to_time() -> None:
    async with console(size=SIZE, replicas=3) as screen:
        await screen.press("4")
        await screen.until(lambda: explorer(screen).replicas == ("llm-0",), "the selection's logs")
        log = await all_logs(screen)
        live = log.store
        await screen.press("space")
        await screen.shows("paused")
        cursor, received = log.cursor, live.received
        screen.source.reachable = False
        await screen.shows("reconnecting")
        screen.source.reachable = True
        await screen.until(lambda: live.received > received and "reconnecting" not in screen.text, "goes on")
        lines = [(line.replica, line.ts, line.message) for line in live.after(None, 50_000).lines]
        assert len(set(lines)) == len(lines)
        assert (log.cursor, live.lost) == (cursor, 0)
        await screen.shows("newer below")

        await screen.press("t")
        await screen.until(lambda: log.until_ts is not None, "the past's lines")
        assert all(line.ts < (log.until_ts or 0.0) for line in log.store.after(None, 50_000).lines)
        await screen.press("t")
        await screen.until(lambda: log.store is live and log.until_ts is None, "live again, with what was held")

        whole = log.whole_from()
        assert whole is not None
        await answer(screen, "at", time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(whole - 30)))
        await screen.until(lambda: log.store is not live, "a window of the past")
        await screen.shows("until ")
        line, received = log.current(), live.received
        assert line is not None
        assert line.ts < whole
        await screen.until(lambda: live.received > received, "what is live goes on being held")
        await screen.press("end")
        await screen.until(lambda: log.store is live and "following" in screen.text, "live again")


async def test_patterns_show_their_effect_while_typed() -> None:
    async with console(size=SIZE) as screen:
        log = await all_logs(screen)
        await typed(screen, "slash", "slot [12]:", "enter")
        await screen.until(lambda: not screen.app.query(LogBar) and screen.app.query_one(Strip).display, "closed")
        finder = log.finder
        await screen.until(
            lambda: finder.search is not None and finder.settled and not finder.wanted, "all is searched"
        )
        await screen.until(lambda: matches(screen), "the newest match")
        first, place = log.cursor, matches(screen)
        await screen.press("N")
        await screen.until(lambda: matches(screen) == place + 1, "the match before it")
        await screen.press("n")
        await screen.until(lambda: log.cursor == first, "back again")
        await screen.press("escape", "n")
        await screen.until(lambda: "begins a search" in screen.message, "esc ended it; says what to do")

        await typed(screen, "i", "slot")
        await screen.shows("lines here stay")
        assert not log.filters
        await screen.press("enter")
        await typed(screen, "x", "slot 1(", "enter")
        await screen.shows("is no regular expression")
        assert screen.app.query(LogBar), "a bad pattern stays open"
        await screen.press("backspace", "enter")
        await screen.until(lambda: len(log.filters) == 2 and log.look(20), "both hold")
        shown = [line.message for line in log.shown(20)[0]]
        assert shown
        assert all(b"slot" in line and b"slot 1" not in line for line in shown)
        await typed(screen, "x", "a", "escape")
        await screen.until(lambda: not screen.app.query(LogBar) and len(log.filters) == 2, "esc takes nothing else")
        await screen.press("v", "escape", "escape", "escape")
        await screen.until(lambda: not log.filters and not log.level, "one by one")
        assert screen.app.view_name == "logs"
        await screen.press("w")
        await screen.pilot.click(LogPane, offset=(10, 5))
        pane = screen.app.view.query_one(LogPane)
        await screen.until(lambda: not log.following and "llm-" in pane.selected_text(), "a line is clicked")


async def test_what_is_typed_ahead_belongs_to_the_line_or_the_question_and_is_no_key_of_the_view() -> None:
    async with console(size=SIZE) as screen:
        log = await all_logs(screen)
        was = (log.wrap, log.level, log.replicas, log.following)
        opens = {"slash": LogBar, "i": LogBar, "x": LogBar, "at": Prompt, "S": Prompt}
        for key, line in opens.items():
            characters = {"slash": "/", "at": "@"}
            for letter in (key, *"vwpixSK0", "slash", "at"):
                screen.app.post_message(events.Key(letter, characters.get(letter, letter)))
            await screen.until(
                lambda line=line: [one.value for one in screen.app.screen.query(line)] == ["vwpixSK0/@"],
                f"all of it is in what {key} opens",
            )
            assert (log.wrap, log.level, log.replicas, log.following) == was
            await screen.press("escape")
            await screen.until(lambda: isinstance(screen.app.focused, LogPane), "the lines have the keys again")
            assert len(screen.app.screen_stack) == 1


async def test_what_is_shown_is_saved_and_a_line_leads_to_its_request(tmp_path: Path) -> None:
    file = tmp_path / "slots.log"
    async with console(size=SIZE) as screen:
        log = await all_logs(screen)
        await typed(screen, "i", "slot .: prompt done", "enter")
        await screen.press("up", "up")
        await answer(screen, "S", str(file))
        await screen.until(lambda: "lines saved to" in screen.message, "says how many")
        await answer(screen, "S", str(file))
        await screen.until(lambda: isinstance(screen.app.screen, PickDialog), "asks before it overwrites")
        await screen.press("enter")
        await screen.until(lambda: "Nothing was saved" in screen.message, "kept by default")
        saved = file.read_bytes().splitlines()
        assert saved
        assert all(b" llm-" in line and b"prompt done" in line for line in saved)
        assert log.store.held > len(saved)
        assert [path.name for path in tmp_path.iterdir()] == ["slots.log"]

        line = log.current()
        assert line is not None
        await screen.press("enter")
        await screen.until(lambda: screen.app.view_name == "correlation", "the request's rows")
        table = screen.app.view.table()
        await screen.until(lambda: {"edge", "log"} <= {piece.seen_by for piece in table.model.order}, "rows came")
        await screen.shows(str(line.row().correlation_id))
        await screen.press("enter")
        await screen.shows("request_id")
        await screen.press("escape", "escape")
        await screen.until(lambda: screen.app.view_name == "logs", "back to the line")
        assert log.cursor == line.key
        await screen.press("3")
        await screen.until(lambda: len(screen.app.view.table().model), "requests are listed")
        await screen.press("enter")
        await screen.until(lambda: screen.app.view_name == "correlation", "a request offers the same")
