"""For tests that press keys, and for those that take pictures.

A key is pressed once nothing is on its way any more, and is done once nothing is again.

Textual's pilot waits twice after each key until the process is idle, for up to a second. A console under test gets a
frame every 50 ms and seldom is: each key took long, and proved nothing more.

No machine is too slow: what is waited for is counted in turns of the event loop, a message stays in the last line until
the next one, and two clicks at one place are a double click however long the machine takes for them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import textual.app
import textual.pilot
from textual.app import App, active_app
from textual.message_pump import MessagePump
from textual.pilot import Pilot
from textual.screen import Screen

from console.tui import strip

TURNS = 50
"""Of the event loop that are given away at once; after them it rests between two looks."""
REST_S = 0.002
MOST_TURNS = 550
"""A second of rests: what waits for something that comes later is not waited for."""


class Handled:
    """Messages and callbacks that are just being handled, of all widgets."""

    def __init__(self) -> None:
        self.now = 0

    def counted(self, work: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        """The same, and known to be under way."""

        async def handle(*args: Any) -> None:
            self.now += 1
            try:
                await work(*args)
            finally:
                self.now -= 1

        return handle

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
        for turn in range(MOST_TURNS):
            await asyncio.sleep(0 if turn < TURNS else REST_S)
            if not app.is_running or not app.screen_stack or not self.busy(app):
                return


@pytest.fixture(autouse=True)
def keys_are_done_when_nothing_is_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    handled = Handled()
    press = Pilot.press

    async def press_when_done(pilot: Pilot[Any], *keys: str) -> None:
        await handled.done()
        await press(pilot, *keys)

    monkeypatch.setattr(Pilot, "press", press_when_done)
    for pump, name in (
        (MessagePump, "_dispatch_message"),
        (MessagePump, "_flush_next_callbacks"),
        (Screen, "_invoke_and_clear_callbacks"),
    ):
        monkeypatch.setattr(pump, name, handled.counted(getattr(pump, name)))
    monkeypatch.setattr(textual.app, "wait_for_idle", handled.done)
    monkeypatch.setattr(textual.pilot, "wait_for_idle", handled.done)


@pytest.fixture(autouse=True)
def nothing_goes_because_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that stands still for a while between two lines of a test changes nothing that the test looks at."""
    monkeypatch.setattr(strip, "MESSAGE_S", 3600.0)
    monkeypatch.setattr(App, "CLICK_CHAIN_TIME_THRESHOLD", 3600.0)


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
