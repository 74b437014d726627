"""The line that `/` opens in place of the strip: what is typed narrows the view at once. Owns no filter."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual import on
from textual.binding import Binding, BindingType
from textual.widgets import Input

if TYPE_CHECKING:
    from console.tui.app import TrinityApp


class FilterBar(Input):
    """Enter keeps the filter, escape clears it."""

    DEFAULT_CSS = """
    FilterBar, FilterBar:focus {
        dock: bottom; height: 1; border: none; padding: 0 1; background: $panel; color: $foreground;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "clear", "clear the filter", show=False),
        Binding("down,up", "keep", "back to the rows", show=False, priority=True),
    ]

    def __init__(self, text: str) -> None:
        super().__init__(text, placeholder="filter: words, or letters in order", compact=True, select_on_focus=False)
        self.cursor_blink = False

    @property
    def trinity(self) -> TrinityApp:
        return cast("TrinityApp", self.app)

    @on(Input.Changed)
    def narrow(self, event: Input.Changed) -> None:
        event.stop()
        self.trinity.view.set_filter(event.value)

    @on(Input.Submitted)
    def submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.trinity.close_filter()

    def action_clear(self) -> None:
        self.trinity.view.set_filter("")
        self.trinity.close_filter()

    def action_keep(self) -> None:
        self.trinity.close_filter()
