"""Where a person's own things are: keymap, themes, fleets, preferences, the history of commands. Paths only."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def keymap_file(environ: Mapping[str, str] = os.environ) -> Path:
    """`trinity/keys.toml` of the XDG configuration folder; it need not be there."""
    return _base(environ, "XDG_CONFIG_HOME", ".config") / "trinity" / "keys.toml"


def themes_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """`trinity/themes` of the XDG configuration folder; it need not be there."""
    return _base(environ, "XDG_CONFIG_HOME", ".config") / "trinity" / "themes"


def fleets_file(environ: Mapping[str, str] = os.environ) -> Path:
    """`trinity/fleets.toml` of the XDG configuration folder; it need not be there."""
    return _base(environ, "XDG_CONFIG_HOME", ".config") / "trinity" / "fleets.toml"


def preferences_file(environ: Mapping[str, str] = os.environ) -> Path:
    """`trinity/console.json` of the XDG configuration folder; made when the first preference is kept."""
    return _base(environ, "XDG_CONFIG_HOME", ".config") / "trinity" / "console.json"


def history_file(environ: Mapping[str, str] = os.environ) -> Path:
    """`trinity/commands` of the XDG state folder; made when the first command is kept."""
    return _base(environ, "XDG_STATE_HOME", ".local/state") / "trinity" / "commands"


def _base(environ: Mapping[str, str], variable: str, default: str) -> Path:
    return Path(environ.get(variable) or Path(environ.get("HOME", "/")) / default)
