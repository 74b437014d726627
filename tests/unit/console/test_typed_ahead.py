"""What is typed after the key of a question belongs to the question, however late the machine comes to open it."""

from __future__ import annotations

from typing import Any

import pytest
from textual import events
from textual.screen import Screen as AnyScreen

from console.tui.dialogs import AskDialog, Prompt
from console.tui.palette import Palette
from tests.unit.console.sample import FixedClock
from tests.unit.console.test_tui import Screen, console

pytestmark = pytest.mark.timeout(600)

TYPED = {"X": "X", "K": "K", "minus": "-", "1": "1", "q": "q"}
"""Stop all drills, kill, fewer replicas, another view, quit: what these keys do where no question is open."""


async def typed_at_once(screen: Screen, key: str, asks: type[AnyScreen[Any]]) -> None:
    """Press the key and those after it before the console has looked at any of them."""
    view = screen.app.view_name
    done = screen.verbs_done()
    for name, character in {key: None, **TYPED}.items():
        screen.app.post_message(events.Key(name, character))
    await screen.until(
        lambda: [one.value for one in screen.app.screen.query(Prompt)] == ["XK-1q"], f"all of it in what {key} opens"
    )
    assert isinstance(screen.app.screen, asks)
    assert len(screen.app.screen_stack) == 2, "no other dialog was opened"
    assert (screen.app.view_name, screen.verbs_done()) == (view, done)
    await screen.press("escape")
    await screen.until(lambda: len(screen.app.screen_stack) == 1, "esc leaves it")


async def test_a_name_that_is_typed_ahead_of_the_palette_is_no_verb() -> None:
    async with console() as screen:
        await typed_at_once(screen, "ctrl+p", Palette)
        await screen.press("4")
        await screen.until(lambda: screen.app.view_name == "logs", "keys are keys again")


async def test_a_time_that_is_typed_ahead_is_no_verb_of_the_bar() -> None:
    async with console(clock=FixedClock()) as screen:
        await screen.press("t")
        await screen.until(lambda: screen.app.part("travel").focused, "the bar has the keys")
        held = screen.app.part("travel").held.ts
        await typed_at_once(screen, "at", AskDialog)
        assert screen.app.part("travel").held.ts == held
