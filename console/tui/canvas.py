"""A widget that paints lines of spans and repaints only the columns that changed. Every panel is one.

Owns the last painted lines; knows nothing of what they say. A panel that fails shows its error in place.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, ClassVar, cast

from rich.segment import Segment
from textual import events
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from console.render.panels import title, wrapped
from console.render.spans import EMPTY, Line, changed_columns, fit_line

if TYPE_CHECKING:
    from console.tui.app import TrinityApp

log = logging.getLogger("trinity.console")


class Canvas(Widget):
    """Subclasses return lines from `paint`; `sync` brings the screen up to date with as few cells as possible."""

    DEFAULT_CSS = "Canvas { width: 1fr; height: 1fr; background: $background; }"
    ALLOW_SELECT = False
    surface: ClassVar[str] = "background"

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id, classes=classes)
        self._painted: list[Line] = []
        self._painted_width = -1
        self._strips: dict[int, Strip] = {}
        self._finished: dict[int, Strip] = {}
        """The same after the app's filters (NO_COLOR)."""
        self._whole: list[Strip] = []
        """All of them, where none has changed since."""
        self.failure = ""

    @property
    def trinity(self) -> TrinityApp:
        """The app, by its own type."""
        return cast("TrinityApp", self.app)

    def paint(self, width: int, height: int) -> Sequence[Line]:
        """Lines for that many cells; missing ones are blank."""
        raise NotImplementedError

    def sync(self) -> None:
        """Paint again and mark what differs from the screen."""
        width, height = self.size
        if width <= 0 or height <= 0 or not self.is_mounted:
            return
        fresh = self._paint_safely(width, height)
        if width != self._painted_width or len(fresh) != len(self._painted):
            self._painted, self._painted_width = fresh, width
            self._clear_strips()
            self.refresh()
            return
        dirty: list[Region] = []
        for y, (old, new) in enumerate(zip(self._painted, fresh, strict=True)):
            spans = changed_columns(old, new)
            if spans:
                self._strips.pop(y, None)
                self._finished.pop(y, None)
                self._whole = []
                dirty += [Region(start, y, end - start, 1) for start, end in spans if end > start]
        self._painted = fresh
        if dirty:
            self.refresh(*dirty)

    def forget(self) -> None:
        """Everything must be painted again (theme or size changed)."""
        self._painted_width = -1
        self._clear_strips()
        self.sync()

    def _clear_strips(self) -> None:
        self._strips.clear()
        self._finished.clear()
        self._whole = []

    def _paint_safely(self, width: int, height: int) -> list[Line]:
        try:
            lines = list(self.paint(width, height))[:height]
            self.failure = ""
        except Exception as error:  # shown in place and logged: one panel must not take the app down
            if self.failure != repr(error):
                log.exception("panel %s failed", self.id or type(self).__name__)
            self.failure = repr(error)
            words = f"This panel failed: {type(error).__name__}: {error}. The rest goes on; details are in the log."
            lines = wrapped(words, width, "error")[:height]
        before = self._painted if width == self._painted_width else []
        fitted = [
            old if line == old else fit_line(line, width) for line, old in zip_longest(lines, before[: len(lines)])
        ]
        return fitted + [fit_line(EMPTY, width)] * (height - len(fitted))

    def render_lines(self, crop: Region) -> list[Strip]:
        """For every frame the compositor asks every widget for all of its lines: those that stand cost a look-up."""
        size = self.size
        if size != self.outer_size:
            return super().render_lines(crop)  # borders and padding are Textual's
        whole = crop == (0, 0, *size)
        if whole and self._whole:
            return self._whole
        finished, lines = self._finished, []
        for y in crop.line_range:
            strip = finished.get(y)
            if strip is None:
                strip = self.render_line(y)
                for one in self.get_line_filters():
                    strip = strip.apply_filter(one, self.background_colors[1])
                finished[y] = strip
            lines.append(strip)
        if whole:
            self._whole = lines
        elif crop.column_span != (0, size.width):
            lines = [strip.crop(*crop.column_span) for strip in lines]
        return lines

    def render_line(self, y: int) -> Strip:
        strip = self._strips.get(y)
        if strip is None:
            colors = self.trinity.ink
            line = self._painted[y] if y < len(self._painted) else fit_line(EMPTY, self.size.width)
            plain = self.trinity.stand_ins
            segments = [
                Segment(text.translate(plain) if plain else text, colors.style(style, self.surface))
                for text, style in line
            ]
            strip = self._strips[y] = Strip(segments, self.size.width)
        return strip

    def on_resize(self, _: events.Resize) -> None:
        self.forget()

    def on_show(self) -> None:
        self.sync()


class Panel(Canvas):
    """A canvas with a title line. Subclasses name themselves and paint a body."""

    can_focus = True
    heading: ClassVar[str] = ""

    def info(self) -> Line:
        """What stands at the right of the title."""
        return EMPTY

    def body(self, width: int, height: int) -> Sequence[Line]:
        raise NotImplementedError

    def paint(self, width: int, height: int) -> Sequence[Line]:
        head = title(self.heading, self.info(), width, self.trinity.theme_spec.shape, focused=self.has_focus)
        return [head, *self.body(width, height - 1)]

    def on_focus(self) -> None:
        self.sync()

    def on_blur(self) -> None:
        self.sync()
