"""Help: every key, made from the key table, in as many columns as fit."""

from __future__ import annotations

from textual.app import ComposeResult

from console.render.spans import EMPTY, Line, fit_line
from console.tui.keys import CHART_KEYS, DRILL_KEYS, KEYS, LOG_KEYS, TABLE_KEYS
from console.tui.scroll import ScrollPanel
from console.tui.views.base import View

SYMBOLS = (
    "● Ready   ◔ Starting   ◑ NotReady   ◒ Draining   ○ Pending   ◌ Terminating   ✗ Failed   ↻ CrashLoop",
    "✓ ok   ✗ failed   ⊘ refused or shed   ◷ slow   ≠ wrong   ▲ warning   ‼ critical   ◆ marked",
    "A drill's marks:   ▼ injected   ● effective   ◆ detected   ✓ recovered",
)


def help_lines(width: int) -> list[Line]:
    """Groups of keys side by side where there is room. Pure."""
    groups: list[tuple[str, list[tuple[str, str]]]] = []
    for name in dict.fromkeys(key.group for key in KEYS):
        rows = [(key.shown or key.keys.replace(",", " "), key.says) for key in KEYS if key.group == name]
        groups.append((name, rows))
    groups += [("In tables", list(TABLE_KEYS)), ("In logs", list(LOG_KEYS)), ("In drills", list(DRILL_KEYS))]
    groups += [("In charts", list(CHART_KEYS))]
    blocks = [_block(name, rows) for name, rows in groups]
    columns = max(1, min(3, width // 48))
    each = (width - 3 * (columns - 1)) // columns
    stacks: list[list[Line]] = [[] for _ in range(columns)]
    for block in blocks:
        shortest = min(stacks, key=len)
        shortest += [fit_line(line, each) for line in block]
    height = max(len(stack) for stack in stacks)
    lines: list[Line] = []
    for y in range(height):
        cells: list[tuple[str, str]] = []
        for stack in stacks:
            cells += [*(stack[y] if y < len(stack) else fit_line(EMPTY, each)), ("   ", "text")]
        lines.append(tuple(cells[:-1]))
    lines += [((text, "muted"),) for text in SYMBOLS]
    return lines


def _block(name: str, rows: list[tuple[str, str]]) -> list[Line]:
    size = max(len(keys) for keys, _ in rows) + 2
    lines: list[Line] = [((name, "accent b"),)]
    lines += [((keys.ljust(size), "text b"), (says, "muted")) for keys, says in rows]
    return [*lines, EMPTY]


class HelpView(View):
    """`?`."""

    DEFAULT_CSS = "HelpView { padding: 0 1; }"
    label = "Help"

    def __init__(self) -> None:
        super().__init__(id="view-help")

    def compose(self) -> ComposeResult:
        yield ScrollPanel(lambda: "Help", help_lines, id="help")

    def activate(self) -> None:
        super().activate()
        self.query_one(ScrollPanel).focus()
