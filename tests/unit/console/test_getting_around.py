"""Getting around by the command line, the palette, jump labels, crumbs: driven on a simulated fleet."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.contract.words import Verb
from console.tui.app import TrinityApp
from console.tui.command_line import CommandBar, CommandInput, Options, paths
from console.tui.dialogs import ConfirmDialog
from tests.unit.console.test_tui import Screen, console


async def type_line(screen: Screen, line: str) -> None:
    await screen.press("colon")
    await screen.until(lambda: screen.app.query(CommandInput) and screen.app.query_one(CommandInput).has_focus, "opens")
    screen.app.query_one(CommandInput).value = line
    await screen.press("enter")


async def test_a_command_is_completed_carried_out_and_recalled() -> None:
    async with console() as screen:
        await screen.press("colon", *"sca")
        await screen.shows("Scale a workload")
        await screen.press("tab", "tab", "4", "enter")
        await screen.until(lambda: screen.source.world.wanted["llm"] == 4, "scaled")
        await screen.until(lambda: not screen.app.query(CommandBar), "the line is gone")
        await screen.press("colon", "up")
        await screen.until(lambda: screen.app.query_one(CommandInput).value == "scale llm 4", "recalled")
        await screen.press("escape")
        await screen.until(lambda: not screen.app.query(CommandBar), "esc leaves it")
        await screen.press("down")
        assert screen.app.view.table().model.cursor == 1, "the table has the keys again"


async def test_a_wrong_line_stays_open_says_why_and_does_nothing() -> None:
    async with console() as screen:
        await type_line(screen, "kill llm-9")
        await screen.shows("There is no replica 'llm-9'")
        assert screen.app.query_one(CommandInput).value == "kill llm-9"
        assert screen.verbs_done() == []


async def test_verbs_are_previewed_and_confirmed_as_by_their_keys() -> None:
    lines = (
        ("note deploy 42", "", Verb.NOTE),
        ("load 3", "", Verb.LOAD_START),
        ("load", "", Verb.LOAD_STOP),
        ("autoscale llm on", "y", Verb.AUTOSCALE),
        ("maintenance llm on", "y", Verb.MAINTENANCE),
        ("maintenance llm off", "y", Verb.MAINTENANCE),
        ("drain", "y", Verb.DRAIN),
        ("undrain llm-0", "y", Verb.UNDRAIN),
        ("restart llm-1", "y", Verb.RESTART),
        ("rollout llm", "y", Verb.ROLLOUT),
        ("kill llm-0", "llm-0", Verb.KILL),
    )
    async with console() as screen:
        for line, confirm, verb in lines:
            before = screen.verbs_done().count(verb)
            await type_line(screen, line)
            if confirm:
                await screen.until(lambda: isinstance(screen.app.screen, ConfirmDialog), f"{line} asks first")
                assert screen.verbs_done().count(verb) == before
                await screen.press(*("minus" if letter == "-" else letter for letter in confirm))
                await screen.press(*(["enter"] if len(confirm) > 1 else []))
            await screen.until(
                lambda verb=verb, before=before: screen.verbs_done().count(verb) > before, f"{line} is performed"
            )


async def test_commands_that_go_somewhere() -> None:
    async with console(replicas=12) as screen:
        app = screen.app
        for line, view in (
            ("fleet", "fleet"),
            ("go requests", "requests"),
            ("logs llm-3", "logs"),
            ("events", "journal"),
        ):
            await type_line(screen, line)
            await screen.until(lambda view=view: app.view_name == view, f"{line} shows {view}")
        await type_line(screen, "describe llm-4")
        await screen.until(lambda: app.view.replicas() == ["llm-4"], "described")
        await type_line(screen, "help scale")
        await screen.shows(":scale WORKLOAD REPLICAS")
        await type_line(screen, "find llm-7")
        await screen.until(lambda: app.view_name == "overview" and app.view.replicas() == ["llm-7"], "found")
        await type_line(screen, "sort name desc")
        await screen.until(lambda: app.view.table().model.descending, "sorted")
        await type_line(screen, "filter llm-1")
        await screen.until(lambda: len(app.view.table().model) == 3, "filtered")
        await type_line(screen, "filter")
        await screen.until(lambda: len(app.view.table().model) == 12, "all are back")
        await type_line(screen, "theme hacker")
        await screen.until(lambda: app.theme_spec.name == "hacker", "another theme")
        await type_line(screen, "quit")
        await screen.until(lambda: not app.is_running, "it ends")


async def test_the_line_lies_over_the_view_and_moves_nothing() -> None:
    async with console(size=(80, 24)) as screen:
        before = screen.app.query_one("#body").size
        await screen.press("colon")
        await screen.until(lambda: screen.app.query_one(Options).size.height > 1, "commands are listed")
        assert screen.app.query_one("#body").size == before


async def test_history_outlives_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrinityApp, "history_path", tmp_path / "commands")
    async with console() as screen:
        await type_line(screen, "filter llm-1")
        await screen.until((tmp_path / "commands").is_file, "kept")
    async with console() as screen:
        await screen.press("colon", "up")
        await screen.until(lambda: screen.app.query_one(CommandInput).value == "filter llm-1", "recalled")


def test_paths_are_completed_as_they_are_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shots").mkdir()
    (tmp_path / "shots" / "a.svg").touch()
    (tmp_path / ".hidden").touch()
    monkeypatch.chdir(tmp_path)
    assert paths("") == ["shots/"]
    assert paths("sh") == ["shots/"]
    assert paths("shots/") == ["shots/a.svg"]
    assert paths(f"{tmp_path}/.h") == [f"{tmp_path}/.hidden"]
    assert paths("none/") == []
