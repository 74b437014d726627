"""Two instants side by side: A, which was marked, and the one on screen, which may be the present."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from console.render.compare import comparison_lines, how_to_lines
from console.render.spans import Line
from console.tui.scroll import ScrollPanel
from console.tui.views.base import View


class CompareView(View):
    """Follows the playhead: what differs is worked out anew for each instant."""

    DEFAULT_CSS = "CompareView { padding: 0 1; }"
    label = "Compare"
    keys = (("c", "A is here"), ("t", "travel"), ("esc", "back"))
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "app.on('travel','mark')", "mark this instant as A", id="compare.mark", show=False),
    ]

    def __init__(self) -> None:
        super().__init__(id="view-compare")

    def compose(self) -> ComposeResult:
        yield ScrollPanel(lambda: "Compare", self._lines, id="compare")

    def _lines(self, width: int) -> Sequence[Line]:
        travel = self.trinity.part("travel")
        found = travel.comparison()
        if found is None:
            return how_to_lines(width)
        return comparison_lines(found, width, travel.now(), travel.known_from())

    def activate(self) -> None:
        super().activate()
        self.query_one(ScrollPanel).focus()
