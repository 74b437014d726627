"""What can be bound, gathered from the bindings themselves, and the keymap in force. Owns the list of the scopes."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from textual.binding import Binding

from backend.contract.errors import FileError
from console.state.keymap import Bound, Keymap, canonical, display, parse
from console.tui.keys import KEYS

if TYPE_CHECKING:
    from console.tui.app import TrinityApp


class Scope(msgspec.Struct, frozen=True):
    """Where some keys mean something of their own."""

    title: str
    where: str
    """`module:Class` whose bindings these are."""


SCOPES: Final[tuple[Scope, ...]] = (
    Scope("in tables", "console.tui.vtable:VTable"),
    Scope("in logs", "console.tui.log_pane:LogPane"),
    Scope("in the logs view", "console.tui.views.logs:LogsView"),
    Scope("in texts", "console.tui.scroll:ScrollPanel"),
    Scope("in requests", "console.tui.views.requests:RequestsView"),
    Scope("in events", "console.tui.views.journal:JournalView"),
    Scope("in drills", "console.tui.views.drills:DrillsView"),
    Scope("in a drill's run", "console.tui.views.drill_run:DrillRunView"),
    Scope("in a drill's report", "console.tui.views.drill_report:DrillReportView"),
    Scope("in nodes", "console.tui.views.nodes:NodesView"),
    Scope("in ports", "console.tui.views.ports:PortsView"),
    Scope("in charts", "console.tui.views.charts:ChartsView"),
    Scope("in the heat map", "console.tui.heat_panel:HeatPanel"),
    Scope("in a comparison", "console.tui.views.compare:CompareView"),
    Scope("in time travel", "console.tui.scrubber:Scrubber"),
    Scope("in the command line", "console.tui.command_line:CommandInput"),
)


def own_bindings(owner: type, scope: str) -> list[Bound]:
    """What a class binds itself, as far as it has a name to be moved by."""
    out: list[Bound] = []
    for binding in owner.__dict__.get("BINDINGS", ()):
        if isinstance(binding, Binding) and binding.id and not binding.id.startswith("go."):
            keys = tuple(canonical(key.strip()) or key.strip() for key in binding.key.split(","))
            out.append(Bound(binding.id, keys, binding.description, scope))
    return out


def everywhere() -> list[Bound]:
    """The app's own keys."""
    return [Bound(key.id, tuple(key.keys.split(",")), key.says) for key in KEYS]


def owners() -> list[tuple[Scope, type]]:
    """The classes behind the scopes; loads every view."""
    out: list[tuple[Scope, type]] = []
    for scope in SCOPES:
        module, name = scope.where.split(":")
        out.append((scope, getattr(importlib.import_module(module), name)))
    return out


def table() -> list[Bound]:
    """Everything a key does anywhere."""
    return [*everywhere(), *(bound for scope, owner in owners() for bound in own_bindings(owner, scope.title))]


def load(path: Path) -> Keymap:
    """Read and check a keymap file. Raises FileError with the first thing that is wrong, file and line."""
    keymap, problems = check(path)
    if problems:
        raise problems[0]
    return keymap


def check(path: Path) -> tuple[Keymap, list[FileError]]:
    """A keymap file and all that is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return Keymap(), [FileError(str(path), "the keymap is not UTF-8.", "Save it as UTF-8.")]
    except OSError as error:
        words = f"the keymap cannot be read: {error.strerror}."
        return Keymap(), [FileError(str(path), words, "Name a file that is there.")]
    return parse(text, str(path), table())


def shown(app: TrinityApp, name: str, default: str) -> str:
    """How help writes the keys of an id: what the keymap makes of them, else `default`."""
    keys = app.keymap.keys.get(name)
    return default if keys is None else " ".join(display(key) for key in keys) or "none"
