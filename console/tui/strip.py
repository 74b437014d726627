"""The last line of the screen: where you are and what the next keys are, or the last message. Owns its timer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from textual.timer import Timer

from console.render.spans import Line, Span, clean, fit_line, join, line_width
from console.tui.canvas import Canvas

MESSAGE_S: Final = 8.0
VIEWS: Final = (
    ("1", "overview", "Overview"),
    ("2", "fleet", "Fleet"),
    ("3", "requests", "Requests"),
    ("4", "logs", "Logs"),
    ("5", "journal", "Events"),
    ("6", "drills", "Drills"),
    ("7", "charts", "Charts"),
    ("8", "help", "Help"),
)


class Strip(Canvas):
    """Views on the left, keys and the link's traffic on the right; a message takes the whole line for a while."""

    DEFAULT_CSS = "Strip { dock: bottom; height: 1; background: $panel; }"
    surface = "panel"

    def __init__(self) -> None:
        super().__init__(id="strip")
        self.message: Line = ()
        self._timer: Timer | None = None

    def say(self, text: str, style: str) -> None:
        """Show a sentence; it goes by itself, or when the next one comes."""
        self.message = ((" ", "text"), (clean(text), style))
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(MESSAGE_S, self._silence)
        self.sync()

    def _silence(self) -> None:
        self.message = ()
        self.sync()

    def paint(self, width: int, height: int) -> Sequence[Line]:
        if self.message:
            return [fit_line(self.message, width)]
        left, hints = self._views(width), self._hints()
        for traffic in self.trinity.frames.meter_words():
            for keys in hints:
                right = join((keys, traffic), ("  ", "text"))
                gap = width - line_width(left) - line_width(right) - 1
                if gap >= 2:
                    return [(*left, (" " * gap, "text"), *right, (" ", "text"))]
        return [fit_line(left, width)]

    def _views(self, width: int) -> Line:
        current = self.trinity.view.home or self.trinity.view_name
        out: list[Span] = [(" ", "text")]
        for number, name, label in VIEWS:
            if name == current:
                out.append((f"{number} {label}", "accent b"))
            elif width >= 78:
                out += [(f"{number} ", "muted"), (label, "muted")]
            else:
                out.append((number, "muted"))
            out.append(("  ", "text"))
        return tuple(out[:-1])

    def _hints(self) -> list[Line]:
        """From the fullest to the shortest."""
        special = self.trinity.current_view_keys()
        usual = (("/", "filter"), (":", "commands"), ("?", "help"))
        marks: Line = (("read-only ", "warn b"),) if self.trinity.read_only else ()
        variants = ((*special, *usual), (*special[:3], *usual[1:]), usual[1:], usual[2:])
        return [(*marks, *_keys(variant)) for variant in variants]


def _keys(pairs: Sequence[tuple[str, str]]) -> Line:
    out: list[Span] = []
    for key, word in pairs:
        out += [(key, "accent"), (f" {word}", "muted"), ("  ", "text")]
    return tuple(out[:-1])
