"""Jump mode: a label on every panel, view, crumb and row in sight; typing it goes there. Changes nothing else.

The picture stands still while labels are shown, so that no row moves under its label.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from rich.segment import Segment
from textual import events
from textual.app import ComposeResult
from textual.screen import ModalScreen
from textual.strip import Strip as Cells
from textual.widget import Widget

from console.state.jump_labels import labels
from console.tui import picture
from console.tui.canvas import Panel
from console.tui.polling import later
from console.tui.strip import Strip
from console.tui.vtable import VTable

if TYPE_CHECKING:
    from console.tui.app import TrinityApp

HEAD: Final = 2
"""Lines of a table above its rows."""
Go = Callable[[], Awaitable[None] | None]


class Target(msgspec.Struct, frozen=True):
    """A place on the screen and how to get there."""

    x: int
    y: int
    go: Go


class JumpMode:
    """The part behind `J`."""

    def __init__(self, app: TrinityApp) -> None:
        self.app = app

    def begin(self) -> None:
        self.app.run_worker(later(self._jump), exit_on_error=False, group="jump", exclusive=True)

    async def _jump(self) -> None:
        found = self.targets()
        named = dict(zip(labels(len(found)), found, strict=False))
        chosen = await self.app.push_screen_wait(JumpScreen(picture.strips(self.app), named))
        if chosen is not None:
            result = named[chosen].go()
            if result is not None:
                await result

    def targets(self) -> list[Target]:
        """The rows of the table in use first, then panels, views and crumbs, then other rows."""
        app = self.app
        focused = app.screen.focused
        panels = [panel for panel in app.view.query(Panel) if panel.display and panel.region.area and panel.can_focus]
        tables = sorted((p for p in panels if isinstance(p, VTable)), key=lambda table: table is not focused)
        out = rows_of(tables[0]) if tables else []
        out += [Target(max(0, panel.region.x - 1), panel.region.y, focusing(panel)) for panel in panels]
        strip = app.query_one(Strip)
        for start, _, go in strip.zones:
            out.append(Target(strip.region.x + start, strip.region.y, go))
        for table in tables[1:]:
            out += rows_of(table)
        return out


def focusing(panel: Widget) -> Go:
    """Going to a panel gives it the keys."""

    def focus() -> None:
        panel.focus()

    return focus


def rows_of(table: VTable[Any]) -> list[Target]:
    """The rows in sight; going to one puts the cursor on that row, wherever it is by then."""

    def go(key: str) -> Go:
        def select() -> None:
            table.focus()
            table.model.select(key)
            table.moved()

        return select

    region, model = table.region, table.model
    shown = range(table.top, min(len(model), table.top + max(0, region.height - HEAD)))
    return [Target(region.x, region.y + HEAD + at, go(model.keys[index])) for at, index in enumerate(shown)]


class JumpScreen(ModalScreen[str | None]):
    """The picture with labels on it. Letters narrow, esc and anything else leaves."""

    def __init__(self, shown: Sequence[Cells], targets: dict[str, Target]) -> None:
        super().__init__()
        self.shown, self.targets = shown, targets
        self.typed = ""

    def compose(self) -> ComposeResult:
        yield Labels(self)

    def on_key(self, event: events.Key) -> None:
        event.stop()
        typed = self.typed + (event.character or "")
        if event.key == "backspace" and self.typed:
            self.typed = ""
        elif event.is_printable and any(label.startswith(typed) for label in self.targets):
            self.typed = typed
        else:
            self.dismiss(None)
            return
        if self.typed in self.targets:
            self.dismiss(self.typed)
        else:
            self.query_one(Labels).refresh()

    def on_click(self) -> None:
        self.dismiss(None)

    def on_resize(self, event: events.Resize) -> None:
        """Another size: the picture is of the past."""
        if self.shown and event.size.height != len(self.shown):
            self.dismiss(None)


class Labels(Widget):
    """The picture, line by line, labels in reverse: readable without colour."""

    DEFAULT_CSS = "Labels { width: 1fr; height: 1fr; }"

    def __init__(self, jump: JumpScreen) -> None:
        super().__init__()
        self.jump = jump

    def render_line(self, y: int) -> Cells:
        if y >= len(self.jump.shown):
            return Cells.blank(self.size.width)
        line = self.jump.shown[y]
        ink = cast("TrinityApp", self.app).ink
        typed = self.jump.typed
        here = sorted((t.x, label) for label, t in self.jump.targets.items() if t.y == y and label.startswith(typed))
        parts: list[Cells] = []
        at = 0
        for x, label in here:
            if x < at:
                continue
            mark = [Segment(typed, ink.style("muted r", "background"))] if typed else []
            mark.append(Segment(label[len(typed) :], ink.style("accent b r", "background")))
            parts += [line.crop(at, x), Cells(mark, len(label))]
            at = x + len(label)
        return Cells.join([*parts, line.crop(at)])
