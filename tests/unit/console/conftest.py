"""For tests that press keys, and for those that take pictures.

A key is pressed once nothing is on its way any more, and is done once nothing is again.

Textual's pilot waits twice after each key until the process is idle, for up to a second. A console under test gets a
frame every 50 ms and seldom is: each key took long, and proved nothing more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
import textual.app
import textual.pilot
from textual.app import App, active_app
from textual.message import Message
from textual.message_pump import MessagePump
from textual.pilot import Pilot

AT_MOST_S = 1.0
"""As Textual's: what waits for something that comes later is not waited for."""
TURNS = 50
"""Of the event loop that are given away at once; after them it rests between two looks."""


class Handled:
    """Messages that are just being handled, of all widgets."""

    def __init__(self) -> None:
        self.now = 0
        self._dispatch = MessagePump._dispatch_message

    async def dispatch(self, pump: MessagePump, message: Message) -> None:
        self.now += 1
        try:
            await self._dispatch(pump, message)
        finally:
            self.now -= 1

    def busy(self, app: App[Any]) -> bool:
        """Whether something is being handled, or is on its way to a widget."""
        if self.now:
            return True
        widgets = (node for screen in app.screen_stack for node in screen.walk_children(with_self=True))
        return any(pump.message_queue_size or pump._next_callbacks for pump in (app, *widgets)) or any(
            screen._callbacks for screen in app.screen_stack
        )

    async def done(self, *_: float) -> None:
        app = active_app.get()
        end = time.monotonic() + AT_MOST_S
        turn = 0
        while time.monotonic() < end:
            await asyncio.sleep(0 if turn < TURNS else 0.002)
            turn += 1
            if not app.is_running or not app.screen_stack or not self.busy(app):
                return


@pytest.fixture(autouse=True)
def keys_are_done_when_nothing_is_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    handled = Handled()

    async def dispatch(pump: MessagePump, message: Message) -> None:
        await handled.dispatch(pump, message)

    press = Pilot.press

    async def press_when_done(pilot: Pilot[Any], *keys: str) -> None:
        await handled.done()
        await press(pilot, *keys)

    monkeypatch.setattr(Pilot, "press", press_when_done)
    monkeypatch.setattr(MessagePump, "_dispatch_message", dispatch)
    monkeypatch.setattr(textual.app, "wait_for_idle", handled.done)
    monkeypatch.setattr(textual.pilot, "wait_for_idle", handled.done)


@pytest.fixture
def one_place_and_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No terminal and no time zone of the machine may show."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    for name in ("COLUMNS", "LINES", "NO_COLOR", "LC_ALL", "LC_CTYPE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (("LANG", "C.UTF-8"), ("TERM", "xterm-256color"), ("COLORTERM", "truecolor")):
        monkeypatch.setenv(name, value)
    yield
    monkeypatch.undo()
    time.tzset()
