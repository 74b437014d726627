"""The keymap: names of keys, the file's errors with their line, conflicts; and defaults that are safe everywhere."""

from __future__ import annotations

import importlib
import json
import pkgutil
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.binding import Binding
from textual.keys import _character_to_key
from textual.screen import Screen as AnyScreen
from textual.widget import Widget

import console.tui
from backend.contract.errors import FileError
from console.cli import run
from console.state.keymap import NOTHING, SIGN_NAMES, Bound, Keymap, canonical, conflicts, covered, display, parse
from console.state.places import history_file, keymap_file
from console.tui.keymap import SCOPES, check, load, owners, table
from console.tui.run import _keymap
from tests.unit.console.test_tui import console as opened

TABLE = (
    Bound("act.kill", ("K",), "Kill"),
    Bound("act.drain", ("D",), "Drain"),
    Bound("go.filter", ("slash",), "Filter"),
    Bound("table.down", ("down", "j"), "next row", "in tables"),
    Bound("log.down", ("down", "j"), "forward", "in logs"),
)


def problems_of(text: str) -> list[str]:
    return [str(problem) for problem in parse(text, "keys.toml", TABLE)[1]]


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("?", "question_mark"),
        ("question_mark", "question_mark"),
        ("+", "plus"),
        ("ctrl++", "ctrl+plus"),
        ("shift+ctrl+k", "ctrl+shift+k"),
        ("f5", "f5"),
        ("K", "K"),
        ("escape", "escape"),
        ("ctrl+[", "ctrl+left_square_bracket"),
        ("", None),
        ("hyper+hyper+k", None),
        ("ctrl", None),
        ("kk", None),
        ("strg+k", None),
        ("f99", None),
    ],
)
def test_a_key_has_one_name(written: str, name: str | None) -> None:
    assert canonical(written) == name


def test_signs_are_named_as_the_screen_library_names_them() -> None:
    assert {sign: _character_to_key(sign) for sign in SIGN_NAMES} == SIGN_NAMES
    assert set(SIGN_NAMES) == set(string.punctuation)


@given(st.sampled_from(sorted(SIGN_NAMES)), st.sampled_from(["", "ctrl+", "alt+shift+"]))
def test_what_is_displayed_is_read_back(sign: str, before: str) -> None:
    name = canonical(before + sign)
    assert name is not None
    assert canonical(display(name)) == name


def test_a_file_moves_keys_and_takes_keys_away() -> None:
    text = """[keys]
"act.kill" = "ctrl+shift+k"
"go.filter" = ["/", "f3"]
act.drain = ""
"""
    keymap, problems = parse(text, "keys.toml", TABLE)
    assert problems == []
    assert keymap.keys == {"act.kill": ("ctrl+shift+k",), "go.filter": ("slash", "f3"), "act.drain": ()}
    assert keymap.for_screen() == {"act.kill": "ctrl+shift+k", "go.filter": "slash,f3", "act.drain": NOTHING}
    assert keymap.of(TABLE[3]) == ("down", "j")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[keys]\n\n"act.kil" = "x"', "keys.toml:3:1: nothing is called 'act.kil'. Near: act.kill"),
        ('[keys]\n"z\\u007az" = "x"', "keys.toml: nothing is called 'zzz'"),
        ('[keys]\n"zzz" = "x"', "`trinity keys` lists the names."),
        ('[keys]\nact.kill = "kk"', "keys.toml:2:1: act.kill: 'kk' is no key."),
        ('[keys]\n"act.kill" = 7', "7 is no key."),
        ('[keys]\n"act.kill" = ["x", 7]', "7 is no key."),
        ('[keys]\n"act.kill" = ', "keys.toml:2:1: not TOML: Invalid value."),
        ('[kys]\n"act.kill" = "x"', "keys.toml:1:2: there is no section 'kys'."),
        ("keys = 3", "keys is not a section."),
        ('[keys]\n"act.kill" = "D"', "keys.toml:2:1: D is act.kill and act.drain (drain) at once."),
        ('[keys]\n"table.down" = ["x", "K"]\n"act.drain" = "K"', "keys.toml:3:1: K is act.drain and act.kill"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_line(text: str, words: str) -> None:
    assert words in " ".join(problems_of(text))


def test_keys_can_change_places_and_scopes_do_not_disturb_each_other() -> None:
    assert problems_of('[keys]\n"act.kill" = "D"\n"act.drain" = "K"') == []
    assert problems_of('[keys]\n"table.down" = "K"') == []
    keymap, _ = parse('[keys]\n"table.down" = "K"', "keys.toml", TABLE)
    assert covered(keymap, TABLE) == ["K is table.down in tables, and act.kill elsewhere."]
    assert covered(Keymap(), TABLE) == []


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


def test_the_history_is_kept_in_the_state_folder() -> None:
    assert history_file({"XDG_STATE_HOME": "/var/ada"}) == Path("/var/ada/trinity/commands")


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
    assert history_file({"HOME": "/home/ada"}) == Path("/home/ada/.local/state/trinity/commands")


@given(
    st.dictionaries(
        st.sampled_from([bound.id for bound in TABLE] + ["nothing.such"]),
        st.sampled_from(["K", "D", "j", "f9", "ctrl+x", "", "??"]),
    )
)
def test_a_keymap_without_problems_has_no_key_that_means_two_things(section: dict[str, str]) -> None:
    text = "[keys]\n" + "".join(f'"{name}" = "{key}"\n' for name, key in section.items())
    keymap, problems = parse(text, "keys.toml", TABLE)
    if problems:
        assert all(problem.line > 1 for problem in problems)
    else:
        assert conflicts(keymap, TABLE) == []
        assert {name: " ".join(keymap.keys[name]) for name in section} == section


@given(st.text(max_size=60))
def test_no_file_breaks_the_reader(text: str) -> None:
    keymap, problems = parse(text, "keys.toml", TABLE)
    assert problems or isinstance(keymap, Keymap)


# -- the defaults --------------------------------------------------------------------------------------------


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
        assert "f9" in screen.text
        assert "ctrl+n" in screen.text
