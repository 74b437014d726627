"""The line that `/` opens in place of the strip: what is typed narrows the view at once. Owns no filter.

Over a table the names of its columns are completed; what the words mean is console.state.row_filter's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from textual import on
from textual.binding import Binding, BindingType
from textual.suggester import Suggester
from textual.widgets import Input

from console.state.column import Column
from console.state.row_filter import complete
from console.state.table import TableModel

if TYPE_CHECKING:
    from console.tui.app import TrinityApp


OF_TEXT: Final = "filter: words, or letters in order"
OF_TABLES: Final = "words, cpu>80, phase:NotReady, -not; tab completes"


class ColumnNames(Suggester):
    """Completes the word that is typed to a column's name, or to one of its words."""

    def __init__(self, columns: Sequence[Column[Any]]) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self.columns = columns

    async def get_suggestion(self, value: str) -> str | None:
        return complete(value, self.columns)


class FilterBar(Input):
    """Enter keeps the filter, escape clears it, tab takes what is suggested."""

    DEFAULT_CSS = """
    FilterBar, FilterBar:focus {
        dock: bottom; height: 1; border: none; padding: 0 1; background: $panel; color: $foreground;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "clear", "clear the filter", show=False),
        Binding("tab", "complete", "take what is suggested", show=False),
        Binding("down,up", "keep", "back to the rows", show=False, priority=True),
    ]

    def __init__(self, text: str, model: TableModel[Any] | None = None) -> None:
        columns = model.every if model is not None else ()
        super().__init__(
            text,
            placeholder=OF_TABLES if columns else OF_TEXT,
            suggester=ColumnNames(columns) if columns else None,
            compact=True,
            select_on_focus=False,
        )
        self.model, self.columns = model, columns
        self.cursor_blink = False

    @property
    def trinity(self) -> TrinityApp:
        return cast("TrinityApp", self.app)

    @on(Input.Changed)
    def narrow(self, event: Input.Changed) -> None:
        event.stop()
        self.trinity.view.set_filter(self.model.typed(event.value) if self.model is not None else event.value)

    @on(Input.Submitted)
    def submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._close()

    def action_clear(self) -> None:
        self.trinity.view.set_filter("")
        self.trinity.close_filter()

    def action_complete(self) -> None:
        whole = complete(self.value, self.columns)
        if whole is not None:
            self.value = whole
            self.cursor_position = len(whole)

    def action_keep(self) -> None:
        self._close()

    def _close(self) -> None:
        """What stands there holds to the letter."""
        self.trinity.view.set_filter(self.value)
        self.trinity.close_filter()
