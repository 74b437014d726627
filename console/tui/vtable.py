"""The virtual table: draws only the rows on screen from a table model, on the Line API.

Owns scrolling, cursor keys, the mouse and the lines it has painted; order, filter and marks live in the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Generic, TypeVar

from msgspec.structs import replace
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from console.render.spans import Line, Span, crop_middle, crop_text, fit_line, fit_text, join, on, text_width
from console.state.column import Column, Window, column_width, window
from console.state.table import TableModel
from console.tui.canvas import Panel

T = TypeVar("T")
GUTTER = 2
GAP = 2
LEFT_MORE = "‹ "  # noqa: RUF001 - a sign, not a quotation mark
RIGHT_MORE = "›"  # noqa: RUF001 - the same


class VTable(Panel, Generic[T]):
    """A focusable table over a model. Posts `Moved` when the cursor changes row and `Opened` on enter."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1)", "next row", id="table.down", show=False),
        Binding("up,k", "move(-1)", "row before", id="table.up", show=False),
        Binding("pagedown", "page(1)", "page down", id="table.pagedown", show=False),
        Binding("pageup", "page(-1)", "page up", id="table.pageup", show=False),
        Binding("home", "edge(0)", "first row", id="table.home", show=False),
        Binding("end,G", "edge(1)", "last row", id="table.end", show=False),
        Binding("left", "sideways(-1)", "columns to the left", id="table.left", show=False),
        Binding("right", "sideways(1)", "columns to the right", id="table.right", show=False),
        Binding("space", "mark", "mark", id="table.mark", show=False),
        Binding("V,shift+space", "mark_range", "mark from the last mark to here", id="table.range", show=False),
        Binding("asterisk", "mark_all", "mark every row shown", id="table.all", show=False),
        Binding("o", "sort", "sort by the next column", id="table.sort", show=False),
        Binding("O", "reverse", "turn the order round", id="table.reverse", show=False),
        Binding("enter", "open", "describe", id="table.open", show=False),
    ]

    class Moved(Message):
        """The cursor is on another row."""

    class Opened(Message):
        """Enter or a double click on a row."""

    def __init__(
        self,
        model: TableModel[T],
        heading: str,
        *,
        empty: str = "nothing here yet",
        note: Callable[[], Line] | None = None,
        id: str | None = None,  # noqa: A002 - Textual's name
    ) -> None:
        super().__init__(id=id)
        self.model = model
        self.heading_text = heading
        self.empty = empty
        self.note = note
        self.top = 0
        self.left = 0
        """How many columns are scrolled away to the left, behind the first."""
        self._window: Window[T] = Window()
        self._window_for: tuple[int, int, tuple[Column[T], ...]] = (-1, 0, ())
        self._widest: dict[str, int] = {}
        """Cells that the widest text took, of columns that end somewhere, by key."""
        self._needed: tuple[Column[T], ...] = ()
        self._needed_for: tuple[tuple[Column[T], ...], tuple[tuple[str, int], ...]] = ((), ())
        self._lines: dict[str, tuple[T, tuple[object, ...], Line]] = {}
        """Painted rows by key, each with the item and all else that it was painted from."""
        self._last_key: str | None = None
        self._offered: Sequence[Column[T]] = ()
        self.kept_as = id or ""
        """The name under which a choice of columns is kept."""

    def on_mount(self) -> None:
        self.model.clock = self.trinity.clock.now
        self.trinity.part("columns").restore(self)

    @property
    def heading(self) -> str:  # type: ignore[override] # a table's heading is given, not a class's constant
        return self.heading_text

    def info(self) -> Line:
        model = self.model
        hidden = model.hidden_marks
        words = f"{len(model.marks)} marked, {hidden} hidden" if hidden else f"{len(model.marks)} marked"
        marked: Line = ((words, "warn b" if hidden else "accent b"),) if model.marks else ()
        shown: Line = ((f"{len(model)} of {model.total}" if model.filter else str(model.total), "muted"),)
        if model.notes:  # it takes the room of the filter's words, which are read where they are typed
            return join((marked, shown, ((model.notes[0], "warn"),)), ("  ", "text"))
        typed: Line = ((f"/{model.filter}", "accent"),) if model.filter else ()
        return join((typed, marked, self.note() if self.note is not None else (), shown), ("  ", "text"))

    def offer(self, columns: Sequence[Column[T]], kind: str = "") -> None:
        """Other columns, e.g. of a fleet on another driver; what a person chose of them is kept for each `kind`."""
        if columns is not self._offered:
            self._offered, self.kept_as = columns, f"{self.id}-{kind}" if kind else self.id or ""
            self.model.offer(columns)
            self.left, self._window_for = 0, (-1, 0, ())
            self._widest.clear()
            self.trinity.part("columns").restore(self)

    def set_items(self, items: Sequence[T]) -> None:
        """Show new items; the cursor stays on its row."""
        self.model.set_items(items)
        self._follow()
        self.sync()

    def body(self, width: int, height: int) -> Sequence[Line]:
        rows = max(0, height - 1)
        self._keep_visible(rows)
        self._fit(width, rows)
        lines = [self._header(width)]
        if not len(self.model) and rows:
            words = f"no row matches /{self.model.filter} (esc clears it)" if self.model.filter else self.empty
            lines.append(fit_line(((" " * GUTTER, "text"), (words, "faint")), width))
        now = self.trinity.clock.now()
        focused = self.has_focus
        last = min(len(self.model), self.top + rows)
        if len(self._lines) > 4 * (rows + 1):
            self._lines.clear()
        lines.extend(self._row(index, width, now, focused) for index in range(self.top, last))
        return lines

    def _fit(self, width: int, rows: int) -> None:
        """Choose the columns for this width; painted rows hold as long as they stay the same."""
        columns = self._no_wider_than_needed(rows)
        if (width, self.left, columns) != self._window_for:
            self._window = window(columns, width - GUTTER, self.left, GAP)
            self.left = self._window.left
            self._window_for = (width, self.left, columns)
            self._lines.clear()

    def _no_wider_than_needed(self, rows: int) -> tuple[Column[T], ...]:
        """Columns that end somewhere end where the widest text seen in them does, and leave the rest to others. They
        never become narrower again: scrolling moves nothing to and fro."""
        columns, now = self.model.columns, self.trinity.clock.now()
        shown = [self.model.row(index)[1] for index in range(self.top, min(len(self.model), self.top + rows))]
        for column in columns:
            if column.most and shown:
                widest = max(text_width(column.cell(item, now)[0]) for item in shown)
                self._widest[column.key] = max(widest, self._widest.get(column.key, 0), column_width(column))
        known = (columns, tuple(self._widest.items()))
        if known != self._needed_for:
            self._needed_for = known
            self._needed = tuple(
                replace(column, most=min(column.most, self._widest.get(column.key, column.most)))
                if column.most
                else column
                for column in columns
            )
        return self._needed

    def _header(self, width: int) -> Line:
        spans: list[Span] = [(" " * GUTTER, "muted")]
        for at, (column, size) in enumerate(self._window.columns):
            arrow = ("↓" if self.model.descending else "↑") if column.key == self.model.sort_key else ""
            title = crop_text(column.title + (arrow if text_width(column.title) < size else ""), size)
            pad = (" " * (size - text_width(title)), "muted")
            told = (title, "muted u" if arrow else "muted")
            gap = LEFT_MORE if at == 0 and self._window.before else " " * GAP
            spans += [pad, told] if column.align == "right" else [told, pad]
            spans.append((gap, "accent"))
        if not self._window.after:
            return fit_line(spans[:-1], width)
        return (*fit_line(spans[:-1], width - 1), (RIGHT_MORE, "accent"))

    def _row(self, index: int, width: int, now: float, focused: bool) -> Line:
        key, item = self.model.row(index)
        here, marked = index == self.model.cursor, key in self.model.marks
        moving = tuple(column.cell(item, now) for column, _ in self._window.columns if column.timely)
        stamp = (here, marked, focused and here, moving)
        known = self._lines.get(key)
        if known is not None and known[0] is item and known[1] == stamp:
            return known[2]
        gutter = ("▸" if here else " ") + ("◆" if marked else " ")
        spans: list[Span] = [(gutter, "accent b")]
        for column, size in self._window.columns:
            text, style = column.cell(item, now)
            shown = crop_middle(text, size) if column.middle else text
            spans += [(fit_text(shown, size, column.align), style), (" " * GAP, "text")]
        line = fit_line(spans[:-1], width)
        if here and focused:
            line = on(line, "on-cursor")
        elif marked:
            line = on(line, "on-mark")
        self._lines[key] = (item, stamp, line)
        return line

    # -- moving ----------------------------------------------------------------------------------------------

    def _rows_shown(self) -> int:
        return max(1, self.size.height - 2)

    def _keep_visible(self, rows: int) -> None:
        cursor = self.model.cursor
        self.top = max(0, min(self.top, len(self.model) - rows))
        if cursor < self.top:
            self.top = cursor
        elif rows and cursor >= self.top + rows:
            self.top = cursor - rows + 1

    def _follow(self) -> None:
        key = self.model.cursor_key if len(self.model) else None
        if key != self._last_key:
            self._last_key = key
            self.post_message(self.Moved())

    def moved(self) -> None:
        """Call after changing the model: repaint and tell."""
        self._follow()
        self.sync()

    def action_move(self, delta: int) -> None:
        self.model.move(delta)
        self.moved()

    def action_page(self, direction: int) -> None:
        self.action_move(direction * max(1, self._rows_shown() - 1))

    def action_edge(self, end: int) -> None:
        self.model.move_to(len(self.model) - 1 if end else 0)
        self.moved()

    def action_mark(self) -> None:
        self.model.toggle_mark()
        self.action_move(1)

    def action_mark_range(self) -> None:
        self.model.mark_range()
        self.moved()

    def action_mark_all(self) -> None:
        self.model.mark_all()
        self.moved()

    def action_sideways(self, step: int) -> None:
        """Other columns, where not all fit; the first stays."""
        self.left = max(0, self.left + step)
        self.sync()

    def show_columns(self, columns: Sequence[Column[T]]) -> None:
        """These columns, in this order, from the left."""
        self.model.set_columns(columns)
        self.left = 0
        self.sync()

    def sort_by(self, name: str, *, descending: bool = False) -> str:
        """Sort by the column of that name. Returns what is wrong with it, or nothing."""
        problem = self.model.sort_by(name, descending=descending)
        self.moved()
        return problem

    def action_sort(self) -> None:
        self.model.cycle_sort()
        self.moved()

    def action_reverse(self) -> None:
        self.model.reverse_sort()
        self.moved()

    def action_open(self) -> None:
        if self.model.current is not None:
            self.post_message(self.Opened())

    # -- mouse -----------------------------------------------------------------------------------------------

    def on_click(self, event: events.Click) -> None:
        if event.y == 1:
            self._sort_at(event.x)
        elif event.y >= 2 and self.top + event.y - 2 < len(self.model):
            self.model.move_to(self.top + event.y - 2)
            self.moved()
            if event.chain >= 2:
                self.action_open()

    def _sort_at(self, x: int) -> None:
        """A title sorts; the signs for more columns go there."""
        first = self._window.columns[0][1] if self._window.columns else 0
        if self._window.before and 0 <= x - GUTTER - first < GAP:
            self.action_sideways(-1)
        elif self._window.after and x >= self.size.width - GAP:
            self.action_sideways(1)
        else:
            self._sort_by_title(x)

    def _sort_by_title(self, x: int) -> None:
        at = GUTTER
        for column, size in self._window.columns:
            if at <= x < at + size:
                same = self.model.sort_key == column.key
                self.model.set_sort(column.key, descending=same and not self.model.descending)
                self.moved()
                return
            at += size + GAP

    def on_mouse_scroll_right(self, event: events.MouseScrollRight) -> None:
        event.stop()
        self.action_sideways(1)

    def on_mouse_scroll_left(self, event: events.MouseScrollLeft) -> None:
        event.stop()
        self.action_sideways(-1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.action_move(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.action_move(-3)
