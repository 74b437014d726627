"""Where one is and was: the views' trail, back and forward. Owns the trail; views are built by the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from textual.widget import Widget

    from console.tui.app import TrinityApp

KEPT: Final = 20
CRUMBS: Final = 4
"""Places of the way that are shown at most."""


class Trail(NamedTuple):
    """A way through the views: the one shown, those behind it, those ahead."""

    view: str = "overview"
    behind: tuple[str, ...] = ()
    ahead: tuple[str, ...] = ()


class Crumb(NamedTuple):
    """A place on the way: its name, and how many steps back it is."""

    words: str
    steps: int


class Navigator:
    """`go` shows a view; `back` undoes filter, marks and then the last step; `forward` goes where `back` came from."""

    def __init__(self, app: TrinityApp) -> None:
        self.app = app
        self.behind: list[str] = []
        """Views one came from, oldest first."""
        self.ahead: list[str] = []
        """Views one went back from, the nearest last."""
        self.focused_before: Widget | None = None
        """What had the focus when the present view was asked for; help explains it."""

    async def go(self, name: str) -> None:
        """Show a view; what lay ahead is forgotten."""
        if name != self.app.view_name:
            self.behind = [*self.behind[1 - KEPT :], self.app.view_name]
            self.ahead.clear()
            self.focused_before = self.app.screen_stack[0].focused
            await self.app.show_view(name)

    def trail(self) -> Trail:
        """The way as it is now, to come back to."""
        return Trail(self.app.view_name, tuple(self.behind), tuple(self.ahead))

    async def resume(self, trail: Trail) -> None:
        """Take up another way where it was left."""
        self.behind, self.ahead = list(trail.behind), list(trail.ahead)
        await self.app.show_view(trail.view)

    async def replace(self, name: str) -> None:
        """Show a view instead of the present one: `esc` goes to where that one was entered from."""
        await self.app.show_view(name)

    async def escape(self) -> None:
        """`esc`: what the view itself can go back from, its filter, its marks, then the way one came."""
        view = self.app.view
        table = view.table()
        if view.back():
            return
        if view.filter_text():
            view.set_filter("")
        elif table is not None and table.model.marks:
            table.model.marks.clear()
            table.sync()
        else:
            await self.back()

    def crumbs(self) -> list[Crumb]:
        """The way one came and where one is, oldest first. Nothing but the present place where one has not moved."""
        names = [*self.behind, self.app.view_name]
        return [Crumb(self._words(name), len(names) - 1 - at) for at, name in enumerate(names)][-CRUMBS:]

    def _words(self, name: str) -> str:
        view = self.app.views.get(name)
        return f"{view.label} {view.subject()}".strip() if view is not None else name

    async def back(self, steps: int = 1) -> None:
        """So many steps back along the way one came; the overview at its end."""
        if self.behind:
            way = [*self.behind[-steps:], self.app.view_name]
            self.behind = self.behind[:-steps]
            self.ahead += reversed(way[1:])
            await self.app.show_view(way[0])
        elif self.app.view_name != "overview":
            self.ahead.append(self.app.view_name)
            await self.app.show_view("overview")

    async def forward(self) -> None:
        """Where `back` came from."""
        if self.ahead:
            self.behind.append(self.app.view_name)
            await self.app.show_view(self.ahead.pop())
