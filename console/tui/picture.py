"""What the screen shows, as strips and as text: for exports and for the jump mode. Touches Textual's compositor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.strip import Strip

if TYPE_CHECKING:
    from console.tui.app import TrinityApp


def strips(app: TrinityApp) -> list[Strip]:
    """A line of the screen each, as it is now."""
    return list(app.screen._compositor.render_strips())


def text(app: TrinityApp) -> str:
    """The screen's text, without colours and without blanks at the ends of lines."""
    return "".join(f"{strip.text.rstrip()}\n" for strip in strips(app))
