"""The grammar of the command line: what is a command, what may follow, and what is said of what is none."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract.errors import UsageError
from backend.contract.words import Risk
from console.render.command_line import option_lines
from console.render.spans import line_width
from console.state.command_line import CommandLine, History
from console.state.command_table import COMMANDS, find
from console.state.commands import NAMED, Completion, Parsed, complete, nearest, parse

KNOWN = {
    "node": ["node-1"],
    "target": ["llm", "llm-0"],
    "forward": ["a00001"],
    "replica": ["llm-0", "llm-1", "llm-10", "embed-0"],
    "workload": ["llm", "embed"],
    "view": ["overview", "fleet", "requests", "logs", "help"],
    "theme": ["minimalist", "hacker"],
    "fleet": ["local", "other"],
    "drill": ["replica-kill"],
    "namespace": ["shop", "staging"],
    "context": ["prod"],
    "address": ["docker", "k8s:prod"],
    "column": ["name", "cpu"],
    "filter": ["name:", "cpu:"],
    "path": ["a.svg", "folder/"],
}


def names(kind: str) -> Sequence[str]:
    return KNOWN.get(kind, [])


def read(line: str) -> Parsed:
    return parse(line, names)


@pytest.mark.parametrize(
    ("line", "name", "values"),
    [
        ("logs llm-0", "logs", (("llm-0",),)),
        ("logs", "logs", ((),)),
        ("restart llm-0 llm-1", "restart", (("llm-0", "llm-1"),)),
        ("scale llm 3", "scale", ("llm", 3)),
        ("  drill run   replica-kill ", "drill run", ("replica-kill",)),
        ("exec llm-0 sh -c 'a  b'", "exec", ("llm-0", "sh -c 'a  b'")),
        ("exec llm-0", "exec", ("llm-0", None)),
        ("filter phase:NotReady  cpu>80", "filter", ("phase:NotReady  cpu>80",)),
        ("filter", "filter", (None,)),
        ("sort cpu desc", "sort", ("cpu", "desc")),
        ("sort cpu", "sort", ("cpu", None)),
        ("load 0.5", "load", (0.5,)),
        ("load", "load", (None,)),
        ("note deploy 42: done", "note", ("deploy 42: done",)),
        ("autoscale llm off", "autoscale", ("llm", "off")),
        ("requests", "go", ("requests",)),
        ("go requests", "go", ("requests",)),
        ("at -5m", "at", ("-5m",)),
        ("at 2026-11-21 14:05", "at", ("2026-11-21 14:05",)),
        ("fleet tab other", "fleet tab", ("other",)),
        ("fleet", "go", ("fleet",)),
        ("q", "quit", ()),
        ("ack", "acknowledge", ()),
        ("help drill run", "help", ("drill run",)),
        ("theme hacker", "theme", ("hacker",)),
    ],
)
def test_a_line_is_read_as_a_command_with_its_values(line: str, name: str, values: tuple[object, ...]) -> None:
    parsed = read(line)
    assert (parsed.command.name, parsed.values) == (name, values)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("kil llm-0", "There is no command 'kil'. Near: kill"),
        ("", "There is no command"),
        ("zzzz", "tab lists the commands"),
        ("drill rum x", "Near: drill run"),
        ("scale", "scale needs a workload. Write it: scale WORKLOAD REPLICAS"),
        ("scale llm", "scale needs replicas."),
        ("scale llm 99999999999", "is not a whole number"),
        ("scale llm three", "'three' is not a whole number"),
        ("scale llm -1", "'-1' is not a whole number"),
        ("scale lm 3", "There is no workload 'lm'. Near: llm"),
        ("scale llm 3 4", "scale does not take '4'"),
        ("kill llm-2", "There is no replica 'llm-2'. Near: llm-"),
        ("kill llm-0 xyzzy", "There is no replica 'xyzzy'. tab lists"),
        ("autoscale llm maybe", "There is no on|off 'maybe'"),
        ("at soon", "'soon' is no time. Type 14:05"),
        ("at", "at needs a time"),
        ("fleet tab none", "There is no fleet 'none'"),
        ("load fast", "'fast' is not a number of 0 or more"),
        ("load nan", "'nan' is not a number"),
        ("load -1", "'-1' is not a number"),
        ("note", "note needs words"),
        ("autoscale llm", "autoscale needs on|off"),
        ("theme sepia", "There is no theme 'sepia'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_happens(line: str, words: str) -> None:
    with pytest.raises(UsageError) as told:
        read(line)
    assert words in str(told.value)


@pytest.mark.parametrize(
    ("typed", "start", "options"),
    [
        ("sc", 0, ("scale",)),
        ("drill ", 0, ("drill run", "drill watch", "drill allow")),
        ("drill r", 0, ("drill run",)),
        ("  dra", 2, ("drain",)),
        ("scale ", 6, ("llm", "embed")),
        ("scale e", 6, ("embed",)),
        ("scale llm ", 10, ()),
        ("kill llm-1", 5, ("llm-1", "llm-10")),
        ("kill llm-1 ", 11, ("llm-0", "llm-10", "embed-0")),
        ("kill bed", 5, ("embed-0",)),
        ("filter n", 7, ("name:",)),
        ("filter ", 7, ()),
        ("sort cpu d", 9, ("desc",)),
        ("note de", 5, ()),
        ("quit ", 5, ()),
        ("requ", 0, ("requests",)),
        ("help drill w", 5, ("drill watch",)),
        ("help scal", 5, ("scale", "autoscale")[:1]),
    ],
)
def test_completion_offers_what_may_stand_there(typed: str, start: int, options: tuple[str, ...]) -> None:
    found = complete(typed, names)
    assert (found.start, found.options) == (start, options)


def test_everything_completion_offers_in_a_finished_line_is_accepted() -> None:
    for command in COMMANDS:
        line = command.name
        for argument in command.arguments:
            options = (
                complete(f"{line} ", names).options
                if argument.kind in NAMED
                else ("12:30",)
                if argument.kind == "instant"
                else ("7",)
            )
            assert options, f"{command.name}: nothing is offered for {argument.name}"
            line += f" {options[0]}"
        assert read(line).command is command


def test_names_are_unique_and_what_changes_the_fleet_asks() -> None:
    every = [name for command in COMMANDS for name in (command.name, *command.aliases)]
    assert len(every) == len(set(every))
    assert {find(name).risk for name in ("kill",)} == {Risk.HIGH}  # type: ignore[union-attr]
    for name in ("restart", "rollout", "drain", "undrain", "drill run", "undo", "maintenance", "autoscale"):
        command = find(name)
        assert command is not None
        assert command.asks == "asks first"


@given(st.text(max_size=40))
def test_no_line_breaks_the_parser_or_completion(line: str) -> None:
    found = complete(line, names)
    assert all(isinstance(option, str) for option in found.options)
    assert 0 <= found.start <= len(line)
    with suppress(UsageError):
        assert read(line).command in COMMANDS


def test_of_very_many_names_the_first_are_offered() -> None:
    many = [f"llm-{number}" for number in range(10_000)]
    found = complete("kill llm-", lambda kind: many if kind == "replica" else [])
    assert found.options == tuple(many[:200])


def test_nearest_knows_what_begins_so_and_what_looks_alike() -> None:
    assert nearest("scal", ["kill", "scale"]) == ["scale"]
    assert nearest("sacle", ["kill", "scale"]) == ["scale"]
    assert nearest("", ["kill"]) == []


# -- the line ------------------------------------------------------------------------------------------------


def line_of(*history: str) -> CommandLine:
    return CommandLine(names, History(history))


def test_tab_cycles_and_shift_tab_goes_back() -> None:
    line = line_of()
    text = line.tab("kill llm")
    assert (text, line.chosen) == ("kill llm-0", 0)
    text = line.tab(text)
    assert (text, line.chosen) == ("kill llm-1", 1)
    assert line.look(text).options == ("llm-0", "llm-1", "llm-10"), "what it cycles through stays listed"
    assert line.tab(text, -1) == "kill llm-0"
    assert line.tab("kill llm-0", -1) == "kill llm-10"
    assert line.look("kill llm-1x").options == ()
    assert line.chosen == -1


def test_the_only_option_is_taken_with_the_blank_that_follows_it() -> None:
    line = line_of()
    assert line.tab("sca") == "scale "
    assert line.tab("scale ll") == "scale llm "
    assert line.tab("them") == "theme "
    assert line.tab("export fol") == "export folder/"
    assert line.tab("qui") == "quit"
    assert line.tab("xyz") == "xyz"
    assert line.tab("kill llm", -1) == "kill llm-10"


def test_up_recalls_what_began_so_and_down_comes_back() -> None:
    line = line_of("scale llm 3", "logs llm-0", "scale llm 4")
    assert line.older("sc") == "scale llm 4"
    assert line.older("scale llm 4") == "scale llm 3"
    assert line.older("scale llm 3") == "scale llm 3"
    assert line.newer("scale llm 3") == "scale llm 4"
    assert line.newer("scale llm 4") == "sc"
    assert line.newer("sc") == "sc"
    line.typed()
    assert line.older("") == "scale llm 4"
    assert line_of().older("x") == "x"


def test_the_ghost_is_the_newest_line_that_began_so_else_the_first_option() -> None:
    line = line_of("scale llm 3")
    assert line.ghost("sc") == "scale llm 3"
    assert line.ghost("scale e") == "scale embed"
    assert line.ghost("kill llm-1") is None
    assert line.ghost("kill bed") is None
    assert line.ghost("") is None
    assert line.ghost("scale ") == "scale llm 3"
    assert line.ghost("kill ") is None


def test_history_is_kept_once_each_across_runs(tmp_path) -> None:
    place = tmp_path / "state" / "commands"
    history = History.read(place)
    for line in ("logs llm-0", "scale  llm 3", "logs llm-0", "  "):
        history.add(line)
    again = History.read(place)
    assert again.lines == ["scale llm 3", "logs llm-0"]
    assert list(place.parent.iterdir()) == [place]
    many = History([f"note {number}" for number in range(600)])
    assert (len(many.lines), many.lines[-1]) == (500, "note 599")
    History().add("kept in memory only")


# -- what is drawn above it ----------------------------------------------------------------------------------


def words(lines: Sequence[tuple[tuple[str, str], ...]]) -> list[str]:
    return ["".join(text for text, _ in line).rstrip() for line in lines]


@pytest.mark.parametrize("width", [20, 40, 120])
def test_lines_above_have_the_width_and_show_the_chosen_option(width: int) -> None:
    many = Completion(5, tuple(f"replica-{number}" for number in range(100)), find("kill"), find("kill").arguments[0])  # type: ignore[union-attr]
    for chosen in (-1, 0, 57, 99):
        lines = option_lines(many, chosen, width)
        assert len(lines) <= 8
        assert {line_width(line) for line in lines} == {width}
        if chosen >= 0:
            assert f"▸replica-{chosen}" in "\n".join(words(lines))
    commands = complete("", names)
    for chosen in (-1, 0, len(commands.options) - 1):
        lines = option_lines(commands, chosen, width)
        assert {line_width(line) for line in lines} == {width}
        if chosen >= 0:
            assert f"▸{commands.options[chosen][:4]}" in "\n".join(words(lines))


def test_the_line_above_says_how_a_command_is_written_and_what_it_asks() -> None:
    assert words(option_lines(complete("kill ", names), -1, 120))[0] == (
        " kill [REPLICA…]   Kill replicas' processes   wants the name typed"
    )
    assert words(option_lines(complete("kill ", names), -1, 45))[0] == " kill [REPLICA…]   wants the name typed   Ki…"
    assert words(option_lines(Completion(0), -1, 60)) == []
    assert words(option_lines(complete("kil", names), -1, 60, problem="No."))[0] == " No."
    assert "more" in words(option_lines(complete("", names), -1, 80))[-1]
    assert words(option_lines(complete("requests", names), -1, 80))[0].split() == ["requests", "Show", "this", "view"]


def test_namespaces_and_contexts_are_known_or_taken_as_they_are_typed() -> None:
    assert complete("ns s", names).options == ("shop", "staging")
    assert complete("ctx ", names).options == ("prod",)
    with pytest.raises(UsageError, match="Near: staging"):
        parse("ns stagin", names)
    blind = parse("ns stagin", lambda kind: [] if kind == "namespace" else names(kind))
    assert (blind.command.name, blind.values) == ("namespace", ("stagin",))
    with pytest.raises(UsageError, match="is no address"):
        parse("fleet add nowhere:x", names)


@pytest.mark.parametrize(
    ("line", "does"), [("pods", "commands.go"), ("po", "commands.go"), ("deploy", "commands.workloads")]
)
def test_what_kubectl_calls_them_leads_to_the_views_here(line: str, does: str) -> None:
    found = parse(
        line, lambda kind: ["overview", "fleet", "events", "nodes", "ports"] if kind == "view" else names(kind)
    )
    assert found.command.does == does
