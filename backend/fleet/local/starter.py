"""How a local replica's program is started: under a shim of its own, which outlives the daemon.

Owns launching, what a drill does to a start, and the files of a removed replica. Decides nothing.
"""

from __future__ import annotations

from typing import Final

from backend.config.paths import StatePaths
from backend.contract.clock import Clock
from backend.fleet.local import launching
from backend.fleet.local.drill_handle import DrillHandle
from backend.fleet.local.process import ShimIncarnation
from backend.fleet.supervision.seed import ReplicaSeed
from backend.shim.client import ShimClient

_LAUNCH_S: Final = 30.0
"""For a shim to execute its program; a tenth of a second on an idle machine."""


class ShimStarter:
    """One replica's. `fault_switch`: whether its program may be told where its fault switch is."""

    def __init__(self, name: str, paths: StatePaths, clock: Clock, *, fault_switch: bool) -> None:
        self._paths, self._clock = paths, clock
        self._present: ShimIncarnation | None = None
        self.marks = DrillHandle(name, clock, self._running, paths.fault_switch(name) if fault_switch else None)

    def busy(self) -> str:
        """A process starts at once."""
        return ""

    def hindrance(self) -> str:
        """A process can be started at any time."""
        return ""

    async def start(self, seed: ReplicaSeed) -> ShimIncarnation:
        """Launch a shim with the program. Raises TrinityError or OSError."""
        drill = self.marks
        if drill.switch is not None:
            drill.switch.unlink(missing_ok=True)
        spec = launching.shim_spec(seed, self._paths, switch=drill.switch, spoil=drill.spoil)
        return self.adopt(await ShimClient.launch(spec, timeout_s=_LAUNCH_S, clock=self._clock))

    def adopt(self, client: ShimClient) -> ShimIncarnation:
        """The incarnation behind a shim that runs."""
        self._present = ShimIncarnation(client)
        return self._present

    async def before_end(self) -> None:
        """A program that is stopped or frozen could not say that it is idle."""
        await self.marks.heal_all()

    async def forget(self, seed: ReplicaSeed) -> None:
        """Its files in the run directory."""
        paths = self._paths
        for path in (paths.shim_record(seed.name), paths.exit_record(seed.name), paths.fault_switch(seed.name)):
            path.unlink(missing_ok=True)

    def _running(self) -> ShimIncarnation | None:
        return None if self._present is None or self._present.released else self._present
