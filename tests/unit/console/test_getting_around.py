"""Getting around by the command line, the palette, jump labels, crumbs: driven on a simulated fleet."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from backend.contract.words import Verb
from console.cli import run
from console.state.simulator import SimulatorSource
from console.tui import picture, screenshots
from console.tui.app import TrinityApp
from console.tui.command_line import CommandBar, CommandInput, Options, paths
from console.tui.dialogs import AskDialog, ConfirmDialog, Prompt
from console.tui.jump import JumpScreen
from console.tui.screenshots import picture_of
from console.tui.strip import Strip
from tests.unit.console.test_clipboard import pasted
from tests.unit.console.test_tui import Screen, console

pytestmark = pytest.mark.timeout(600)


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
        await type_line(screen, "at -1m")
        travel = app.part("travel")
        await screen.until(lambda: travel.held is not None, "the past")
        await type_line(screen, "live")
        await screen.until(lambda: travel.held is None, "the present")
        await type_line(screen, "fleet all")
        await screen.until(lambda: app.view_name == "everywhere", "one list")
        await type_line(screen, "fleet tab local")
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


# -- jump mode, crumbs, clipboard, files -----------------------------------------------------------------------


async def test_jump_labels_lead_to_rows_panels_and_views_and_esc_ends() -> None:
    async with console(replicas=5) as screen:
        app = screen.app
        await screen.press("J")
        await screen.until(lambda: isinstance(app.screen, JumpScreen), "labels are shown")
        await screen.shows("a llm-0")
        await screen.shows("f llm-3")
        await screen.press("f")
        await screen.until(lambda: app.view.replicas() == ["llm-3"], "the row is selected")
        await screen.press("J")
        await screen.until(lambda: isinstance(app.screen, JumpScreen), "labels are shown")
        place = app.query_one("#logs").region
        at = (place.x - 1, place.y)
        logs = next(label for label, to in app.screen.targets.items() if (to.x, to.y) == at)
        await screen.press(*logs)
        await screen.until(lambda: app.query_one("#logs").has_focus, "the panel has the keys")
        await screen.press("J")
        await screen.until(lambda: isinstance(app.screen, JumpScreen), "labels are shown")
        fleet = [label for label, to in app.screen.targets.items() if to.y == app.size.height - 1][1]
        await screen.press(*fleet)
        await screen.until(lambda: app.view_name == "fleet", "the view is shown")
        await screen.press("J")
        await screen.until(lambda: isinstance(app.screen, JumpScreen), "labels are shown")
        await screen.press("escape")
        await screen.until(lambda: len(app.screen_stack) == 1, "esc ends it")


async def test_labels_of_two_letters_narrow_with_the_first() -> None:
    async with console(size=(120, 60), replicas=40) as screen:
        app = screen.app
        await screen.press("J")
        await screen.until(lambda: isinstance(app.screen, JumpScreen), "labels are shown")
        label = next(label for label in app.screen.targets if len(label) == 2)
        await screen.press(label[0])
        assert app.screen.typed == label[0]
        await screen.press("backspace", label[0], label[1])
        await screen.until(lambda: len(app.screen_stack) == 1, "it went there")


async def test_crumbs_lead_back_and_forward_again() -> None:
    async with console() as screen:
        app, strip = screen.app, screen.app.query_one(Strip)
        await screen.press("2", "l")
        await screen.shows("Overview › Fleet › Logs llm-0")  # noqa: RUF001 - the sign between crumbs
        start = screen.text.splitlines()[-1].index("Overview ›")  # noqa: RUF001 - the same
        await screen.pilot.click(strip, offset=(start + 2, 0))
        await screen.until(lambda: app.view_name == "overview", "two steps back by one click")
        await screen.press("right_square_bracket")
        await screen.until(lambda: app.view_name == "fleet", "] goes forward")
        await screen.press("right_square_bracket")
        await screen.until(lambda: app.view_name == "logs", "] goes forward")
        await screen.press("left_square_bracket")
        await screen.until(lambda: app.view_name == "fleet", "[ goes back")
        await screen.pilot.click(strip, offset=(screen.text.splitlines()[-1].index("Drills"), 0))
        await screen.until(lambda: app.view_name == "drills", "a click on a view shows it")
        await screen.press("right_square_bracket")
        assert app.view_name == "drills", "nothing lies ahead of a new way"


async def test_y_copies_the_row_marked_rows_and_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMUX", raising=False)
    monkeypatch.delenv("TRINITY_CLIPBOARD", raising=False)
    async with console() as screen:
        written: list[str] = []
        monkeypatch.setattr(screen.app._driver, "write", written.append)
        await screen.press("Y")
        await screen.until(lambda: "copied the row llm-0" in screen.message, "says what")
        assert pasted(written[-1]).startswith("llm-0\t● Ready\t")
        await screen.press("space", "space", "Y")
        await screen.until(lambda: "copied 2 rows of Replicas" in screen.message, "says what")
        assert [line.split("\t")[0] for line in pasted(written[-1]).splitlines()] == ["REPLICA", "llm-0", "llm-1"]
        await screen.press("escape", "d", "Y")
        await screen.until(lambda: "the text of llm-" in screen.message, "says what")
        assert "Last exit" in pasted(written[-1])
        await screen.press("4")
        await screen.until(lambda: screen.app.view_name == "logs" and "prompt done" in screen.text, "lines")
        await screen.press("Y")
        await screen.until(lambda: "✓ copied the line" in screen.message, "says what")
        assert " llm-" in pasted(written[-1])
        monkeypatch.setenv("TRINITY_CLIPBOARD", "off")
        await screen.press("Y")
        await screen.until(lambda: "switched off" in screen.message, "says why not")
        assert len(written) == 4


async def test_e_exports_as_the_name_says_and_never_over_a_file_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with console() as screen:
        await screen.press("E")
        await screen.until(lambda: isinstance(screen.app.screen, AskDialog), "asks for a name")
        name = screen.app.screen.query_one(Prompt).value
        assert name.startswith("trinity-overview-")
        await screen.press("enter")
        await screen.until(lambda: "✓ wrote" in screen.message, "written")
        assert "llm-0" in (tmp_path / name).read_text()
        for line, found in (("export a.txt", "▸ llm-0"), ("export a.tsv", "llm-1\t● Ready")):
            await type_line(screen, line)
            name = line.split()[1]
            await screen.until(lambda name=name: f"✓ wrote {name}" in screen.message, f"{line} is written")
            assert found in (tmp_path / line.split()[1]).read_text()
        (tmp_path / "a.txt").write_text("mine")
        await type_line(screen, "export a.txt")
        await screen.until(lambda: isinstance(screen.app.screen, AskDialog), "asks again")
        await screen.press("enter")
        await screen.shows("Enter again writes over it")
        assert (tmp_path / "a.txt").read_text() == "mine"
        await screen.press("enter")
        await screen.until(lambda: (tmp_path / "a.txt").read_text() != "mine", "written over")


async def test_names_that_cannot_be_written_are_refused_with_the_reason(tmp_path: Path) -> None:
    async with console() as screen:
        part = screen.app.part("export")
        assert part.problem(tmp_path / "a.svg") == ""
        assert "says what to write" in part.problem(tmp_path / "a.png")
        assert "no folder" in part.problem(tmp_path / "none" / "a.svg")
        (tmp_path / "folder.svg").mkdir()
        assert "is a folder" in part.problem(tmp_path / "folder.svg")
        await screen.press("8")
        await screen.until(lambda: screen.app.view_name == "help", "a view without a table")
        assert "no table" in part.problem(tmp_path / "a.tsv")
        await part._write(tmp_path / "none" / "a.txt")
        assert "was not written" in screen.message


async def test_recent_choices_of_the_palette_come_first_in_the_next_run(tmp_path: Path) -> None:
    for label in ("Command line", "▸ Theme: Hacker"):
        async with console(preferences=tmp_path / "console.json") as screen:
            await screen.press("ctrl+p")
            await screen.until(lambda: screen.app.screen.query(Prompt), "the palette")
            if label.startswith("▸"):
                await screen.shows(label)
            else:
                await screen.press(*"theme: hacker", "enter")
                await screen.until((tmp_path / "console.json").is_file, "kept")


def test_a_snapshot_is_written_without_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRINITY_STATE", str(tmp_path / "state"))
    place = tmp_path / "fleet.tsv"
    assert run(["snapshot", str(place), "--view", "fleet", "--simulate", "3", "--size", "80x24"]) == 0
    assert [line.split("\t")[0] for line in place.read_text().splitlines()] == ["REPLICA", "llm-0", "llm-1", "llm-2"]
    assert run(["snapshot", str(place), "--simulate", "3"]) == 64
    assert "--force" in capsys.readouterr().err
    for wrong, words in (
        (["-", "--view", "flet", "--simulate", "1"], "There is no view 'flet'"),
        ([str(tmp_path / "a.png"), "--simulate", "1"], "says what to write"),
        (["-", "--size", "9x9"], "not COLUMNSxROWS"),
        ([str(tmp_path / "none" / "a.txt"), "--simulate", "1"], "was not written"),
    ):
        assert run(["snapshot", *wrong]) == 64
        assert words in capsys.readouterr().err
    assert run(["snapshot", "-"]) == 69
    assert "trinity up" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("view", "method", "words"), [("requests", "rows", "/v1/"), ("drills", "drills", "llm-replica-kill")]
)
async def test_a_snapshot_waits_for_a_daemon_that_answers_late(
    view: str, method: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    text = picture.text
    monkeypatch.setattr(screenshots, "STEP_S", 0.02)
    monkeypatch.setattr(picture, "text", lambda app: looked.append("") or text(app))
    source = SimulatorSource(replicas=2)
    answer = getattr(source, method)

    async def late(*args: Any, **options: Any) -> Any:
        while args[:1] != ("events",) and len(looked) < 5:  # noqa: ASYNC110 - a daemon that has much to do
            await asyncio.sleep(0.005)
        return await answer(*args, **options)

    monkeypatch.setattr(source, method, late)
    assert words in await picture_of(source, view=view, size=(120, 40), theme=None, suffix=".txt")
