"""The tabs of the fleets, above everything, where there is more than one. A click chooses."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events

from console.render.spans import Line
from console.render.tab_line import Tab, tab_line
from console.render.words import driver_word
from console.tui.canvas import Canvas
from console.tui.link import FleetLink


class TabLine(Canvas):
    """Hidden while there is one fleet."""

    DEFAULT_CSS = "TabLine { height: 1; background: $panel; }"
    surface = "panel"

    def __init__(self) -> None:
        super().__init__(id="tab-line")
        self._places: list[tuple[int, int]] = []

    def on_mount(self) -> None:
        self.count()

    def count(self) -> None:
        """There may be more fleets now, or fewer."""
        self.display = len(self.trinity.links) > 1

    def paint(self, width: int, height: int) -> Sequence[Line]:
        app = self.trinity
        line, self._places = tab_line([_tab(link, chosen=link is app.link) for link in app.links], width)
        return [line]

    async def on_click(self, event: events.Click) -> None:
        for link, (start, end) in zip(self.trinity.links, self._places, strict=False):
            if start <= event.x < end:
                await self.trinity.part("fleets").choose(link)


def _tab(link: FleetLink, *, chosen: bool) -> Tab:
    state = link.state
    health = state.snapshot.health if state.snapshot is not None else ""
    driver = "" if state.driver == "local" else driver_word(state.driver)
    return Tab(link.name, "stale" if link.out_of_sight else health, len(state.unacknowledged()), chosen, driver)
