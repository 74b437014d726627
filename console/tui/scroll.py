"""A panel of lines that can be scrolled: descriptions, help, raw data. Owns the offset, not the lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

from console.render.spans import EMPTY, Line
from console.tui.canvas import Panel


class ScrollPanel(Panel):
    """`write(width)` gives all lines; the panel shows a window of them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "scroll_by(1)", "down", id="scroll.down", show=False),
        Binding("up,k", "scroll_by(-1)", "up", id="scroll.up", show=False),
        Binding("pagedown,space", "scroll_page(1)", "page down", id="scroll.pagedown", show=False),
        Binding("pageup", "scroll_page(-1)", "page up", id="scroll.pageup", show=False),
        Binding("home", "edge(0)", "top", id="scroll.home", show=False),
        Binding("end,G", "edge(1)", "bottom", id="scroll.end", show=False),
    ]

    def __init__(
        self,
        name_now: Callable[[], str],
        write: Callable[[int], Sequence[Line]],
        *,
        id: str | None = None,  # noqa: A002 - Textual's name
    ) -> None:
        super().__init__(id=id)
        self.name_now, self.write = name_now, write
        self.top = 0
        self._total = 0

    @property
    def heading(self) -> str:  # type: ignore[override] # it changes with what is described
        return self.name_now()

    def info(self) -> Line:
        shown = max(1, self.size.height - 1)
        if self._total <= shown:
            return EMPTY
        return ((f"{self.top + 1}-{min(self._total, self.top + shown)} of {self._total}", "faint"),)

    def body(self, width: int, height: int) -> Sequence[Line]:
        lines = self.write(width)
        self._total = len(lines)
        self.top = max(0, min(self.top, self._total - height))
        return lines[self.top : self.top + height]

    def action_scroll_by(self, delta: int) -> None:
        self.top = max(0, self.top + delta)
        self.sync()

    def action_scroll_page(self, direction: int) -> None:
        self.action_scroll_by(direction * max(1, self.size.height - 2))

    def action_edge(self, end: int) -> None:
        self.top = self._total if end else 0
        self.sync()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.action_scroll_by(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.action_scroll_by(-3)
