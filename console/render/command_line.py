"""What stands above the command line: how the command is written, what may follow, what was wrong. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from console.render.spans import Line, Span, crop_text, fit_line, fit_text, line_width, on, text_width
from console.state.command_table import Argument, Command, find
from console.state.commands import Completion

LISTED: Final = 7


def _nothing(_: str) -> str:
    return ""


"""Lines of options at most."""
GAP: Final = 2


def option_lines(
    found: Completion,
    chosen: int,
    width: int,
    *,
    problem: str = "",
    room: int = LISTED,
    limit: Callable[[str], str] = _nothing,
) -> list[Line]:
    """At most `room` + 1 lines; the option tab has taken is marked and in sight.

    `limit` says of a verb why it cannot be done here."""
    lines: list[Line] = []
    if problem:
        lines.append(fit_line(((" ", "text"), (problem, "warn")), width))
    elif found.command is not None:
        lines.append(fit_line(((" ", "text"), *_usage(found.command, found.argument, width - 1, limit)), width))
    if len(found.options) > 1 or (found.options and found.command is None):
        named = found.argument is None
        lines += (
            _described(found, chosen, width, room, limit) if named else _columns(found.options, chosen, width, room)
        )
    return lines


def _usage(command: Command, typed: Argument | None, width: int, limit: Callable[[str], str]) -> Line:
    """The command with the argument that is being typed in the accent; what it asks goes before what it does."""
    barred = limit(command.verb)
    if barred:
        return ((command.name, "faint"), (f"   ⊘ {barred}", "warn"))
    spans: list[Span] = [(command.name, "text b")]
    for argument in command.arguments:
        here = typed is not None and argument.name == typed.name
        spans += [(" ", "text"), (argument.usage, "accent b u" if here else "muted")]
    asks: Line = ((f"   {command.asks}", "warn"),) if command.asks else ()
    says: Line = ((f"   {command.says}", "muted"),)
    whole = (*spans, *says, *asks)
    return whole if line_width(whole) <= width else (*spans, *asks, *says)


def _described(found: Completion, chosen: int, width: int, room: int, limit: Callable[[str], str]) -> list[Line]:
    """Commands one below the other, each with what it does."""
    first = _window(len(found.options), chosen, room)
    shown = found.options[first : first + room]
    usages = [command.usage if (command := find(name)) is not None else name for name in shown]
    size = min(max(text_width(usage) for usage in usages) + GAP, max(8, width // 2))
    lines: list[Line] = []
    for at, (name, usage) in enumerate(zip(shown, usages, strict=True), first):
        command = find(name)
        barred = limit(command.verb) if command is not None else ""
        says = f"⊘ {barred}" if barred else command.says if command is not None else "Show this view"
        spans: list[Span] = [
            ("▸" if at == chosen else " ", "accent b"),
            (fit_text(usage, size), "faint" if barred else "text b" if at == chosen else "text"),
            (says, "faint" if barred else "muted"),
        ]
        if command is not None and command.asks and not barred:
            spans.append((f"   {command.asks}", "warn"))
        line = fit_line(spans, width)
        lines.append(on(line, "on-cursor") if at == chosen else line)
    return _counted(lines, first, len(shown), len(found.options), width)


def _columns(options: tuple[str, ...], chosen: int, width: int, room: int) -> list[Line]:
    """Names side by side, read line by line."""
    size = min(max(text_width(option) for option in options) + GAP + 1, width)
    across = max(1, width // size)
    rows = -(-len(options) // across)
    first = _window(rows, chosen // across if chosen >= 0 else -1, room)
    lines: list[Line] = []
    for row in range(first, min(rows, first + room)):
        spans: list[Span] = []
        for at in range(row * across, min(len(options), (row + 1) * across)):
            words = ("▸" if at == chosen else " ") + fit_text(crop_text(options[at], size - GAP), size - 1)
            spans.append((words, "text b on-cursor" if at == chosen else "text"))
        lines.append(fit_line(spans, width))
    return _counted(lines, first, len(lines), rows, width)


def _window(total: int, chosen: int, room: int) -> int:
    """The first of `room` entries that are shown."""
    return max(0, min(chosen - room // 2, total - room))


def _counted(lines: list[Line], first: int, shown: int, total: int, width: int) -> list[Line]:
    """Says in the last line how much is out of sight, where there is room for it."""
    hidden = total - shown
    if hidden <= 0 or not lines:
        return lines
    words = f" {hidden} more "
    told = list(lines[-1])
    while told and not told[-1][0].strip():
        told.pop()
    told[-1:] = [(text.rstrip(), style) for text, style in told[-1:]]
    if line_width(told) + len(words) > width:
        return lines
    return [*lines[:-1], (*fit_line(told, width - len(words)), (words, "faint"))]
