"""The theme on screen: choosing one, the next one, and following its file while somebody edits it.

Owns the shelf and the app's colours; the files are read by console.render.theme_shelf.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from console.render.theme import ThemeSpec
from console.render.theme_shelf import ThemeShelf, first_theme
from console.tui.colors import Colors, textual_theme

if TYPE_CHECKING:
    from console.tui.app import TrinityApp

LOOK_S: Final = 1.0
"""How often the file of the present theme is looked at."""


class Theming:
    """`spec` is the theme on screen, `ink` its styles."""

    def __init__(self, app: TrinityApp, wanted: str | None, shelf: ThemeShelf | None = None) -> None:
        self.app = app
        self.shelf = shelf or ThemeShelf()
        self.spec = self.shelf.or_default(first_theme(wanted, no_color=app.no_color))
        self.ink = Colors(self.spec)
        self._asked = wanted or ""
        self._problem = ""

    def begin(self) -> None:
        """After the first paint: say what is wrong, and look at the file from now on."""
        if self._asked and self.shelf.get(self._asked) is None:
            self._complain(self._asked)
        elif self.shelf.problems():
            self.app.say(f"▲ {self.shelf.problems()[0]}", "warn")
        self.app.set_interval(LOOK_S, self._look)

    def next(self) -> None:
        """The theme after this one."""
        names = self.shelf.names()
        at = names.index(self.spec.name) + 1 if self.spec.name in names else 0
        self.use(names[at % len(names)])

    def use(self, name: str) -> None:
        """Switch live."""
        if self.app.no_color:
            self.app.say("NO_COLOR is set: every theme is without colour.", "warn")
            return
        spec = self.shelf.get(name)
        if spec is None:
            self._complain(name)
            return
        self._put_on(spec)
        self.app.say(f"Theme: {spec.title}")

    def show(self, name: str) -> None:
        """Switch without a word. Raises KeyError where there is no such theme."""
        spec = self.shelf.get(name)
        if spec is None:
            raise KeyError(name)
        self._put_on(spec)

    def _put_on(self, spec: ThemeSpec) -> None:
        self.spec, self.ink = spec, Colors(spec)
        made = textual_theme(spec)
        self.app.register_theme(made)
        if self.app.theme == made.name:
            self.app.theme = "textual-dark"  # the same name again would change nothing
        self.app.theme = made.name
        for screen in self.app.screen_stack:
            for canvas in screen.query("Canvas"):
                canvas.forget()  # type: ignore[attr-defined] # the query is for canvases

    def _complain(self, name: str) -> None:
        broken = [words for words in self.shelf.problems() if words.startswith(f"{name}.toml")]
        known = f"There is no theme {name!r}; choose one of {', '.join(self.shelf.names())}."
        self.app.say(broken[0] if broken else known, "warn")

    def _look(self) -> None:
        """A theme that was saved again is shown at once; while it is broken the last good one stays."""
        spec = self.shelf.get(self.spec.name)
        if spec is None:
            problem = next((words for words in self.shelf.problems() if words.startswith(self.spec.name)), "")
            if problem != self._problem:
                self._problem = problem
                self.app.say(problem, "warn")
            return
        self._problem = ""
        if spec != self.spec and not self.app.no_color:
            self._put_on(spec)
            self.app.say(f"Theme {spec.title} was read again.")
