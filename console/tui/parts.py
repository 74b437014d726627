"""Which part of the console stands behind which name; each module is loaded when its part is first used.

A part is an object made from the app whose methods are what keys and commands do: `on('verbs', 'restart')`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from console.tui.app import TrinityApp


def build(name: str, app: TrinityApp) -> Any:
    """A new part. Raises KeyError for a name that no part has."""
    match name:
        case "verbs":
            from console.tui.verbs import Verbs

            return Verbs(app)
        case "go":
            from console.tui.navigator import Navigator

            return Navigator(app)
        case "line":
            from console.tui.command_line import CommandMode

            return CommandMode(app)
        case "commands":
            from console.tui.commands import Commands

            return Commands(app)
        case "palette":
            from console.tui.palette import PaletteMode

            return PaletteMode(app)
        case "travel":
            from console.tui.travel import Travel

            return Travel(app)
        case "fleets":
            from console.tui.fleets import Fleets

            return Fleets(app)
        case "exec":
            from console.tui.exec import Exec

            return Exec(app)
        case "expose":
            from console.tui.expose import Expose

            return Expose(app)
        case "jump":
            from console.tui.jump import JumpMode

            return JumpMode(app)
        case "copy":
            from console.tui.copying import Copying

            return Copying(app)
        case "export":
            from console.tui.exporting import Exporting

            return Exporting(app)
        case "preferences":
            from console.state.preferences import Preferences

            preferences = Preferences(app.preferences_path)
            if preferences.problem:
                app.call_after_refresh(app.say, preferences.problem, "warn")
            return preferences
        case "columns":
            from console.tui.columns import TableColumns

            return TableColumns(app)
    raise KeyError(name)
