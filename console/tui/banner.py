"""Lines above every view: a drill that runs or drills that are blocked; a platform that does not answer. None else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from backend.contract.words import DrillOutcome
from console.render.drill_live import banner_line
from console.render.platform_panels import trouble_lines
from console.render.spans import Line
from console.state.drill_live import live
from console.tui.canvas import Canvas

LINES_FOR_TWO: Final = 20
"""A lower screen needs its lines for what it shows."""


class DrillBanner(Canvas):
    """Phase, elapsed time and the key that stops it; the timeline says the same itself, so there it is not shown."""

    DEFAULT_CSS = "DrillBanner { height: 1; background: $panel; display: none; }"
    surface = "panel"

    def update(self) -> None:
        """Come and go with what there is to say."""
        snapshot, view_name = self.trinity.state.snapshot, self.trinity.view_name
        running = snapshot is not None and snapshot.drill is not None
        running = running and snapshot.drill.outcome == DrillOutcome.RUNNING  # type: ignore[union-attr] # looked at above
        blocked = bool(snapshot is not None and snapshot.drills_blocked)
        self.display = blocked or (running and view_name != "drill-run")
        self.sync()

    def paint(self, width: int, height: int) -> Sequence[Line]:
        snapshot = self.trinity.state.snapshot
        if snapshot is None:
            return []
        run = live(snapshot.drill, snapshot.ts) if snapshot.drill is not None else None
        return [banner_line(run, snapshot.drills_blocked, width, read_only=self.trinity.read_only)]


class TroubleBanner(Canvas):
    """Why what is shown may be old, and the remedy; it goes by itself."""

    DEFAULT_CSS = "TroubleBanner { height: 1; background: $panel; display: none; }"
    surface = "panel"

    def update(self) -> None:
        """Come and go with the trouble."""
        trouble = self.trinity.state.trouble
        self.display = trouble is not None
        if trouble is not None:
            self.styles.height = len(self._lines(self.app.size.width))
        self.sync()

    def _lines(self, width: int) -> list[Line]:
        trouble = self.trinity.state.trouble
        return trouble_lines(trouble, width, 2 if self.app.size.height >= LINES_FOR_TWO else 1) if trouble else []

    def paint(self, width: int, height: int) -> Sequence[Line]:
        return self._lines(width)[:height]
