"""Sends only changed cells to the terminal, and never queues a second frame behind a slow link.

The one module that touches Textual's private parts (pinned at 8.2.8): the compositor's updates and the driver's
writer queue. Whatever it does not understand is passed through unchanged and its memory of the screen is dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

from rich.cells import cell_len
from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style
from textual._ansi_sequences import SYNC_END, SYNC_START
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.app import App
from textual.driver import Driver
from textual.strip import Strip

log = logging.getLogger("trinity.console")

Cell = tuple[str, Style | None]
BRIDGE: Final = 3
"""Unchanged cells between two changes that are cheaper to send again than to jump over."""
_NOTHING: Final[Cell] = ("\0", None)


class FrameDiffer:
    """Two pictures of the screen: what it should show and what the terminal was sent."""

    def __init__(self) -> None:
        self.bytes_sent = 0
        """Characters of all frames encoded so far; the byte meter reads it."""
        self.frames_held = 0
        """Frames that were merged into a later one because the link was slow."""
        self._wanted: dict[int, list[Cell]] = {}
        self._shown: dict[int, list[Cell]] = {}
        self._dirty: set[int] = set()

    def forget(self) -> None:
        """The terminal may show anything now: send all that comes."""
        self._shown.clear()
        self._dirty.update(self._wanted)

    def drop(self) -> None:
        """Also forget what should be there (another size)."""
        self._wanted.clear()
        self._shown.clear()
        self._dirty.clear()

    def take(self, update: CompositorUpdate) -> bool:
        """Note what an update wants on the screen. False where its kind is unknown: send it as it is."""
        if isinstance(update, ChopsUpdate):
            self._take_chops(update)
        elif isinstance(update, LayoutUpdate):
            for y, strips in enumerate(update.strips, update.region.y):
                self._put_strips(y, update.region.x, strips)
        else:
            self.drop()
            return False
        return True

    def encode(self, console: Console) -> str:
        """What must be written so that the terminal shows what is wanted; empty where it does already."""
        system = console._color_system or ColorSystem.TRUECOLOR
        out: list[str] = []
        style_now: Style | None = None
        for y in sorted(self._dirty):
            line = self._wanted[y]
            shown = self._shown.get(y, [])
            for start, end in _changes(shown, line):
                out.append(f"\x1b[{y + 1};{start + 1}H")
                for text, style in line[start:end]:
                    if style is not style_now and style != style_now:
                        out.append("\x1b[0m" + _sgr(style, system))
                        style_now = style
                    out.append(text)
            self._shown[y] = list(line)
        self._dirty.clear()
        if out:
            out.append("\x1b[0m")
        data = "".join(out)
        self.bytes_sent += len(data)
        return data

    def _take_chops(self, update: ChopsUpdate) -> None:
        """Whole fragments of each dirty line: what did not change in them costs nothing later."""
        for y, x1, x2 in update.spans:
            for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
                if strip is not None and x <= x2 and end > x1:
                    self._put_strips(y, x, (strip.crop(0, end - x),))

    def _put_strips(self, y: int, x: int, strips: Iterable[Strip]) -> None:
        line = self._wanted.setdefault(y, [])
        cells = [cell for strip in strips for cell in _cells(strip)]
        if len(line) < x:
            line += [_NOTHING] * (x - len(line))
        line[x : x + len(cells)] = cells
        self._dirty.add(y)


def _cells(strip: Strip) -> list[Cell]:
    """One entry a terminal cell; the second half of a wide character is an empty text."""
    out: list[Cell] = []
    for text, style, control in strip:
        if control:
            continue
        if text.isascii():
            out += [(character, style) for character in text]
            continue
        for character in text:
            size = cell_len(character)
            if size == 0 and out:
                out[-1] = (out[-1][0] + character, out[-1][1])
            else:
                out.append((character, style))
                if size == 2:
                    out.append(("", style))
    return out


def _changes(shown: list[Cell], wanted: list[Cell]) -> list[tuple[int, int]]:
    """Half-open ranges to send; never begins inside a wide character, and small gaps are bridged."""
    ranges: list[tuple[int, int]] = []
    known = len(shown)
    at, size = 0, len(wanted)
    while at < size:
        if wanted[at] == _NOTHING or (at < known and shown[at] == wanted[at]):
            at += 1
            continue
        start = at - 1 if wanted[at][0] == "" and at else at
        while at < size and not (at < known and shown[at] == wanted[at]) and wanted[at] != _NOTHING:
            at += 1
        while at < size and wanted[at][0] == "":
            at += 1
        if ranges and start - ranges[-1][1] <= BRIDGE and _NOTHING not in wanted[ranges[-1][1] : start]:
            ranges[-1] = (ranges[-1][0], at)
        else:
            ranges.append((start, at))
    return ranges


@lru_cache(4096)
def _sgr(style: Style | None, system: ColorSystem) -> str:
    """The escape sequence that switches a style on."""
    if style is None:
        return ""
    return style.render("\0", color_system=system).split("\0", 1)[0]


class FrameGovernor:
    """Stands between the compositor and the driver: one frame under way, the newest picture next."""

    RETRY_S: Final = 0.01

    def __init__(self, app: App[Any]) -> None:
        self.differ = FrameDiffer()
        self.enabled = True
        self._app = app
        self._held = False
        self._cursor: tuple[int, int] | None = None
        self._size = (0, 0)

    def display(self, renderable: object) -> bool:
        """Take a frame and send what changed. False where the app must send it in its own way."""
        app, driver = self._app, self._app._driver
        if not self.enabled or driver is None or driver.is_headless or driver.is_inline:
            return False
        if not isinstance(renderable, CompositorUpdate) or app._batch_count or not app._running or app._closed:
            return False
        try:
            if not self.differ.take(renderable):
                return False
            self._send(driver)
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
            self.differ.drop()
        self._size = (width, height)

    def redraw(self) -> None:
        """The terminal may show anything: the next frames are sent whole."""
        self.differ.forget()

    def _send(self, driver: Driver) -> None:
        app = self._app
        if _backlog(driver):
            if not self._held:
                self._held = True
                self.differ.frames_held += 1
                app.set_timer(self.RETRY_S, self._retry)
            return
        data = self.differ.encode(app.console)
        cursor = app.screen.outer_size.clamp_offset(app.cursor_position)
        if not data and cursor == self._cursor:
            return
        self._cursor = cursor
        data += f"\x1b[{cursor.y + 1};{cursor.x + 1}H"
        app._previous_cursor_position = cursor
        driver.write(f"{SYNC_START}{data}{SYNC_END}" if app._sync_available else data)
        driver.flush()

    def _retry(self) -> None:
        self._held = False
        driver = self._app._driver
        if driver is not None and self._app._running and not self._app._closed:
            self._send(driver)


def _backlog(driver: Driver) -> int:
    """Writes that wait behind the one under way."""
    writer = getattr(driver, "_writer_thread", None)
    return 0 if writer is None else int(writer._queue.qsize())
