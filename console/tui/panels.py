"""The small panels: fleet line, scaling, feed. Each paints from the app's state."""

from __future__ import annotations

from collections.abc import Sequence

from console.render import panels, units
from console.render.spans import EMPTY, Line
from console.tui.canvas import Canvas, Panel


class FleetLine(Canvas):
    """The first line of the screen."""

    DEFAULT_CSS = "FleetLine { height: 1; background: $panel; }"
    surface = "panel"

    def paint(self, width: int, height: int) -> Sequence[Line]:
        return [panels.fleet_line(self.trinity.state, width, self.trinity.clock.now())]


class ScalingPanel(Panel):
    """What the autoscaler sees and wants."""

    heading = "Scaling"

    def info(self) -> Line:
        return (("a ", "accent"), ("switches", "faint")) if self.trinity.state.scaling else EMPTY

    def body(self, width: int, height: int) -> Sequence[Line]:
        return panels.scaling_lines(self.trinity.state.scaling, width, self.trinity.clock.now())


class Feed(Panel):
    """Events and actions, newest first."""

    heading = "Events and actions"

    def info(self) -> Line:
        state = self.trinity.state
        unseen = len(state.unacknowledged())
        return ((units.plural(unseen, "alarm"), "error b"),) if unseen else EMPTY

    def body(self, width: int, height: int) -> Sequence[Line]:
        state = self.trinity.state
        return panels.feed_lines(state.events, state.actions, width, height)


class LogsToCome(Panel):
    """Where the log lines will be."""

    heading = "Logs"

    def body(self, width: int, height: int) -> Sequence[Line]:
        return [EMPTY, ((" asking for lines …", "faint"),)]
