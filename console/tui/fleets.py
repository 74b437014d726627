"""Several fleets in one console: choosing a tab, each with its own way through the views, tabs that
come and go with the daemon's fleets, fleets that one asks for, and the merged list."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Final

from backend.contract.address import FleetAddress, parse_address
from backend.contract.errors import TrinityError
from backend.contract.platform import Neighbours
from console.render.units import plural
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
            self.app.say(
                "There is one fleet here. Add others: :fleet add ADDRESS (on Kubernetes :ns, :ctx), or --attach DIR.",
                "muted",
            )
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

    # -- fleets that the daemon does not look after yet

    def open(self, address: str) -> None:
        """Show the fleet at that address, in a tab of its own."""
        daemon = self._daemon()
        if daemon is not None:
            self.app.say(f"Opening {address} …", "muted")
            self._soon(self._open(daemon, address))

    def namespace(self, name: str) -> None:
        """Show that namespace of the chosen fleet's cluster."""
        self._beside(lambda at: FleetAddress(driver="kubernetes", context=at.context, part=name))

    def context(self, name: str) -> None:
        """Show that context, with the namespace that it names itself."""
        self._beside(lambda _: FleetAddress(driver="kubernetes", context=name))

    def forget(self, name: str) -> None:
        """The daemon looks after it no more, and its tab goes."""
        daemon = self._daemon()
        if daemon is None:
            return
        if self.app.read_only:
            self.app.say("This console only looks: trinity fleets forget does it.", "warn")
        elif name not in self._followed:
            words = "stays with this console; q leaves both." if name == self.app.links[0].name else "is not a tab."
            self.app.say(f"{name} {words}", "warn")
        else:
            self._soon(self._forget(daemon, name))

    async def ask_neighbours(self) -> Neighbours:
        """What else can be looked at from the chosen fleet; nothing where that is not known."""
        daemon, link = self.app.daemon_fleets, self.app.link
        name = next((name for name, (followed, _) in self._followed.items() if followed is link), None)
        if daemon is None or (name is None and link is not self.app.links[0]):
            return Neighbours()
        return await daemon.neighbours(name)

    def _daemon(self) -> DaemonFleets | None:
        if self.app.daemon_fleets is None:
            self.app.say("No daemon stands behind this console that could look after another fleet.", "warn")
        return self.app.daemon_fleets

    def _beside(self, where: Callable[[FleetAddress], FleetAddress]) -> None:
        daemon = self._daemon()
        if daemon is not None:
            self._soon(self._open_beside(daemon, where))

    async def _open_beside(self, daemon: DaemonFleets, where: Callable[[FleetAddress], FleetAddress]) -> None:
        if self.app.state.driver != "kubernetes":
            self.app.say("This fleet is not on Kubernetes: write :fleet add k8s:CONTEXT/NAMESPACE.", "warn")
            return
        here = (await self.ask_neighbours()).address
        if not here:
            self.app.say("Where this fleet is its daemon does not say: write :fleet add ADDRESS.", "warn")
            return
        address = str(where(parse_address(here)))
        self.app.say(f"Opening {address} …", "muted")
        await self._open(daemon, address)

    async def _open(self, daemon: DaemonFleets, address: str) -> None:
        name, info = await daemon.open(address, read_only=self.app.read_only)
        if name is None:
            await self.choose(self.app.links[0])
        else:
            await self._agree(daemon, await daemon.others())
            link = self._followed[name][0] if name in self._followed else None
            if link is not None:
                await self.choose(link)
        if info.health == "down" and info.health_reason:
            self.app.say(info.health_reason, "warn")
        else:
            self.app.say(f"{info.name}: {plural(info.replicas, 'replica')}.", "muted")

    async def _forget(self, daemon: DaemonFleets, name: str) -> None:
        await daemon.forget(name)
        await self._agree(daemon, await daemon.others())
        self.app.say(f"{name} is looked after no more; what runs there goes on.", "muted")

    def _soon(self, work: Coroutine[None, None, None]) -> None:
        """Keys go on meanwhile; what goes wrong is a sentence."""

        async def said() -> None:
            try:
                await work
            except TrinityError as error:
                self.app.say(str(error), "warn")

        self.app.run_worker(said(), exit_on_error=False, group="other-fleets", exclusive=True)

    # -- all of them

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
