"""Help: the focused panel's keys first, then every key and command, made from the bindings so that it cannot lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from textual.app import ComposeResult
from textual.widget import Widget

from console.render.panels import wrapped
from console.render.spans import EMPTY, Line, fit_line, text_width
from console.state.command_table import COMMANDS, find
from console.state.keymap import display
from console.tui.keymap import own_bindings, owners, shown
from console.tui.keys import KEYS, Key
from console.tui.scroll import ScrollPanel
from console.tui.views.base import View

SYMBOLS: Final = (
    "● Ready   ◔ Starting   ◑ NotReady   ◒ Draining   ○ Pending   ◌ Terminating   ✗ Failed   ↻ CrashLoop",
    "✓ ok   ✗ failed   ⊘ refused or shed   ◷ slow   ≠ wrong   ▲ warning   ‼ critical   ◆ marked",
    "A drill's marks:   ▼ injected   ● effective   ◆ detected   ✓ recovered",
)
FILTERS: Final = (
    ("llm-1 l1", "words, or letters in order"),
    ("phase:Ready", "a column contains it; -phase:Ready does not"),
    ("cpu>80 ttft>=500ms", "a column's number, in any unit it is shown in"),
)
MOUSE: Final = (
    ("click", "a row, a panel, a view or a crumb in the last line"),
    ("click a title", "sort by that column"),
    ("double click", "describe the row"),
    ("wheel", "scroll"),
)
COLUMN: Final = 48
Row = tuple[str, str] | tuple[str, str, str]
"""Keys, what they do, and why that cannot be done here."""
Section = tuple[str, list[Row]]


def help_lines(sections: Sequence[Section], width: int) -> list[Line]:
    """Sections side by side where there is room. Pure."""
    columns = max(1, min(3, width // COLUMN))
    each = (width - 3 * (columns - 1)) // columns
    blocks = [[fit_line(line, each) for line in _block(name, rows, each)] for name, rows in sections]
    stacks: list[list[Line]] = [[] for _ in range(columns)]
    for block in blocks:
        shortest = min(stacks, key=len)
        shortest += block
    lines: list[Line] = []
    for y in range(max(len(stack) for stack in stacks)):
        cells: list[tuple[str, str]] = []
        for stack in stacks:
            cells += [*(stack[y] if y < len(stack) else fit_line(EMPTY, each)), ("   ", "text")]
        lines.append(tuple(cells[:-1]))
    for text in SYMBOLS:
        lines += wrapped(text, width, "muted")
    return lines


def _block(name: str, rows: Sequence[Row], width: int) -> list[Line]:
    size = min(max(text_width(row[0]) for row in rows) + 2, width // 2)
    lines: list[Line] = [((name, "accent b"),)]
    for row in rows:
        barred = row[2] if len(row) == 3 else ""
        words = wrapped(row[1], max(8, width - size), "faint" if barred else "muted")
        words += wrapped(f"⊘ {barred}", max(8, width - size), "faint") if barred else []
        lines.append(fit_line(((row[0].ljust(size), "faint" if barred else "text b"), *words[0]), width))
        lines += [fit_line(((" " * size, "text"), *more), width) for more in words[1:]]
    return [*lines, EMPTY]


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


class HelpView(View):
    """`?`."""

    DEFAULT_CSS = "HelpView { padding: 0 1; }"
    label = "Help"

    def __init__(self) -> None:
        super().__init__(id="view-help")
        self._topic = ""

    def compose(self) -> ComposeResult:
        yield ScrollPanel(lambda: "Help", self._lines, id="help")

    def explain(self, topic: str) -> None:
        """Put a command first."""
        self._topic = topic
        panel = self.query_one(ScrollPanel)
        panel.top = 0
        panel.sync()

    def _lines(self, width: int) -> list[Line]:
        return help_lines(self.sections(), width)

    def sections(self) -> list[Section]:
        """What was asked for, what was focused, then everything."""
        topic, app = find(self._topic), self.trinity
        out: list[Section] = []
        if topic is not None:
            said = f"{topic.says}; {topic.asks}" if topic.asks else topic.says
            out.append((f":{topic.name}", [(f":{topic.usage}", said)]))
        here = app.navigator.focused_before
        told = self._around(here) if here is not None else []
        if here is not None and told:
            name = getattr(here, "heading", "")
            rows = [row for owner in told for row in self._rows(owner)]
            out.append((f"Here: {name or type(here).__name__}", rows))
        groups = ("Act", *dict.fromkeys(key.group for key in KEYS if key.group != "Act"))
        out += [(group, [self._of_key(key) for key in KEYS if key.group == group]) for group in groups]
        for scope, owner in owners():
            if owner not in told:
                out.append((_sentence(scope.title), self._rows(owner)))
        out += [("Words of a filter", list(FILTERS)), ("With the mouse", list(MOUSE))]
        limit = app.state.limit
        commands: list[Row] = [(f":{command.usage}", command.says, limit(command.verb)) for command in COMMANDS]
        return [*out, ("Commands, after :", commands)]

    def _of_key(self, key: Key) -> Row:
        app = self.trinity
        barred = app.state.limit(key.verb) if key.verb is not None else ""
        return (shown(app, key.id, key.display), key.says, barred)

    def _around(self, widget: Widget) -> list[type]:
        """The classes whose keys worked in the panel that had the focus: its own, and those of the view around it."""
        nodes = (widget, *(one for one in widget.ancestors if isinstance(one, View)))
        return [owner for node in nodes for owner in type(node).__mro__ if own_bindings(owner, "")]

    def _rows(self, owner: type) -> list[Row]:
        verbs, limit = getattr(owner, "verbs", {}), self.trinity.state.limit
        return [
            (
                shown(self.trinity, bound.id, " ".join(display(key) for key in bound.keys)),
                _sentence(bound.says),
                next((limit(verbs[key]) for key in bound.keys if key in verbs), ""),
            )
            for bound in own_bindings(owner, "")
        ]

    def activate(self) -> None:
        super().activate()
        self.query_one(ScrollPanel).focus()

    def deactivate(self) -> None:
        self._topic = ""
