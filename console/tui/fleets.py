"""Several fleets in one console: choosing a tab, each with its own way through the views, tabs that
come and go with the daemon's fleets, and the merged list."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from backend.contract.errors import TrinityError
from console.tui.link import FleetLink
from console.tui.navigator import Trail
from console.tui.tab_line import TabLine

if TYPE_CHECKING:
    from textual.worker import Worker

    from console.state.daemon_fleets import DaemonFleets
    from console.tui.app import TrinityApp

log = logging.getLogger("trinity.console")
ASK_S: Final = 10.0
GLANCE_S: Final = 0.25


class Fleets:
    """The part behind `<`, `>` and `M`."""

    def __init__(self, app: TrinityApp) -> None:
        self.app = app
        self._trails: dict[int, Trail] = {}
        self._followed: dict[str, tuple[FleetLink, Worker[None]]] = {}
        """By name: those of the first tab's daemon."""

    async def step(self, delta: int) -> None:
        """The tab that many further, round and round."""
        links = self.app.links
        if len(links) < 2:
            self.app.say("There is one fleet here. Add others: trinity fleets add ADDRESS, or --attach DIR.", "muted")
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

    async def follow(self, daemon: DaemonFleets) -> None:
        """A tab for each further fleet of the daemon, for as long as the daemon has it."""
        while True:
            try:
                await self._agree(daemon, await daemon.others())
            except (TrinityError, OSError) as error:
                log.info("the daemon's fleets are not known: %s", error)
            await self._until_asked_again()

    async def _until_asked_again(self) -> None:
        """Some seconds later, or as soon as the first fleet's daemon is back."""
        first, was_live = self.app.links[0], self.app.links[0].state.link == "live"
        for _ in range(int(ASK_S / GLANCE_S)):
            await asyncio.sleep(GLANCE_S)
            is_live = first.state.link == "live"
            if is_live and not was_live:
                return
            was_live = is_live

    async def _agree(self, daemon: DaemonFleets, names: list[str]) -> None:
        """Tabs for those names and no others, besides those that were there from the beginning."""
        app = self.app
        for name in [name for name in self._followed if name not in names]:
            link, worker = self._followed.pop(name)
            worker.cancel()
            if app.link is link:
                await self.choose(app.links[0])
            app.links.remove(link)
            self._trails.pop(id(link), None)
        for name in names:
            if name not in self._followed:
                link = FleetLink(daemon.source(name), name=name)
                app.links.append(link)
                self._followed[name] = (link, app.attend(link))
        app.query_one(TabLine).count()
        app.refresh_panels()
