"""`Y`: what is selected, to the terminal's clipboard. Owns what is copied of which panel.

A panel may say itself what of it is copied: `selected_text()` returns it, a line of a log for one.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from textual.widget import Widget

from console.render.plain_text import as_text, as_tsv
from console.render.units import count, plural
from console.state.clipboard import allowed, copy
from console.tui.canvas import Canvas
from console.tui.scroll import ScrollPanel
from console.tui.vtable import VTable

if TYPE_CHECKING:
    from console.tui.app import TrinityApp


class Copying:
    """The part behind `Y` and `:copy`."""

    def __init__(self, app: TrinityApp) -> None:
        self.app = app

    def copy(self) -> None:
        """Copy what is selected and say what it was."""
        refused = allowed(os.environ)
        if refused:
            self.app.say(refused, "warn")
            return
        text, what = self.selected()
        if not text.strip():
            self.app.say("There is nothing here to copy.", "muted")
            return
        made = copy(text, tmux="TMUX" in os.environ)
        self.write(made.sequence)
        if made.left_out:
            cut = f"; the last {count(made.left_out)} characters do not fit into a terminal's clipboard"
            self.app.say(f"✓ copied the beginning of {what}{cut}. E saves all of it to a file.", "warn")
        else:
            self.app.say(f"✓ copied {what}", "ok")

    def write(self, sequence: str) -> None:
        """Behind the frame that is under way. The driver's outlet takes it without waiting for the terminal, and it
        changes no cell, so the differ need not know."""
        driver = self.app._driver
        if driver is not None:
            driver.write(sequence)

    def selected(self) -> tuple[str, str]:
        """The text and words for it: marked rows, the row under the cursor, the text that is shown."""
        widget: Widget | None = self.app.screen.focused
        own = getattr(widget, "selected_text", None)
        if own is not None:
            return str(own()), "the line"
        table = widget if isinstance(widget, VTable) else None
        if isinstance(widget, ScrollPanel):
            name = " ".join(widget.heading.split()) or "the panel"
            return as_text(widget.write(max(20, widget.size.width))), f"the text of {name}"
        if table is None and isinstance(widget, Canvas):
            return as_text(widget.paint(*widget.size)), "the panel as it is shown"
        return self._rows(table or self.app.view.table())

    def _rows(self, table: VTable[Any] | None) -> tuple[str, str]:
        if table is None or table.model.current is None:
            return "", ""
        model = table.model
        items = model.chosen()
        text = as_tsv(model.columns, items, self.app.clock.now(), titles=len(items) > 1)
        if len(items) > 1:
            return text, f"{plural(len(items), 'row')} of {table.heading}"
        return text.rstrip("\n"), f"the row {model.key(items[0])}"
