"""The grammar of the command line over the table of commands. Parses and completes; never acts.

Completion, help, palette and tests are all made from console.state.command_table.COMMANDS.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from backend.contract.address import parse_address
from backend.contract.errors import UsageError
from console.state.command_table import COMMANDS, TOPICS, Argument, Command, find
from console.state.time_input import parse_instant

Value = str | int | float | tuple[str, ...] | None
Names = Callable[[str], Sequence[str]]
"""The names of a kind that exist now: replicas, workloads, themes, ..."""

NAMED: Final = (
    "replica",
    "workload",
    "node",
    "target",
    "forward",
    "view",
    "fleet",
    "theme",
    "drill",
    "column",
    "topic",
    "switch",
    "order",
    "namespace",
    "context",
    "address",
)
"""Kinds whose values are names; any other kind is free text or a number."""
LOOSE: Final = ("namespace", "context")
"""Names that may be taken though none is known: whoever may not list them knows them all the same."""
VIEWS_ELSEWHERE: Final = {
    "pods": "fleet",
    "po": "fleet",
    "no": "nodes",
    "svc": "ports",
    "services": "ports",
    "ing": "ports",
    "ingresses": "ports",
    "ev": "events",
}
"""What kubectl and k9s call what stands in a view here."""
WORDS: Final[dict[str, tuple[str, ...]]] = {"switch": ("on", "off"), "order": ("asc", "desc")}
"""Kinds whose names never change."""
WHOLE: Final = ("text", "path", "topic", "instant")
"""Kinds that take the rest of the line, blanks and all."""
OFFERED: Final = 200
NEAR: Final = 3
DIGITS: Final = 9
YEAR_S: Final = 31_536_000.0
"""Some instant: only whether words are an instant is asked, not which one."""


class Parsed(msgspec.Struct, frozen=True):
    """A line that can be carried out: the command and a value for each of its arguments, None where left out."""

    command: Command
    values: tuple[Value, ...]


class Completion(msgspec.Struct, frozen=True):
    """What may stand where one is typing: `options` replace the text from `start` on."""

    start: int
    options: tuple[str, ...] = ()
    command: Command | None = None
    """The command that is already named."""
    argument: Argument | None = None


def nearest(word: str, known: Sequence[str]) -> list[str]:
    """Names that were perhaps meant, the likeliest first."""
    begins = [name for name in known if name.startswith(word)][:NEAR] if word else []
    close = difflib.get_close_matches(word, known, n=NEAR, cutoff=0.5)
    return list(dict.fromkeys([*begins, *close]))[:NEAR]


def parse(text: str, names: Names) -> Parsed:
    """The command and its checked values. Raises UsageError with a sentence that says what would be right."""
    line = text.strip()
    command, rest = _split(line, names)
    if command is None:
        words = line.split()
        known = _starts(names)
        near = nearest(line, known) or nearest(words[0] if words else "", known)
        hint = f"Near: {', '.join(near)}." if near else "tab lists the commands."
        raise UsageError(f"There is no command {line.split()[0] if words else ''!r}.", hint)
    return Parsed(command, tuple(_values(command, rest, names)))


def _starts(names: Names) -> list[str]:
    """Everything a line may begin with; a view's name alone goes to it."""
    return list(dict.fromkeys([*(command.name for command in COMMANDS), *names("view")]))


def _split(line: str, names: Names) -> tuple[Command | None, str]:
    """The longest command the line begins with, and the rest of the line."""
    words = line.split(maxsplit=2)
    for size in (2, 1):
        command = find(" ".join(words[:size])) if len(words) >= size else None
        if command is not None:
            parts = line.split(maxsplit=size)
            return command, parts[size] if len(parts) > size else ""
    if len(words) == 1 and words[0] in names("view"):
        return find("go"), words[0]
    if len(words) == 1 and VIEWS_ELSEWHERE.get(words[0]) in names("view"):
        return find("go"), VIEWS_ELSEWHERE[words[0]]
    return None, ""


