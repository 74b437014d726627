"""The palette: every command, key, view, replica, workload, drill and theme by name, those used last first.

Builds the list and remembers what was taken; what it does is an app action, the same that a key or a command does.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from textual import on
from textual.widgets import Input

from console.state.command_table import COMMANDS
from console.state.fuzzy import Ranking
from console.tui.dialogs import Choice, PickDialog, Words, ask
from console.tui.keymap import shown
from console.tui.keys import KEYS
from console.tui.polling import later

if TYPE_CHECKING:
    from console.tui.app import TrinityApp

RECENT: Final = 8
SECTION: Final = "palette"
RECENT_NAME: Final = "recent"
LEFT_OUT: Final = ("go.palette", "go.next", "go.before")


class PaletteMode:
    """The part behind ctrl+p."""

    def __init__(self, app: TrinityApp) -> None:
        self.app = app
        kept = app.part("preferences").get(SECTION, RECENT_NAME)
        self.recent = [str(key) for key in kept] if isinstance(kept, list) else []
        """Actions taken from the palette, the newest first; kept across runs."""

    async def open(self) -> None:
        """The palette has the keys when this returns: what is typed ahead of it acts on nothing."""
        await ask(self.app, Palette(self.choices()), self._picked)

    def _picked(self, chosen: str | None) -> None:
        if chosen:
            self.app.run_worker(later(self._do, chosen), exit_on_error=False, group="palette", exclusive=True)

    async def _do(self, chosen: str) -> None:
        self.recent = [chosen, *(known for known in self.recent if known != chosen)][:RECENT]
        await self.app.run_action(chosen)
        said = await asyncio.to_thread(self.app.part("preferences").put, SECTION, RECENT_NAME, self.recent)
        if said:
            self.app.say(said, "warn")

    def choices(self) -> list[Choice]:
        """Everything there is, what was taken last at the top."""
        found = commands(self.app)
        if not self.recent:
            return found
        by_key = {choice.key: choice for choice in found}
        recent = [by_key[key] for key in self.recent if key in by_key]
        taken = {choice.key for choice in recent}
        return [*recent, *(choice for choice in found if choice.key not in taken)]


class Palette(PickDialog):
    """A pick of very many: each letter more only looks at what still matches."""

    def __init__(self, choices: list[Choice]) -> None:
        super().__init__("Go to or do anything", choices)
        self._ranking = Ranking([f"{choice.label} {choice.hint}" for choice in choices])

    @on(Input.Changed)
    def narrow(self, event: Input.Changed) -> None:
        event.prevent_default()
        self.shown = [self.choices[at] for at in self._ranking.narrow(event.value)]
        self.at = 0
        self.query_one("#pick-lines", Words).sync()


def commands(app: TrinityApp) -> list[Choice]:
    """Keys of the choices are app actions."""
    limit = app.state.limit
    found = [
        Choice(
            key.action,
            key.says,
            shown(app, key.id, key.display),
            barred=limit(key.verb) if key.verb is not None else "",
        )
        for key in KEYS
        if key.id not in LEFT_OUT
    ]
    for command in COMMANDS:
        if command.arguments:
            action = f"on('line','open',{command.name + ' '!r})"
        else:
            part, method = command.does.split(".")
            action = f"on({part!r},{method!r})"
        found.append(Choice(action, f":{command.usage}", command.says, barred=limit(command.verb)))
    found += [Choice(f"use_theme({spec.name!r})", f"Theme: {spec.title}") for spec in app.theming.shelf.all().values()]
    line = app.part("line")
    found += [
        Choice(f"on('verbs','run_drill',{name!r})", f"Run the drill {name}", "shows its plan first")
        for name in line.names("drill")
    ]
    found += [
        Choice(f"on('line','open','scale {view.name} ')", f"Scale {view.name}", f"{view.wanted} wanted now")
        for view in app.state.workloads
    ]
    found += [
        Choice(f"go_to({view.status.name!r})", f"Go to {view.status.name}", str(view.status.phase))
        for view in app.state.replicas
    ]
    return found
