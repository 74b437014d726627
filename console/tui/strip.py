"""The last line of the screen: where you are and what the next keys are, or the last message. Owns its timer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import Final

from textual import events
from textual.timer import Timer

from console.render.spans import EMPTY, Line, Span, clean, fit_line, join, line_width, text_width
from console.tui.canvas import Canvas
from console.tui.keymap import shown
from console.tui.navigator import Crumb

MESSAGE_S: Final = 8.0
CRUMB_GAP: Final = "   "
THEN: Final = " \u203a "
"""Between a place and the one that was gone to from it."""
METER_FROM: Final = 100
"""Narrower screens have room for keys only."""
CRUMBS_LEAVE: Final = 10
"""Columns that crumbs leave to the right of them, for the way to help or the link's traffic."""
Zone = tuple[int, int, Callable[[], Awaitable[None]]]
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
UNNUMBERED: Final = ("nodes", "ports")
"""Views with a key of their own."""


class Strip(Canvas):
    """Views on the left, keys and the link's traffic on the right; a message takes the whole line for a while."""

    DEFAULT_CSS = "Strip { dock: bottom; height: 1; background: $panel; }"
    surface = "panel"

    def __init__(self) -> None:
        super().__init__(id="strip")
        self.message: Line = ()
        self._timer: Timer | None = None
        self.zones: list[Zone] = []
        """Columns that can be clicked, or jumped to, and what that does."""

    def say(self, text: str, style: str) -> None:
        """Show a sentence; it goes by itself, or when the next one comes."""
        self.message = ((" ", "text"), (clean(text), style))
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(MESSAGE_S, self.quiet)
        self.sync()

    def quiet(self) -> None:
        """Take the message away."""
        self.message = ()
        self.sync()

    def paint(self, width: int, height: int) -> Sequence[Line]:
        self.zones = []
        if self.message:
            return [fit_line(self.message, width)]
        left, hints = self._views(width), self._hints()
        crumbs = () if self._lent else self._crumbs(width - line_width(left) - CRUMBS_LEAVE)
        if crumbs:
            left = (*left, *crumbs)
        for traffic in self.trinity.frames.meter_words(narrow=width < METER_FROM):
            for keys in (*hints, EMPTY) if traffic else hints:
                right = join((keys, traffic), ("  ", "text"))
                gap = width - line_width(left) - line_width(right) - 1
                if gap >= 2:
                    return [(*left, (" " * gap, "text"), *right, (" ", "text"))]
        return [fit_line(left, width)]

    @property
    def _lent(self) -> bool:
        """Whether something else than the view has the keys, and needs the room for saying which."""
        return self.trinity.current_view_keys() is not self.trinity.view.keys

    def _views(self, width: int) -> Line:
        current = self.trinity.view.home or self.trinity.view_name
        out: list[Span] = [(" ", "text")]
        roomy = width >= 78 and not self._lent
        for number, name, label in VIEWS:
            start = line_width(out)
            if name == current:
                out.append((f"{number} {label}", "accent b"))
            elif roomy:
                out += [(f"{number} ", "muted"), (label, "muted")]
            else:
                out.append((number, "muted"))
            self.zones.append((start, line_width(out), partial(self.trinity.navigator.go, name)))
            out.append(("  ", "text"))
        return tuple(out[:-1])

    def _crumbs(self, room: int) -> Line:
        """The way one came; as much of its end as there is room for."""
        trail = self.trinity.navigator.crumbs()
        while len(trail) > 1:
            out: list[Span] = [(CRUMB_GAP, "text")]
            for at, crumb in enumerate(trail):
                last = at == len(trail) - 1
                out.append((clean(crumb.words), "text b" if last else "muted"))
                if not last:
                    out.append((THEN, "faint"))
            if line_width(out) <= room:
                return self._with_zones(tuple(out), trail)
            trail = trail[1:]
        return ()

    def _with_zones(self, line: Line, trail: Sequence[Crumb]) -> Line:
        """Each crumb but the last can be gone back to."""
        at = self.zones[-1][1] + len(CRUMB_GAP)
        for crumb in trail[:-1]:
            self.zones.append((at, at + text_width(crumb.words), partial(self.trinity.navigator.back, crumb.steps)))
            at += text_width(crumb.words) + len(THEN)
        return line

    async def on_click(self, event: events.Click) -> None:
        """A view or a crumb; nothing else in this line does anything."""
        for start, end, go in self.zones:
            if start <= event.x < end:
                await go()
                return

    def _hints(self) -> list[Line]:
        """From the fullest to the shortest."""
        special = self.trinity.current_view_keys()
        defaults = (("go.filter", "/", "filter"), ("go.line", ":", "commands"), ("view.help", "?", "help"))
        known = {key for key, _ in special}
        every = ((shown(self.trinity, name, key).split()[0], word) for name, key, word in defaults)
        usual = tuple(pair for pair in every if pair[0] not in known)
        marks: Line = (("read-only ", "warn b"),) if self.trinity.read_only else ()
        limit, own = self.trinity.state.limit, self.trinity.view.verbs
        dim = {key for key, _ in special if key in own and limit(own[key])}
        variants = ((*special, *usual), (*special[:3], *usual[-2:]), usual[-2:], usual[-1:])
        return [(*marks, *_keys(variant, dim)) for variant in variants]


def _keys(pairs: Sequence[tuple[str, str]], dim: Collection[str]) -> Line:
    """Those in `dim` do nothing here."""
    out: list[Span] = []
    for key, word in pairs:
        quiet = key in dim
        out += [(key, "faint" if quiet else "accent"), (f" {word}", "faint" if quiet else "muted"), ("  ", "text")]
    return tuple(out[:-1])
