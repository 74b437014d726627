"""The line in which a log pattern is typed, in place of the strip: what is typed shows its effect at once. Owns no
pattern; tells the logs view."""

from __future__ import annotations

from typing import ClassVar, Final

from textual import on
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input

from console.state.log_explorer import Kind

PLACEHOLDERS: Final[dict[Kind, str]] = {
    "search": "search: text or a regular expression",
    "include": "keep lines with: text or a regular expression",
    "exclude": "leave out lines with: text or a regular expression",
}


class LogBar(Input):
    """Enter applies, escape takes back."""

    DEFAULT_CSS = """
    LogBar, LogBar:focus {
        dock: bottom; height: 1; border: none; padding: 0 1; background: $panel; color: $foreground;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "take back", show=False),
        Binding("up,down,pageup,pagedown", "ignore", show=False, priority=True),
    ]

    class Typed(Message):
        """The pattern as it stands now."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Applied(Message):
        """Enter."""

    class Cancelled(Message):
        """Escape."""

    def __init__(self, kind: Kind, text: str) -> None:
        super().__init__(text, placeholder=PLACEHOLDERS[kind], compact=True, select_on_focus=True)
        self.kind = kind
        self.cursor_blink = False

    @on(Input.Changed)
    def changed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Typed(event.value))

    @on(Input.Submitted)
    def submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Applied())

    def action_cancel(self) -> None:
        self.post_message(self.Cancelled())

    def action_ignore(self) -> None:
        """The lines stand still while one types."""
