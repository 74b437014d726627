"""The grammar of the command line as one table: names, arguments, what each does. Parses and completes; never acts.

Completion, help, palette and tests are all made from `COMMANDS`. Who performs a command is named by `part.method`.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from backend.contract.errors import UsageError
from backend.contract.words import Risk, Verb
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
)
"""Kinds whose values are names; any other kind is free text or a number."""
WORDS: Final[dict[str, tuple[str, ...]]] = {"switch": ("on", "off"), "order": ("asc", "desc")}
"""Kinds whose names never change."""
WHOLE: Final = ("text", "path", "topic", "instant")
"""Kinds that take the rest of the line, blanks and all."""
OFFERED: Final = 200
NEAR: Final = 3
DIGITS: Final = 9
YEAR_S: Final = 31_536_000.0
"""Some instant: only whether words are an instant is asked, not which one."""


class Argument(msgspec.Struct, frozen=True, kw_only=True):
    """One argument. `many` takes every word that is left, as names; kind `text` takes the rest of the line as it is."""

    name: str
    kind: str
    optional: bool = False
    many: bool = False

    @property
    def usage(self) -> str:
        shown = self.name if "|" in self.name else self.name.upper() + ("…" if self.many else "")
        return f"[{shown}]" if self.optional else shown


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """One command. A name may have two words. `does` is `part.method`; the values are its arguments in order."""

    name: str
    says: str
    does: str
    arguments: tuple[Argument, ...] = ()
    aliases: tuple[str, ...] = ()
    risk: Risk = Risk.NONE
    """The least that is asked before anything is done; a preview may ask for more."""
    verb: str = ""
    """What it does to the fleet: where that cannot be done, it is dimmed."""

    @property
    def usage(self) -> str:
        return " ".join([self.name, *(argument.usage for argument in self.arguments)])

    @property
    def asks(self) -> str:
        """What stands between enter and the deed, in words; empty for what changes no fleet."""
        return {Risk.NONE: "", Risk.LOW: "asks first", Risk.HIGH: "wants the name typed"}[self.risk]


def _one(kind: str, *, optional: bool = False) -> tuple[Argument, ...]:
    return (Argument(name=kind, kind=kind, optional=optional),)


_CHOSEN: Final = (Argument(name="replica", kind="replica", optional=True, many=True),)
_SWITCHED: Final = (Argument(name="workload", kind="workload"), Argument(name="on|off", kind="switch"))

COMMANDS: Final[tuple[Command, ...]] = (
    Command(name="go", says="Show a view", does="commands.go", arguments=_one("view")),
    Command(name="logs", says="Logs of replicas, or of the selection", does="commands.logs", arguments=_CHOSEN),
    Command(
        name="describe", says="Describe a replica", does="commands.describe", arguments=_one("replica", optional=True)
    ),
    Command(name="raw", says="A replica's raw data", does="commands.raw", arguments=_one("replica", optional=True)),
    Command(name="find", says="Put the cursor on a replica", does="commands.find", arguments=_one("replica")),
    Command(
        name="filter",
        says="Filter the view; without words, clear the filter",
        does="commands.filter",
        arguments=(Argument(name="words", kind="text", optional=True),),
    ),
    Command(
        name="sort",
        says="Sort the table by a column",
        does="commands.sort",
        arguments=(Argument(name="column", kind="column"), Argument(name="asc|desc", kind="order", optional=True)),
    ),
    Command(name="theme", says="Switch the theme", does="commands.theme", arguments=_one("theme", optional=True)),
    Command(name="copy", says="Copy what is selected to the clipboard", does="copy.copy"),
    Command(
        name="export",
        says="The view to a file: .svg, .txt, .tsv",
        does="export.to",
        arguments=(Argument(name="file", kind="path", optional=True),),
    ),
    Command(name="jump", says="Labels on everything in sight", does="jump.begin"),
    Command(
        name="at",
        says="Time travel to an instant: 14:05, -5m",
        does="travel.at",
        arguments=(Argument(name="time", kind="instant"),),
    ),
    Command(name="live", says="Back from the past", does="travel.leave"),
    Command(name="compare", says="What differs from the instant A", does="travel.show_comparison"),
    Command(name="columns", says="Choose the table's columns", does="columns.edit"),
    Command(name="fleet tab", says="The tab of another fleet", does="fleets.named", arguments=_one("fleet")),
    Command(name="fleet all", says="Replicas of all fleets in one list", does="fleets.everywhere"),
    Command(name="workloads", says="The workloads, with their rollouts", does="commands.workloads"),
    Command(name="back", says="The view before", does="go.back"),
    Command(name="forward", says="Where back came from", does="go.forward"),
    Command(name="mute", says="Mute the bell, or let it ring again", does="commands.mute"),
    Command(name="redraw", says="Draw the screen again", does="commands.redraw"),
    Command(name="help", says="Help, on a command too", does="commands.help", arguments=_one("topic", optional=True)),
    Command(name="quit", says="Quit; the fleet goes on running", does="commands.quit", aliases=("q", "q!", "exit")),
    Command(
        name="scale",
        says="Scale a workload to a number of replicas",
        does="commands.scale",
        arguments=(Argument(name="workload", kind="workload"), Argument(name="replicas", kind="count")),
        verb=Verb.SCALE,
    ),
    Command(
        name="restart",
        says="Restart replicas",
        does="commands.restart",
        arguments=_CHOSEN,
        risk=Risk.LOW,
        verb=Verb.RESTART,
    ),
    Command(
        name="rollout",
        says="Rolling restart of a workload",
        does="commands.rollout",
        arguments=_one("workload", optional=True),
        risk=Risk.LOW,
        verb=Verb.ROLLOUT,
    ),
    Command(
        name="kill",
        says="Kill replicas' processes",
        does="commands.kill",
        arguments=_CHOSEN,
        risk=Risk.HIGH,
        verb=Verb.KILL,
    ),
    Command(
        name="drain",
        says="Give replicas no new work",
        does="commands.drain",
        arguments=_CHOSEN,
        risk=Risk.LOW,
        verb=Verb.DRAIN,
    ),
    Command(
        name="undrain",
        says="Take replicas back from draining",
        does="commands.undrain",
        arguments=_CHOSEN,
        risk=Risk.LOW,
        verb=Verb.UNDRAIN,
    ),
    Command(
        name="autoscale",
        says="Switch a workload's autoscaling",
        does="commands.autoscale",
        arguments=_SWITCHED,
        risk=Risk.LOW,
        verb=Verb.AUTOSCALE,
    ),
    Command(
        name="maintenance",
        says="Begin or end a workload's maintenance",
        does="commands.maintenance",
        arguments=_SWITCHED,
        risk=Risk.LOW,
        verb=Verb.MAINTENANCE,
    ),
    Command(
        name="load",
        says="Demo load of that many requests a second; without a number, or 0, stop it",
        does="commands.load",
        arguments=(Argument(name="rate", kind="rate", optional=True),),
        verb=Verb.LOAD_START,
    ),
    Command(
        name="note",
        says="Write a note into the events",
        does="commands.note",
        arguments=(Argument(name="words", kind="text"),),
    ),
    Command(
        name="rollback",
        says="Back to a workload's former revision",
        does="commands.rollback",
        arguments=_one("workload", optional=True),
        risk=Risk.LOW,
        verb=Verb.ROLLBACK,
    ),
    Command(
        name="evict",
        says="Evict replicas, within their budgets",
        does="commands.evict",
        arguments=_CHOSEN,
        risk=Risk.LOW,
        verb=Verb.EVICT,
    ),
    Command(
        name="pause",
        says="Freeze replicas",
        does="commands.pause",
        arguments=_CHOSEN,
        risk=Risk.LOW,
        verb=Verb.PAUSE,
    ),
    Command(
        name="unpause",
        says="Let frozen replicas go on",
        does="commands.unpause",
        arguments=_CHOSEN,
        verb=Verb.UNPAUSE,
    ),
    Command(
        name="cordon",
        says="Let a node take no new replicas",
        does="commands.cordon",
        arguments=_one("node"),
        risk=Risk.LOW,
        verb=Verb.CORDON,
    ),
    Command(
        name="uncordon",
        says="Let a node take replicas again",
        does="commands.uncordon",
        arguments=_one("node"),
        risk=Risk.LOW,
        verb=Verb.UNCORDON,
    ),
    Command(
        name="node drain",
        says="Cordon a node and evict what is on it",
        does="commands.drain_node",
        arguments=_one("node"),
        risk=Risk.HIGH,
        verb=Verb.NODE_DRAIN,
    ),
    Command(
        name="expose",
        says="Reach a port of it from here; without a port, ask",
        does="commands.expose",
        arguments=(
            Argument(name="target", kind="target"),
            Argument(name="port", kind="count", optional=True),
            Argument(name="here", kind="count", optional=True),
        ),
        verb=Verb.FORWARD,
    ),
    Command(
        name="unforward",
        says="Stop a forward",
        does="commands.unforward",
        arguments=_one("forward"),
        verb=Verb.UNFORWARD,
    ),
    Command(
        name="exec",
        says="A program in a replica; a shell by default",
        does="exec.run",
        arguments=(Argument(name="replica", kind="replica"), Argument(name="words", kind="text", optional=True)),
        verb=Verb.EXEC,
    ),
    Command(name="undo", says="Undo the last action that can be undone", does="verbs.undo", risk=Risk.LOW),
    Command(name="acknowledge", says="Acknowledge all alarms", does="verbs.acknowledge", aliases=("ack",)),
    Command(name="drill run", says="Run a drill", does="verbs.run_drill", arguments=_one("drill"), risk=Risk.LOW),
    Command(name="drill watch", says="Timeline of the present or last drill", does="commands.watch"),
    Command(name="drill allow", says="Let drills start again after a panic", does="verbs.allow", risk=Risk.LOW),
    Command(name="panic", says="Stop every drill, undo its faults, let no other start", does="verbs.panic"),
)
TOPICS: Final = tuple(command.name for command in COMMANDS)


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


def find(name: str) -> Command | None:
    """By name or alias."""
    return next((command for command in COMMANDS if name == command.name or name in command.aliases), None)


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
