"""The keymap in the console: the screen library's own names, the file at start, defaults that are safe everywhere."""

from __future__ import annotations

import importlib
import json
import pkgutil
import string
from pathlib import Path

import pytest
from textual.binding import Binding
from textual.keys import _character_to_key
from textual.screen import Screen as AnyScreen
from textual.widget import Widget

import console.tui
from backend.contract.errors import FileError
from console.cli import run
from console.state.keymap import SIGN_NAMES, Keymap, canonical, conflicts
from console.state.places import keymap_file
from console.tui.keymap import SCOPES, check, load, owners, table
from console.tui.run import _keymap
from tests.unit.console.test_tui import console as opened

pytestmark = pytest.mark.timeout(600)


def test_signs_are_named_as_the_screen_library_names_them() -> None:
    assert {sign: _character_to_key(sign) for sign in SIGN_NAMES} == SIGN_NAMES
    assert set(SIGN_NAMES) == set(string.punctuation)


def test_a_file_is_read_and_checked_before_the_screen_opens(tmp_path: Path) -> None:
    place = tmp_path / "keys.toml"
    place.write_text('[keys]\n"act.kill" = "ctrl+shift+k"\n')
    assert load(place).keys == {"act.kill": ("ctrl+shift+k",)}
    place.write_text('[keys]\n"act.kil" = "x"\n')
    with pytest.raises(FileError) as told:
        load(place)
    assert (told.value.line, told.value.exit_code) == (2, 64)
    assert "cannot be read" in str(check(tmp_path / "none.toml")[1][0])
    place.write_bytes(b"\xff")
    assert "not UTF-8" in str(check(place)[1][0])


def test_trinity_keys_lists_what_is_in_force_and_checks_a_file(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert run(["keys"]) == 0
    assert "act.kill" in capsys.readouterr().out
    place = keymap_file({"XDG_CONFIG_HOME": str(tmp_path)})
    place.parent.mkdir()
    place.write_text('[keys]\n"act.kill" = "f9"\n"table.down" = "f2"\n"act.drain" = "f2"\n"go.theme" = ""\n')
    assert run(["keys"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "act.kill" in line)
    assert line.split()[:3] == ["*", "act.kill", "f9"]
    assert run(["keys", "--json"]) == 0
    told = {one["id"]: one for one in json.loads(capsys.readouterr().out)}
    assert told["act.kill"] == {
        "id": "act.kill",
        "keys": ["f9"],
        "scope": "everywhere",
        "says": "Kill the replica's process",
        "moved": True,
    }
    assert run(["keys", "--check", str(place)]) == 0
    assert "f2 is table.down in tables, and act.drain elsewhere." in capsys.readouterr().out
    place.write_text('[keys]\n"act.kil" = "f9"\n"act.drain" = "xx"\n')
    assert run(["keys", "--check", str(place)]) == 64
    said = capsys.readouterr().err
    assert f"{place}:2:1: nothing is called 'act.kil'" in said
    assert f"{place}:3:1: act.drain: 'xx' is no key" in said
    assert run(["keys"]) == 64
    assert f"trinity: {place}:2:1:" in capsys.readouterr().err


def test_a_wrong_keymap_ends_before_the_screen_opens(tmp_path: Path, monkeypatch) -> None:
    place = tmp_path / "keys.toml"
    place.write_text('[keys]\n"act.kil" = "f9"\n')
    with pytest.raises(FileError):
        _keymap(place)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    assert _keymap(None) is None


def test_defaults_are_free_of_conflicts_in_every_scope() -> None:
    every = table()
    assert conflicts(Keymap(), every) == []
    assert len({bound.id for bound in every}) == len(every), "each id once"
    assert all(canonical(key) == key for bound in every for key in bound.keys)
    assert all(bound.says for bound in every)


def test_no_deed_is_on_a_control_chord() -> None:
    harmless = {"go.quit", "go.redraw", "go.palette", "line.leave"}
    for bound in table():
        for key in bound.keys:
            assert not key.startswith(("ctrl+", "alt+", "super+")) or bound.id in harmless, f"{bound.id} on {key}"


def test_every_class_with_keys_of_its_own_is_a_scope() -> None:
    known = {owner for _, owner in owners()}
    assert len(known) == len(SCOPES)
    for module in pkgutil.walk_packages(console.tui.__path__, "console.tui."):
        for thing in vars(importlib.import_module(module.name)).values():
            if not isinstance(thing, type) or thing.__module__ != module.name or not issubclass(thing, Widget):
                continue
            named = [
                binding.id
                for binding in thing.__dict__.get("BINDINGS", ())
                if isinstance(binding, Binding) and binding.id and not binding.id.startswith("go.")
            ]
            assert not named or thing in known or issubclass(thing, AnyScreen), f"{thing.__name__}: {named}"


async def test_the_keymap_moves_and_takes_away_keys_and_help_says_so() -> None:
    async with opened(keymap=Keymap({"view.fleet": ("f9",), "act.kill": (), "table.down": ("ctrl+n",)})) as screen:
        model = screen.app.view.table().model
        await screen.press("K", "2", "j")
        assert (screen.app.view_name, model.cursor, len(screen.app.screen_stack)) == ("overview", 0, 1)
        await screen.press("ctrl+n")
        assert model.cursor == 1
        await screen.press("f9")
        await screen.until(lambda: screen.app.view_name == "fleet", "moved to f9")
        await screen.press("question_mark")
        await screen.shows("Here: Replicas")
        await screen.shows("f9")
        await screen.shows("ctrl+n")
