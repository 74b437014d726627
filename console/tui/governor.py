"""Stands between Textual's compositor and the terminal: one frame under way, the newest picture next.

The one module that hooks into how Textual draws (pinned at 8.2.8): the compositor's updates, the app's display hook
and the driver's output. Whatever it does not understand goes Textual's own way, and its memory of the screen is
dropped. (`picture` reads the compositor's strips, `copying` writes through the driver; neither changes them.)
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from typing import Any, Final

from rich.color import ColorSystem
from textual import events
from textual._ansi_sequences import SYNC_END, SYNC_START
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.app import App
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

from console.render.link_meter import meter
from console.render.spans import Line
from console.state.pace import ECONOMY_WINDOW_S, METER_WINDOW_S, ByteMeter, Pace
from console.tui.differ import FrameDiffer
from console.tui.outlet import Outlet

log = logging.getLogger("trinity.console")

SYNC_FROM: Final = 400
"""Frames of so many characters are put between marks that make the terminal show them at once."""


class FrameGovernor:
    """See the module. `low_bandwidth`: 256 colours, and data at most once a second."""

    def __init__(self, app: App[Any], *, low_bandwidth: bool = False) -> None:
        term = os.environ.get("TERM", "")
        self.differ = FrameDiffer(erases=not term.startswith("screen") and "STY" not in os.environ)
        self.pace = Pace(economy=low_bandwidth)
        self.meter = ByteMeter(ECONOMY_WINDOW_S if low_bandwidth else METER_WINDOW_S)
        self.low_bandwidth = low_bandwidth
        self.enabled = True
        self._app = app
        self._timer: asyncio.TimerHandle | None = None
        self._swallowed = False
        self._cursor: tuple[int, int] | None = None
        self._size = (0, 0)

    # -- what Textual calls ----------------------------------------------------------------------------------

    def display(self, renderable: object) -> bool:
        """Take a frame and send what changed. False where the app must send it in its own way."""
        app, driver = self._app, self._app._driver
        if driver is None or driver.is_headless or driver.is_inline or not app._running or app._closed:
            return False
        if renderable is None or app._batch_count:
            return False
        if not self.enabled:
            return self._swallow(driver)
        try:
            if not self._take(renderable):
                return False
            self._send()
        except (AttributeError, TypeError, ValueError, KeyError, IndexError):
            log.exception("the segment differ failed; frames are sent whole from here on")
            self.enabled = False
            app.screen.refresh(layout=True)
            return False
        return True

    def resized(self, width: int, height: int) -> None:
        """Another size: nothing is known of the screen. The same size again: send it all again."""
        if (width, height) == self._size:
            self.differ.forget()
        else:
            self.differ.drop(width)
        self._size = (width, height)
        self._cursor = None

    def redraw(self) -> None:
        """The terminal may show anything: the next frames are sent whole."""
        self.differ.forget()
        self._cursor = None

    def key(self) -> None:
        """Someone acts: what comes next is shown at once."""
        self.pace.key(time.monotonic())

    def meter_words(self, *, narrow: bool = False) -> list[Line]:
        """The link's traffic for the strip, fullest first; where it is narrow, only a slow link."""
        now = time.monotonic()
        merged = self.pace.merged(now)
        words = meter(self.meter.step(now), merged, low_bandwidth=self.low_bandwidth)
        return words[-1:] if narrow and not merged else words

    # -- frames ----------------------------------------------------------------------------------------------

    def _take(self, update: object) -> bool:
        """Note what an update wants on the screen. False where its kind is unknown."""
        if isinstance(update, ChopsUpdate):
            for y, x1, x2 in update.spans:
                for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
                    if strip is not None and x <= x2 and end > x1:
                        self.differ.put(y, x, strip, min(end - x, strip.cell_length))
        elif isinstance(update, LayoutUpdate):
            for y, strips in enumerate(update.strips, update.region.y):
                x = update.region.x
                for strip in strips:
                    self.differ.put(y, x, strip, strip.cell_length)
                    x += strip.cell_length
        else:
            self.differ.drop(self._size[0])
            return False
        return True

    def _send(self, *, again: bool = False) -> None:
        """Send what changed, or leave it for when the link, or the pace, allows it."""
        app, driver, now = self._app, self._app._driver, time.monotonic()
        assert driver is not None
        if isinstance(driver, ConsoleDriver) and driver.busy:
            if not again:
                self.pace.held()
            return  # `left` comes when it has left
        wait = self.pace.wait_s(now)
        if wait > 0.0:
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(wait, self._again)
            return
        data = self.differ.encode(self.color_system(), limit=self.pace.limit, newest_first=self.pace.answers(now))
        cursor = app.screen.outer_size.clamp_offset(app.cursor_position)
        if not data and cursor == self._cursor:
            return
        self._cursor = app._previous_cursor_position = cursor
        data += f"\x1b[{cursor.y + 1};{cursor.x + 1}H"
        driver.write(f"{SYNC_START}{data}{SYNC_END}" if app._sync_available and len(data) >= SYNC_FROM else data)
        driver.flush()

    def color_system(self) -> ColorSystem:
        """The terminal's, or a shorter one where every byte counts."""
        system = self._app.console._color_system or ColorSystem.TRUECOLOR
        return min(system, ColorSystem.EIGHT_BIT) if self.low_bandwidth else system

    def _again(self) -> None:
        self._timer = None
        driver = self._app._driver
        if driver is not None and self._app._running and not self._app._closed and self.enabled:
            self._send(again=True)

    def left(self, size: int, took_s: float, longest_s: float) -> None:
        """A write has left: the newest picture is next."""
        now = time.monotonic()
        self.pace.left(now, size, took_s, longest_s)
        self.meter.add(now, size)
        if self.enabled:
            if self.differ.pending and self._timer is None:
                self._again()
        elif self._swallowed:
            self._swallowed = False
            self._app.screen.refresh(layout=True)

    def _swallow(self, driver: Driver) -> bool:
        """Without the differ: a whole frame goes out only when nothing is under way; the next is drawn from anew."""
        self._swallowed = isinstance(driver, ConsoleDriver) and driver.busy
        return self._swallowed


class ConsoleDriver(LinuxDriver):
    """Textual's driver, except that what it writes goes through an outlet that never blocks the event loop."""

    _outlet: Outlet | None = None

    @property
    def busy(self) -> bool:
        """Something that was written has not left yet."""
        return self._outlet is not None and self._outlet.busy

    def start_application_mode(self) -> None:
        assert self._file is not None
        self._outlet = Outlet(self._file.fileno(), self._left)
        self._outlet.start()
        super().start_application_mode()  # type: ignore[no-untyped-call] # the library's

    def write(self, data: str) -> None:
        if self._outlet is not None:
            self._outlet.write(data)

    def close(self) -> None:
        if self._outlet is not None:
            self._outlet.stop()
        super().close()

    def process_message(self, message: Message) -> None:
        if isinstance(message, events.Key | events.MouseEvent | events.Paste):
            self._frames.key()
        super().process_message(message)

    @property
    def _frames(self) -> FrameGovernor:
        frames: FrameGovernor = self._app.frames  # type: ignore[attr-defined] # the console's app has them
        return frames

    def _left(self, size: int, took_s: float, longest_s: float) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._frames.left, size, took_s, longest_s)
