"""Several fleets in one console: choosing a tab, each with its own way through the views, and the merged list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.tui.link import FleetLink
from console.tui.navigator import Trail

if TYPE_CHECKING:
    from console.tui.app import TrinityApp


class Fleets:
    """The part behind `<`, `>` and `M`."""

    def __init__(self, app: TrinityApp) -> None:
        self.app = app
        self._trails: dict[int, Trail] = {}

    async def step(self, delta: int) -> None:
        """The tab that many further, round and round."""
        links = self.app.links
        if len(links) < 2:
            self.app.say("There is one fleet here. Show others with --attach NAME=STATE_DIRECTORY.", "muted")
            return
        await self.choose(links[(links.index(self.app.link) + delta) % len(links)])

    async def choose(self, link: FleetLink) -> None:
        """Show that fleet, where one left it; live, even where the other was looked at in its past."""
        app = self.app
        if link is app.link and app.shown is link:
            return
        self._trails[id(app.link)] = app.navigator.trail()
        app.link = link
        app.look_at(link)
        await app.navigator.resume(self._trails.get(id(link), Trail()))

    async def named(self, name: str) -> None:
        """Show the fleet whose tab has that name."""
        link = next((link for link in self.app.links if link.name == name), None)
        if link is None:
            known = ", ".join(link.name for link in self.app.links)
            self.app.say(f"There is no fleet {name!r} here; choose one of {known}.", "warn")
        else:
            await self.choose(link)

    async def everywhere(self) -> None:
        """`M`: the replicas of all fleets in one list, or back from there."""
        if self.app.view_name == "everywhere":
            await self.app.navigator.back()
        else:
            await self.app.navigator.go("everywhere")