def _values(command: Command, rest: str, names: Names) -> list[Value]:
    values: list[Value] = []
    words = rest.split()
    for argument in command.arguments:
        if argument.kind in WHOLE:
            taken = len(rest.split()) - len(words)
            text = (rest.split(maxsplit=taken)[taken:] or [""])[0].strip()  # its blanks stay as they are
            value, words = " ".join(words) if argument.kind in NAMED else text, []
            if not value and not argument.optional:
                raise _missing(command, argument)
            values.append(_value(command, argument, value, names) if value else None)
        elif argument.many:
            values.append(tuple(str(_value(command, argument, word, names)) for word in words))
            words = []
        elif words:
            values.append(_value(command, argument, words.pop(0), names))
        elif argument.optional:
            values.append(None)
        else:
            raise _missing(command, argument)
    if words:
        raise UsageError(f"{command.name} does not take {words[0]!r}.", f"Write it: {command.usage}")
    return values


def _missing(command: Command, argument: Argument) -> UsageError:
    return UsageError(f"{command.name} needs {_article(argument.name)}.", f"Write it: {command.usage}")


def _article(name: str) -> str:
    return name if "|" in name or name.endswith("s") else f"a {name}"


def _value(command: Command, argument: Argument, word: str, names: Names) -> Value:
    match argument.kind:
        case "count":
            if not word.isdecimal() or len(word) > DIGITS:
                raise UsageError(f"{command.name}: {word!r} is not a whole number.", f"Write it: {command.usage}")
            return int(word)
        case "rate":
            return _rate(command, word)
        case "instant":
            parse_instant(word, now=YEAR_S)
        case "address":
            parse_address(word)
        case kind if kind in LOOSE and not names(kind):
            pass
        case kind if kind in NAMED:
            known = _known(kind, names)
            if word not in known:
                near = nearest(word, known)
                hint = f"Near: {', '.join(near)}." if near else f"tab lists what there is of {argument.kind}."
                raise UsageError(f"There is no {argument.name} {word!r}.", hint)
    return word


def _rate(command: Command, word: str) -> float:
    try:
        rate = float(word)
    except ValueError:
        rate = -1.0
    if not math.isfinite(rate) or rate < 0:
        raise UsageError(f"{command.name}: {word!r} is not a number of 0 or more.", f"Write it: {command.usage}")
    return rate


def _known(kind: str, names: Names) -> Sequence[str]:
    return WORDS[kind] if kind in WORDS else TOPICS if kind == "topic" else names(kind)


def complete(text: str, names: Names) -> Completion:
    """What may be typed at the end of `text`."""
    line = text.lstrip()
    lead = len(text) - len(line)
    command, rest = _split(line, lambda _: ())
    ended = line.endswith(" ")
    if command is None or (not rest and not ended):
        options = _matching(line, _starts(names))
        return Completion(lead, tuple(options), find(line))
    words = rest.split()
    typed = "" if ended or not words else words[-1]
    at = len(words) - (1 if typed else 0)
    argument = _argument_at(command, at)
    start = len(text) - len(typed)
    if argument is None:
        return Completion(start, (), command)
    if argument.kind in ("path", "topic"):
        typed, start = rest, len(text) - len(rest) - (1 if rest and ended else 0)
    if argument.kind == "path":
        return Completion(start, tuple(_matching(typed, names("path"))), command, argument)
    if argument.kind == "text" and argument.name == "words" and command.name == "filter":
        return Completion(start, tuple(f for f in _matching(typed, names("filter")) if typed), command, argument)
    if argument.kind not in NAMED:
        return Completion(start, (), command, argument)
    taken = set(words[:-1] if typed else words) if argument.many else set()
    known = [name for name in _known(argument.kind, names) if name not in taken] if taken else None
    options = _matching(typed, _known(argument.kind, names) if known is None else known)
    return Completion(start, tuple(options), command, argument)


def _argument_at(command: Command, at: int) -> Argument | None:
    if at < len(command.arguments):
        return command.arguments[at]
    last = command.arguments[-1] if command.arguments else None
    return last if last is not None and (last.many or last.kind in WHOLE) else None


def _matching(typed: str, known: Sequence[str]) -> list[str]:
    """Names that begin with what is typed, else names that contain it."""
    wanted = typed.casefold()
    begins: list[str] = []
    for name in known:
        if name.casefold().startswith(wanted):
            begins.append(name)
            if len(begins) == OFFERED:
                return begins
    return begins or [name for name in known if wanted in name.casefold()][:OFFERED]
