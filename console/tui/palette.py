"""The commands behind `:`: every key's command, every theme, every replica and workload to go to. Builds a list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.tui.dialogs import Choice
from console.tui.keys import KEYS

if TYPE_CHECKING:
    from console.tui.app import TrinityApp


def commands(app: TrinityApp) -> list[Choice]:
    """Keys of the choices are app actions."""
    found = [
        Choice(key.action, key.says, key.shown or key.keys.replace(",", " "))
        for key in KEYS
        if key.id not in ("go.palette", "go.next", "go.before")
    ]
    found += [Choice(f"use_theme('{spec.name}')", f"Theme: {spec.title}") for spec in app.theming.shelf.all().values()]
    found.append(Choice("mute", "Mute the bell" if app.bell_on else "Let the bell ring again"))
    found += [
        Choice(f"go_to('{view.status.name}')", f"Go to {view.status.name}", f"{view.status.phase}")
        for view in app.state.replicas
    ]
    return found
