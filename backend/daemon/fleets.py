"""All fleets of a daemon: the first, which its plain routes and its monitoring show, and further ones beside it.

Owns which fleets there are and the file that lists them. A fleet that cannot be opened stops neither the daemon nor
another fleet. What a fleet does is its own parts' business.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
from collections.abc import Callable, Sequence

import msgspec

from backend.config.fleet_orders import config_of, fleet_of
from backend.config.known_fleets import KnownFleet, find_fleet, read_known, write_known
from backend.config.own_logs import get_logger
from backend.config.paths import StatePaths
from backend.config.resolve import FleetConfig
from backend.contract.control import FleetInfo, FleetOrder, SeriesPoint, Snapshot
from backend.contract.errors import Refused, TrinityError, UsageError
from backend.contract.words import Severity
from backend.daemon.last_applied import last_applied
from backend.daemon.one_fleet import MakeParts, OneFleet
from backend.daemon.parts import Parts
from backend.telemetry.exporter import Exposition

__all__ = ["Fleets", "MakeParts"]

_log = get_logger(__name__)


class Fleets:
    """`first` is there from the beginning; `open_others` opens those that the file lists; `end` ends all."""

    def __init__(
        self,
        daemon: StatePaths,
        first: KnownFleet,
        config: FleetConfig,
        make: MakeParts,
        *,
        shutdown: Callable[[], None],
    ) -> None:
        self._daemon, self._make, self._shutdown = daemon, make, shutdown
        self._changing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        paths = first.paths(daemon)
        self.first = OneFleet(
            first, paths, lambda: make(paths, config, True), shutdown=shutdown, own_socket=bool(first.slug)
        )
        self.first.prepare()
        self._all: dict[str, OneFleet] = {first.name: self.first}

    # -- life

    async def open_first(self) -> None:
        """Raises what keeps it from being opened."""
        await self.first.open()

    def open_others(self) -> None:
        """Those of the file, each behind everything else. A file that cannot be understood is said and kept aside."""
        path = self._daemon.fleets_file
        try:
            listed = read_known(path)
        except TrinityError as error:
            self._tell("fleets.unreadable", str(error))
            with contextlib.suppress(OSError):
                path.replace(path.with_name(f"{path.name}.unreadable"))
            listed = []
        for known in listed:
            if known.name not in self._all:
                self._add(known).keep_trying(self._not_opened)
        if self.first.known.slug and self.first.name not in {known.name for known in listed}:
            with contextlib.suppress(TrinityError):
                self._save()

    async def end(self, *, take_down: bool) -> None:
        """All of them: the further ones first, side by side. Nothing is raised."""
        async with self._changing:
            for fleet in self._all.values():
                if fleet.is_open:
                    fleet.surface.ended.set()
            others = [fleet for fleet in self._all.values() if fleet is not self.first]
            await asyncio.gather(*(fleet.end(take_down=take_down) for fleet in others))
            await self.first.end(take_down=take_down)

    # -- which there are

    def infos(self) -> list[FleetInfo]:
        """The first one first, the others as they were added."""
        return [fleet.info() for fleet in self._all.values()]

    def snapshot(self) -> Snapshot:
        """Of the first one."""
        return self.first.surface.snapshot()

    def series(self, seconds: int) -> Sequence[SeriesPoint]:
        """Of the first one."""
        return self.first.surface.series(seconds)

    def exposition(self) -> Exposition:
        """The first one's; where there are several, that of each which is open too, and how all of them are."""
        state = self.first.surface.exposition()
        if len(self._all) < 2:
            return state
        open_ones = {name: fleet for name, fleet in self._all.items() if fleet.is_open and fleet is not self.first}
        others = {name: fleet.surface.exposition() for name, fleet in open_ones.items()}
        return msgspec.structs.replace(state, fleets=tuple(self.infos()), others=others)

    def named(self, name: str) -> OneFleet:
        """Raises UsageError, with the nearest name, where there is none."""
        found = self._all.get(name)
        if found is not None:
            return found
        near = difflib.get_close_matches(name, self._all, n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]}?" if near else f"This daemon has: {', '.join(self._all)}."
        raise UsageError(f"There is no fleet `{name}` here.", hint)

    async def add(self, order: FleetOrder) -> FleetInfo:
        """Open one more and remember it. Raises UsageError for a name or an address that is taken or is none, FileError
        for a bad file, and what keeps the fleet from being opened; nothing is remembered then."""
        known = await asyncio.to_thread(fleet_of, order)
        async with self._changing:
            there = self._all.get(known.name) or (None if order.yaml else self._at(known))
            if there is not None:
                raise UsageError(
                    f"There is a fleet `{there.name}` already ({there.known.address}).",
                    f"Use it (--fleet {there.name}), or give the new one another name: --name NAME.",
                )
            fleet = self._add(known)
            try:
                await fleet.open()
                await asyncio.to_thread(self._save)
            except BaseException:
                del self._all[known.name]
                await fleet.end(take_down=False)
                raise
        self._tell("fleet.added", f"{known.name} ({known.address}) is looked after from now on.", Severity.INFO)
        return fleet.info()

    async def forget(self, name: str, *, take_down: bool) -> None:
        """Detach from it, or take it down with what it runs, and remember it no more. Raises UsageError for an unknown
        one and Refused for the first, which ends with the daemon."""
        async with self._changing:
            fleet = self.named(name)
            if fleet is self.first:
                raise Refused(
                    f"{name} is the fleet that this daemon was started with.", "End both with `trinity down`."
                )
            del self._all[name]
            try:
                await asyncio.to_thread(self._save)
            except BaseException:
                self._all[name] = fleet
                raise
            await fleet.end(take_down=take_down)
        how = "was taken down and forgotten" if take_down else "is looked after no more; what it runs goes on"
        self._tell("fleet.forgotten", f"{name} {how}.", Severity.INFO)

    def _at(self, known: KnownFleet) -> OneFleet | None:
        """The one at the same address of a platform."""
        found = find_fleet([fleet.known for fleet in self._all.values()], known.address)
        return self._all[found.name] if found is not None else None

    def _add(self, known: KnownFleet) -> OneFleet:
        paths = known.paths(self._daemon)

        def make() -> Parts:
            return self._make(paths, config_of(known, last_applied(paths.wanted_file)), False)

        def shut_down() -> None:
            task = asyncio.get_running_loop().create_task(self._forget_quietly(known.name))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        fleet = OneFleet(known, paths, make, shutdown=shut_down, own_socket=bool(known.slug))
        self._all[known.name] = fleet
        return fleet

    async def _forget_quietly(self, name: str) -> None:
        with contextlib.suppress(TrinityError):
            await self.forget(name, take_down=True)

    def _save(self) -> None:
        """Raises TrinityError, with the old list intact, where it cannot be written."""
        listed: Sequence[KnownFleet] = [fleet.known for fleet in self._all.values() if fleet.known.slug]
        try:
            write_known(self._daemon.fleets_file, listed)
        except OSError as error:
            raise TrinityError(
                f"The list of fleets could not be written to {self._daemon.fleets_file}: {error.strerror}.",
                "Nothing was changed. Free some space or mend the permissions, then try again.",
            ) from error

    def _not_opened(self, name: str, cause: TrinityError) -> None:
        self._tell("fleet.not_opened", f"{name} cannot be opened: {cause} It is tried again.")

    def _tell(self, kind: str, words: str, severity: Severity = Severity.ERROR) -> None:
        """In the events of the first fleet, which whoever looks at this daemon sees."""
        _log.info(kind, words=words)
        if self.first.is_open:
            self.first.surface.parts.event(kind, severity, self.first.name, words)
