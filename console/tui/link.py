"""One fleet that the console follows: its source, what is known of it, and the task that keeps it up to date.

Owns reconnecting; draws nothing. What is on screen is a link, or a past instant of one (`Shown`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from backend.contract.control import SeriesPoint, Snapshot
from backend.contract.errors import TrinityError, Unreachable
from backend.contract.rows import EventRow
from console.state.source import FleetSource
from console.state.store import FleetState

if TYPE_CHECKING:
    from console.tui.app import TrinityApp

log = logging.getLogger("trinity.console")

HISTORY_S = 330
FIRST_RETRY_S, LAST_RETRY_S = 0.2, 3.0


class Shown(Protocol):
    """What the panels read and the verbs act on."""

    @property
    def state(self) -> FleetState: ...

    @property
    def source(self) -> FleetSource: ...


class FleetLink:
    """Follows one fleet for ever; what was seen stays while it is gone."""

    def __init__(
        self, source: FleetSource, first: Snapshot | None = None, points: Sequence[SeriesPoint] = (), *, name: str = ""
    ) -> None:
        self.source = source
        self.state = FleetState(first, points)
        self._name = name

    @property
    def name(self) -> str:
        """What its tab says: the name it was given, else the fleet's own."""
        return self._name or (self.state.snapshot.fleet if self.state.snapshot else "…")

    @property
    def out_of_sight(self) -> bool:
        """What is known of it is how it was: its daemon, or its platform, does not answer."""
        return self.state.link == "stale" or self.state.trouble is not None

    async def attend(
        self, app: TrinityApp, interval_s: float, told: Callable[[FleetLink, list[EventRow]], None]
    ) -> None:
        """Follow; `told` after each change, with new events that nobody has acknowledged."""
        retry = FIRST_RETRY_S
        while True:
            try:
                app.run_worker(
                    self._load_history(told), exit_on_error=False, group=f"history {id(self)}", exclusive=True
                )
                async for frame in self.source.stream(interval_s):
                    retry = FIRST_RETRY_S
                    told(self, self.state.apply(frame))
                raise Unreachable("The daemon closed the stream.")
            except (TrinityError, OSError) as error:
                self.state.lost(str(error))
                told(self, [])
            await asyncio.sleep(retry)
            retry = min(LAST_RETRY_S, retry * 1.7)

    async def _load_history(self, told: Callable[[FleetLink, list[EventRow]], None]) -> None:
        """Charts and feeds begin with what the ledger holds."""
        try:
            points = await self.source.series(HISTORY_S)
            events = await self.source.rows("events", limit=500)
            actions = await self.source.rows("actions", limit=200)
        except (TrinityError, OSError) as error:
            log.info("no history yet: %s", error)
            return
        self.state.load_history(points, events, actions)  # type: ignore[arg-type] # the tables asked for
        told(self, [])
