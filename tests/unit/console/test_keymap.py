"""The keymap: names of keys, the file's errors with their line, conflicts; where it stands."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.state.keymap import NOTHING, SIGN_NAMES, Bound, Keymap, canonical, conflicts, covered, display, parse
from console.state.places import history_file, keymap_file

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


def test_keymap_and_history_are_in_the_folders_of_the_user() -> None:
    assert keymap_file({"XDG_CONFIG_HOME": "/etc/ada"}) == Path("/etc/ada/trinity/keys.toml")
    assert keymap_file({"HOME": "/home/ada"}) == Path("/home/ada/.config/trinity/keys.toml")
    assert history_file({"XDG_STATE_HOME": "/var/ada"}) == Path("/var/ada/trinity/commands")
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
