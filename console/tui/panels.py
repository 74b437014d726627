"""The small panels: fleet line, scaling, feed, log pane. Each paints from the app's state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

from console.render import panels, units
from console.render.spans import EMPTY, Line, fit_line
from console.state.logs import LogRing
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


class LogPane(Panel):
    """Lines of a ring, newest at the bottom; scrolls back without losing what arrives meanwhile."""

    heading = "Logs"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll_by(1)", "back", id="log.up", show=False),
        Binding("down,j", "scroll_by(-1)", "forward", id="log.down", show=False),
        Binding("pageup", "scroll_page(1)", "page back", id="log.pageup", show=False),
        Binding("pagedown", "scroll_page(-1)", "page forward", id="log.pagedown", show=False),
        Binding("home", "oldest", "oldest held", id="log.home", show=False),
        Binding("end,G", "follow", "newest, follow", id="log.end", show=False),
        Binding("w", "wrap", "wrap long lines", id="log.wrap", show=False),
    ]

    def __init__(self, ring: LogRing, *, short: bool = False, id: str | None = None) -> None:  # noqa: A002 - Textual's
        super().__init__(id=id)
        self.ring = ring
        self.short = short
        self.shown: list[str] = []
        self.back = 0
        """Lines between the bottom of the pane and the newest line; 0 follows."""
        self.wrap = False
        self._seen = 0

    def info(self) -> Line:
        ring = self.ring
        who = ", ".join(self.shown[:2]) + (f" +{len(self.shown) - 2}" if len(self.shown) > 2 else "")
        parts: list[tuple[str, str]] = [(who or "all replicas", "text")]
        if ring.find:
            parts += [(f"  /{ring.find}", "accent"), (f" {ring.count()} lines", "muted")]
        if self.back:
            parts.append((f"  paused, {units.count(self.back)} newer below", "warn"))
        older = ring.released + ring.left_out
        if older:
            parts.append((f"  {units.count(older)} older on disk only", "faint"))
        return tuple(parts)

    def arrived(self, count: int) -> None:
        """New lines are in the ring; while scrolled back the view stays where it is."""
        if self.back and not self.ring.find:
            self.back += count
        self.sync()

    def body(self, width: int, height: int) -> Sequence[Line]:
        many = len(self.shown) != 1
        name_width = max((len(name) for name in self.shown), default=8) if many else 0
        rows = self.ring.matching(height, skip=self.back)
        if not rows:
            words = f"no line contains {self.ring.find!r}" if self.ring.find else "no lines yet"
            return [fit_line(((words, "faint"),), width)]
        lines: list[Line] = []
        size, find, short = min(14, name_width), self.ring.find, self.short
        for row in rows:
            if self.wrap:
                lines += _wrapped_row(panels.log_line(row, 4000, name_width=size, find=find, short=short), width)
            else:
                lines.append(panels.log_line(row, width, name_width=size, find=find, short=short))
        return lines[-height:]

    def action_scroll_by(self, delta: int) -> None:
        limit = max(0, self.ring.count() - max(1, self.size.height - 1))
        self.back = max(0, min(limit, self.back + delta))
        self.sync()

    def action_scroll_page(self, direction: int) -> None:
        self.action_scroll_by(direction * max(1, self.size.height - 2))

    def action_oldest(self) -> None:
        self.action_scroll_by(len(self.ring.rows))

    def action_follow(self) -> None:
        self.back = 0
        self.sync()

    def action_wrap(self) -> None:
        self.wrap = not self.wrap
        self.sync()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.action_scroll_by(3)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.action_scroll_by(-3)


def _wrapped_row(line: Line, width: int) -> list[Line]:
    """A long line on several, at cell borders; continuation is indented."""
    cells = [(character, style) for text, style in line for character in text]
    while cells and cells[-1][0] == " ":
        cells.pop()
    out: list[Line] = []
    indent = ""
    while cells or not out:
        room = max(1, width - len(indent))
        chunk, cells = cells[:room], cells[room:]
        out.append(fit_line(((indent, "text"), *chunk), width))
        indent = "           "
    return out
