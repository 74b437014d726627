"""What every view is: a body that can be synced, may have a table, and knows what is selected in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.binding import BindingType
from textual.widget import Widget

from backend.contract.words import Verb
from console.tui.canvas import Canvas
from console.tui.keys import view_bindings
from console.tui.link import Shown
from console.tui.polling import Poller
from console.tui.vtable import VTable

if TYPE_CHECKING:
    from console.tui.app import TrinityApp


class View(Widget):
    """One of the screens behind the number keys."""

    DEFAULT_CSS = "View { width: 1fr; height: 1fr; background: $background; layout: vertical; }"
    BINDINGS: ClassVar[list[BindingType]] = view_bindings()
    label: ClassVar[str] = ""
    home: ClassVar[str] = ""
    """The numbered view it belongs to, where it has no number of its own."""
    borrows: ClassVar[bool] = True
    """Whether verbs act on the overview's choice where nothing is chosen here."""
    keys: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Keys special to this view, for the strip: (key, word)."""

    _poller: Poller | None = None
    """Fetches what it shows, where that is not the state's."""

    verbs: ClassVar[Mapping[str, Verb]] = {}
    """What those keys that are the view's own do to the fleet: dimmed where that cannot be done."""

    @property
    def trinity(self) -> TrinityApp:
        return cast("TrinityApp", self.app)

    def canvases(self) -> Iterable[Canvas]:
        """The panels to keep up to date."""
        return self.query(Canvas)

    def update(self) -> None:
        """New data or a new second: feed tables and sync panels."""
        for canvas in self.canvases():
            if canvas.display:
                canvas.sync()

    def activate(self) -> None:
        """It is the one on screen now."""
        self.update()
        table = self.table()
        if table is not None:
            self.screen.set_focus(table)  # at once: a line that is opened next keeps the keys

    def deactivate(self) -> None:
        """It is hidden now."""

    def forget(self) -> None:
        """Another fleet or another instant is shown from now on: drop what was fetched. `activate` may follow."""

    def table(self) -> VTable[Any] | None:
        """The table that filter, sort and marks act on."""
        return None

    def current_row(self) -> Any:
        """What `d` describes: the row under the table's cursor."""
        table = self.table()
        return table.model.current if table is not None else None

    def awaits(self) -> bool:
        """Whether it was asked for what it shows, and has had no answer yet."""
        return self._poller is not None and self._poller.awaited

    def set_filter(self, text: str) -> None:
        """What `/` types; the view's table by default."""
        table = self.table()
        if table is not None:
            table.model.set_filter(text)
            table.moved()

    def filter_text(self) -> str:
        table = self.table()
        return table.model.filter if table is not None else ""

    def replicas(self) -> list[str]:
        """Names the verbs act on: marked rows, else the cursor's."""
        return []

    def places(self) -> list[Shown]:
        """The fleet of each of `replicas()`, where they are of several; empty: all are of the one on screen."""
        return []

    def place(self) -> Shown | None:
        """The fleet of `workload()`, where it may be another than the one on screen."""
        return None

    def workload(self) -> str | None:
        """The workload the verbs act on."""
        return None

    def exposes(self) -> tuple[str, int | None] | None:
        """What `p` leads to where that is no replica: a workload, and the port that is chosen, if one is."""
        return None

    def subject(self) -> str:
        """What it is on, for the crumbs: `Logs llm-0`."""
        return ""

    def back(self) -> bool:
        """`esc`: whether the view itself had something to go back from."""
        return False
