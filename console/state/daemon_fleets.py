"""The fleets of one daemon, as a console shows them: one in its first tab, the others beside it.

Asks the daemon when it is asked, and not by itself; starts nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from backend.contract.address import parse_address
from backend.contract.control import FleetInfo, FleetOrder
from backend.contract.errors import Unreachable
from backend.contract.platform import Neighbours
from console.state.source import FleetSource


class DaemonClient(FleetSource, Protocol):
    """A source that knows the daemon's other fleets too."""

    async def fleets(self) -> Sequence[FleetInfo]: ...

    async def add_fleet(self, order: FleetOrder) -> FleetInfo: ...

    async def forget_fleet(self, name: str, *, down: bool = False) -> None: ...

    async def neighbours(self) -> Neighbours: ...


class DaemonFleets:
    """`client(name)` speaks about that fleet, `client(None)` about the daemon's first."""

    def __init__(self, client: Callable[[str | None], DaemonClient]) -> None:
        self._client = client
        self._shown: str | None = None
        self._begun = False

    def begin(self, shown: str | None) -> None:
        """From now on the daemon answers; the first tab shows that fleet, or the daemon's first (None)."""
        self._shown, self._begun = shown, True

    async def others(self) -> list[str]:
        """The names of those that the first tab does not show, in the daemon's order. Raises TrinityError."""
        if not self._begun:
            raise Unreachable("The daemon was not asked yet.")
        infos = await self._client(None).fleets()
        shown = self._shown or (infos[0].name if infos else "")
        return [info.name for info in infos if info.name != shown]

    async def neighbours(self, name: str | None) -> Neighbours:
        """What else can be looked at from one of them; from the first tab's (None). Raises TrinityError."""
        return await self._client(name or self._shown).neighbours()

    async def open(self, address: str, *, read_only: bool) -> tuple[str | None, FleetInfo]:
        """The fleet at that address, which the daemon looks after from now on, if it did not before: its name (None for
        the first tab's) and how it is. Raises TrinityError."""
        wanted = str(parse_address(address))
        infos = await self._client(None).fleets()
        info = next((known for known in infos if wanted in (known.name, known.address)), None)
        if info is None:
            info = await self._client(None).add_fleet(FleetOrder(address=wanted, read_only=read_only))
        return (None if info.name == (self._shown or infos[0].name) else info.name), info

    async def forget(self, name: str) -> None:
        """The daemon looks after it no more. Raises TrinityError."""
        await self._client(None).forget_fleet(name)

    def source(self, name: str) -> FleetSource:
        """What one of them is read from."""
        return self._client(name)
