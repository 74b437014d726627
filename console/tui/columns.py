"""`C`: which columns the focused table shows, in which order, how wide; kept for each table in the preferences.

Owns the dialog; what a choice means is console.state.column_choice's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.screen import ModalScreen

from console.render.spans import EMPTY, Line, fit_line, fit_text, line_width
from console.render.spans import on as on_surface
from console.state.column import Column, column_width
from console.state.column_choice import (
    Choices,
    chosen_columns,
    default_choices,
    moved,
    read_choices,
    toggled,
    widened,
)
from console.tui.dialogs import Words
from console.tui.polling import later

if TYPE_CHECKING:
    from console.tui.app import TrinityApp
    from console.tui.vtable import VTable

SECTION: Final = "columns"
_SHOW, _ORDER, _WIDTH, _KEEP = ("space", "show"), ("J K", "order"), ("+ -", "width"), ("enter", "keep")
STEPS: Final = (
    (_SHOW, _ORDER, _WIDTH, ("0", "default"), _KEEP, ("esc", "no")),
    (_SHOW, _ORDER, _WIDTH, _KEEP),
    (_SHOW, _ORDER, _KEEP),
)
"""The foot's keys, from the fullest line to the shortest."""
CHROME: Final = 7
"""Lines of the dialog that are not columns."""


class TableColumns:
    """The columns of all tables, by the tables' ids."""

    def __init__(self, app: TrinityApp) -> None:
        self.app = app

    def restore(self, table: VTable[Any]) -> None:
        """Show what was chosen for this table some time ago."""
        saved = self.app.part("preferences").get(SECTION, table.kept_as)
        if saved is not None:
            table.show_columns(chosen_columns(table.model.every, read_choices(saved, table.model.every)))

    def edit(self) -> None:
        """Ask; every step shows at once behind the dialog."""
        table = self.app.view.table()
        if table is None:
            self.app.say("There is no table here whose columns could be chosen.", "muted")
            return
        self.app.run_worker(later(self._edit, table), exit_on_error=False, group="columns")

    async def _edit(self, table: VTable[Any]) -> None:
        every, before = table.model.every, table.model.columns
        choices = read_choices(self.app.part("preferences").get(SECTION, table.kept_as), every)
        dialog = ColumnsDialog(
            table.heading, every, choices, lambda wanted: table.show_columns(chosen_columns(every, wanted))
        )
        answer = await self.app.push_screen_wait(dialog)
        if answer is None:
            table.show_columns(before)
            return
        kept = None if answer == default_choices(every) else msgspec.to_builtins(answer)
        said = await asyncio.to_thread(self.app.part("preferences").put, SECTION, table.kept_as, kept)
        self.app.say(said or f"These columns of {table.heading} are kept.", "warn" if said else "text")


class ColumnsDialog(ModalScreen[Choices | None]):
    """A list of columns. Answers with the choice, or None where it is left as it was."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+c", "leave", "as before", show=False),
        Binding("enter", "keep", "keep", show=False),
        Binding("down,j", "go(1)", "next", show=False),
        Binding("up,k", "go(-1)", "before", show=False),
        Binding("space", "turn", "show or hide", show=False),
        Binding("shift+down,J", "shift(1)", "later", show=False),
        Binding("shift+up,K", "shift(-1)", "earlier", show=False),
        Binding("plus", "widen(1)", "wider", show=False),
        Binding("minus", "widen(-1)", "narrower", show=False),
        Binding("0", "reset", "as they are by themselves", show=False),
    ]

    def __init__(
        self, heading: str, columns: Sequence[Column[Any]], choices: Choices, tell: Callable[[Choices], None]
    ) -> None:
        super().__init__(classes="dialog")
        self.heading, self.columns, self.choices, self.tell = heading, tuple(columns), choices, tell
        self.at = 0

    def compose(self) -> ComposeResult:
        with Container(classes="box"):
            yield Words(self._head)
            yield Words(self._lines, id="columns-list")
            yield Words(self._foot)

    def _head(self, width: int) -> list[Line]:
        return [fit_line(((f"Columns of {self.heading}", "accent b"),), width), fit_line(EMPTY, width)]

    def _lines(self, width: int) -> list[Line]:
        rows = max(1, min(len(self.choices), self.app.size.height - CHROME))
        top = max(0, min(self.at - rows // 2, len(self.choices) - rows))
        by_key = {column.key: column for column in self.columns}
        lines: list[Line] = []
        for index, choice in enumerate(self.choices[top : top + rows], top):
            column = by_key[choice.key]
            size = choice.width if choice.width is not None else column_width(column)
            line = fit_line(
                (
                    ("▸ " if index == self.at else "  ", "accent b"),
                    ("✓ " if choice.shown else "· ", "ok b" if choice.shown else "faint"),
                    (fit_text(column.title, 16), "text b" if choice.shown else "muted"),
                    (fit_text(column.key, 16), "faint"),
                    (fit_text(str(size), 4, "right"), "muted" if choice.width is None else "accent b"),
                ),
                width,
            )
            lines.append(on_surface(line, "on-cursor") if index == self.at else line)
        return lines

    def _foot(self, width: int) -> list[Line]:
        for few in STEPS:
            spans = [span for key, word in few for span in ((key, "accent"), (f" {word}  ", "muted"))]
            if line_width(spans) <= width + 2:
                break
        return [fit_line(EMPTY, width), fit_line(spans, width)]

    def _show(self) -> None:
        self.query_one("#columns-list", Words).sync()

    def _take(self, choices: Choices) -> None:
        self.choices = choices
        self.tell(choices)
        self._show()

    def action_go(self, step: int) -> None:
        self.at = max(0, min(len(self.choices) - 1, self.at + step))
        self._show()

    def action_turn(self) -> None:
        self._take(toggled(self.choices, self.at))

    def action_shift(self, step: int) -> None:
        choices, self.at = moved(self.choices, self.at, step)
        self._take(choices)

    def action_widen(self, step: int) -> None:
        self._take(widened(self.choices, self.at, step, self.columns))

    def action_reset(self) -> None:
        self.at = 0
        self._take(default_choices(self.columns))

    def action_keep(self) -> None:
        self.dismiss(self.choices)

    def action_leave(self) -> None:
        self.dismiss(None)

    def on_click(self, event: events.Click) -> None:
        if event.widget is self:
            self.dismiss(None)
