"""Every key of the console in one table: bindings, help and palette are made from it. Owns no behaviour."""

from __future__ import annotations

from typing import Final

import msgspec
from textual.binding import Binding, BindingType

from backend.contract.words import Verb
from console.state.keymap import display


class Key(msgspec.Struct, frozen=True):
    """One command: a stable id (for keymaps), its default keys, the app action, what it does, its group."""

    id: str
    keys: str
    action: str
    says: str
    group: str
    shown: str = ""
    """How help writes the key, where Textual's name is not what people read."""
    verb: Verb | None = None
    """What it does to the fleet: where that cannot be done, the key is dimmed."""

    @property
    def display(self) -> str:
        return self.shown or " ".join(display(key) for key in self.keys.split(","))


KEYS: Final[tuple[Key, ...]] = (
    Key("view.overview", "1", "view('overview')", "Overview", "Views"),
    Key("view.fleet", "2", "view('fleet')", "Fleet: replicas and workloads", "Views"),
    Key("view.requests", "3", "view('requests')", "Requests", "Views"),
    Key("view.logs", "4,l", "logs", "Logs of the selection", "Views", "4 l"),
    Key("view.journal", "5", "view('journal')", "Events and actions", "Views"),
    Key("view.drills", "6,f", "view('drills')", "Drills: what they prove, plans, results", "Views", "6 f"),
    Key("view.charts", "7", "view('charts')", "Charts on one time axis", "Views"),
    Key("view.nodes", "N", "view('nodes')", "Nodes, and what runs on each", "Views"),
    Key("view.ports", "F", "view('ports')", "Ports, ingresses and forwards", "Views"),
    Key("view.help", "8,question_mark", "view('help')", "Help", "Views", "8 ?"),
    Key("go.back", "escape", "back", "Back; clears a filter, then marks", "Getting around", "esc"),
    Key("go.backward", "left_square_bracket", "on('go','back')", "The view before", "Getting around", "["),
    Key("go.forward", "right_square_bracket", "on('go','forward')", "Where back came from", "Getting around", "]"),
    Key("go.line", "colon", "on('line','open')", "Command line: tab completes, up recalls", "Getting around", ":"),
    Key("go.palette", "ctrl+p", "on('palette','open')", "Palette: find anything by name", "Getting around"),
    Key("go.jump", "J", "on('jump','begin')", "Jump: a label on everything, type it", "Getting around"),
    Key("go.filter", "slash", "filter", "Filter what is shown", "Getting around", "/"),
    Key(
        "go.travel",
        "t",
        "on('travel','toggle')",
        "Time travel: any past instant; again: back to live",
        "Getting around",
    ),
    Key("go.next", "tab", "pane(1)", "Next panel", "Getting around"),
    Key("go.before", "shift+tab", "pane(-1)", "Panel before", "Getting around", "shift+tab"),
    Key("fleet.before", "less_than_sign", "on('fleets', 'step', -1)", "Fleet tab before", "Getting around", "<"),
    Key("fleet.next", "greater_than_sign", "on('fleets', 'step', 1)", "Next fleet tab", "Getting around", ">"),
    Key("fleet.all", "M", "on('fleets', 'everywhere')", "Replicas of all fleets in one list", "Getting around"),
    Key("go.describe", "d", "describe", "Describe the selected row", "Getting around", "enter d"),
    Key("go.raw", "y", "raw", "Raw data of the selected row", "Getting around"),
    Key("go.copy", "Y", "on('copy','copy')", "Copy what is selected to the clipboard", "Getting around"),
    Key("go.export", "E", "on('export','ask')", "Export the view: SVG, text, rows", "Getting around"),
    Key("table.columns", "C", "on('columns', 'edit')", "Columns of the table: which, in which order", "Getting around"),
    Key("go.redraw", "ctrl+l", "redraw", "Draw the screen again", "Getting around"),
    Key("go.theme", "T", "theme", "Next theme", "Getting around"),
    Key("go.quit", "q,ctrl+c", "leave", "Quit; the fleet goes on running", "Getting around", "q"),
    Key("act.restart", "r", "verb('restart')", "Restart the replica", "Act", verb=Verb.RESTART),
    Key("act.rollout", "R", "verb('rollout')", "Rolling restart of the workload", "Act", verb=Verb.ROLLOUT),
    Key("act.rollback", "B", "verb('rollback')", "Back to the workload's former revision", "Act", verb=Verb.ROLLBACK),
    Key("act.more", "plus", "verb('more')", "One replica more", "Act", "+", verb=Verb.SCALE),
    Key("act.fewer", "minus", "verb('fewer')", "One replica fewer", "Act", "-", verb=Verb.SCALE),
    Key("act.scale", "s", "verb('scale')", "Scale to a number", "Act", verb=Verb.SCALE),
    Key("act.kill", "K", "verb('kill')", "Kill the replica's process", "Act", verb=Verb.KILL),
    Key("act.drain", "D", "verb('drain')", "Drain, or take back from draining", "Act", verb=Verb.DRAIN),
    Key("act.evict", "e", "verb('evict')", "Evict the replica, within its budget", "Act", verb=Verb.EVICT),
    Key("act.pause", "z", "verb('pause')", "Freeze the replica, or let it go on", "Act", verb=Verb.PAUSE),
    Key("act.expose", "p", "on('expose','ask')", "Expose: reach a port of it from here", "Act", verb=Verb.FORWARD),
    Key("act.exec", "x", "on('exec','open')", "A shell in the replica", "Act", verb=Verb.EXEC),
    Key("act.load", "g", "verb('load')", "Start or stop the demo load", "Act", verb=Verb.LOAD_START),
    Key("act.panic", "X", "verb('panic')", "Stop every drill, undo its faults, let no other start", "Act"),
    Key("act.allow", "P", "verb('allow')", "Let drills start again after X", "Act"),
    Key("act.undo", "u", "verb('undo')", "Undo the last action that can be undone", "Act"),
    Key("act.autoscale", "a", "verb('autoscale')", "Switch autoscaling on or off", "Act", verb=Verb.AUTOSCALE),
    Key(
        "act.maintenance",
        "m",
        "verb('maintenance')",
        "Begin or end maintenance of the workload",
        "Act",
        verb=Verb.MAINTENANCE,
    ),
    Key("act.note", "n", "verb('note')", "Write a note into the events", "Act"),
    Key("act.acknowledge", "A", "verb('acknowledge')", "Acknowledge all alarms", "Act"),
)

# What a panel or view binds for itself stands in its BINDINGS, each with an id and a few words; help, keymap and the
# test of every key find them through console.tui.keymap.SCOPES.

PANE_KEYS: Final = ("go.next", "go.before")
"""Bound by the views: Textual's screen takes tab before the app sees it."""


LINE_KEYS: Final = ("go.line", "go.filter", "go.palette")
"""They open a line to type in, and are taken before anything else is: what was typed after them, perhaps long ago on a
slow link, belongs to that line and must never reach the verbs."""


def bindings() -> list[BindingType]:
    """The app's bindings, each with its id so that a keymap can move it."""
    return [_binding(key, key.action) for key in KEYS if key.id not in PANE_KEYS]


def view_bindings() -> list[BindingType]:
    """What every view binds by itself."""
    return [_binding(key, f"app.{key.action}") for key in KEYS if key.id in PANE_KEYS]


def _binding(key: Key, action: str) -> Binding:
    return Binding(key.keys, action, key.says, id=key.id, show=False, priority=key.id in LINE_KEYS)
