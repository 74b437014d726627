"""The fleets of one daemon, as a console shows them: one in its first tab, the others beside it.

Asks the daemon when it is asked, and not by itself; starts nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from backend.contract.control import FleetInfo
from backend.contract.errors import Unreachable
from console.state.source import FleetSource


class DaemonClient(FleetSource, Protocol):
    """A source that knows the daemon's other fleets too."""

    async def fleets(self) -> Sequence[FleetInfo]: ...


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

    def source(self, name: str) -> FleetSource:
        """What one of them is read from."""
        return self._client(name)
