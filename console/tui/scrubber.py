"""The bar of time travel, above the strip: keys and mouse on the recorded time. Only paints; the travel part acts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from textual import events
from textual.binding import Binding, BindingType

from console.render.scrubber import column_in, scrubber_lines
from console.render.spans import Line
from console.tui.canvas import Canvas
from console.tui.keys import view_bindings
from console.tui.strip import Strip

if TYPE_CHECKING:
    from console.tui.travel import Travel

LOW: Final = 18
"""Lines of the terminal under which the bar leaves its axis out."""


def _key(keys: str, call: str, says: str, name: str) -> Binding:
    """What asks for a time is taken before anything else: what is typed after it is never taken for other keys."""
    return Binding(keys, f"app.on('travel',{call})", says, id=f"travel.{name}", show=False, priority=name == "ask")


class Scrubber(Canvas):
    """Focusable; `tab` goes on to the panels, which show the instant that is held."""

    DEFAULT_CSS = "Scrubber { height: 3; background: $panel; }"
    can_focus = True
    heading = "Time travel"
    surface = "panel"
    BINDINGS: ClassVar[list[BindingType]] = [
        *view_bindings(),
        _key("left", "'step',-1", "a second back", "left"),
        _key("right", "'step',1", "a second on", "right"),
        _key("shift+left", "'step',-60", "a minute back", "far-left"),
        _key("shift+right", "'step',60", "a minute on", "far-right"),
        _key("comma,N", "'step_event',-1", "what happened before", "before"),
        _key("full_stop,n", "'step_event',1", "what happened next", "next"),
        _key("home", "'edge',-1", "the first instant", "home"),
        _key("end", "'edge',1", "the newest instant", "end"),
        _key("at", "'ask'", "go to a time", "ask"),
        _key("z", "'zoom',0.5", "less of the time, closer", "closer"),
        _key("Z", "'zoom',2.0", "more of the time", "farther"),
        _key("space", "'play'", "play, faster, stand", "play"),
        _key("c", "'compare'", "mark this instant, then compare with it", "compare"),
        _key("escape", "'leave'", "back to live", "leave"),
    ]

    def __init__(self, travel: Travel) -> None:
        super().__init__(id="scrubber")
        self.travel = travel

    def on_mount(self) -> None:
        self._fit()

    def on_resize(self, _: events.Resize) -> None:
        self._fit()
        self.forget()

    def _fit(self) -> None:
        self.styles.height = 2 if self.app.size.height < LOW else 3

    def paint(self, width: int, height: int) -> Sequence[Line]:
        scrub = self.travel.scrub
        return scrubber_lines(scrub, self.travel.bar(focused=self.has_focus), width, height) if scrub else []

    def on_focus(self) -> None:
        self.call_later(self._focus_changed)

    def on_blur(self) -> None:
        self.call_later(self._focus_changed)

    def _focus_changed(self) -> None:
        """Once it is so: this widget hears of it before its own state is set."""
        self.sync()
        self.trinity.screen_stack[0].query_one(Strip).sync()

    def on_click(self, event: events.Click) -> None:
        self.focus()
        self.travel.go_to_column(*column_in(event.x, self.size.width))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.travel.zoom(0.5)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.travel.zoom(2.0)
