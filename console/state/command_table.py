"""The commands of the command line as one table: names, arguments, what each does. Data only.

Who performs a command is named by `part.method`; the grammar over the table is console.state.commands.
"""

from __future__ import annotations

from typing import Final

import msgspec

from backend.contract.words import Risk, Verb

KINDS_OF_WORKLOADS: Final = ("deploy", "deployments", "dp", "sts", "statefulsets", "ds", "daemonsets", "jobs")
"""As kubectl and k9s call them."""


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
    Command(
        name="fleet add",
        says="Another fleet in a tab of its own: docker:…, k8s:…",
        does="fleets.open",
        arguments=_one("address"),
    ),
    Command(
        name="fleet forget",
        says="Close a fleet's tab for good; what runs there goes on",
        does="fleets.forget",
        arguments=_one("fleet"),
    ),
    Command(
        name="namespace",
        says="Another namespace of this cluster, in its tab",
        does="fleets.namespace",
        arguments=_one("namespace"),
        aliases=("ns",),
    ),
    Command(
        name="context",
        says="The namespace of another context, in its tab",
        does="fleets.context",
        arguments=_one("context"),
        aliases=("ctx",),
    ),
    Command(
        name="workloads",
        says="The workloads, with their rollouts",
        does="commands.workloads",
        aliases=KINDS_OF_WORKLOADS,
    ),
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


def find(name: str) -> Command | None:
    """By name or alias."""
    return next((command for command in COMMANDS if name == command.name or name in command.aliases), None)
