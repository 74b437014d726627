"""What a person has set survives: broken files, other consoles, disks that refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.render.columns import REPLICAS
from console.state.column_choice import (
    NARROWEST,
    Choice,
    chosen_columns,
    default_choices,
    moved,
    read_choices,
    toggled,
    widened,
)
from console.state.places import preferences_file
from console.state.preferences import Preferences


def test_the_file_is_in_the_users_configuration_folder() -> None:
    assert preferences_file({"XDG_CONFIG_HOME": "/c"}) == Path("/c/trinity/console.json")
    assert preferences_file({"HOME": "/home/ada"}) == Path("/home/ada/.config/trinity/console.json")


def test_what_is_put_is_there_for_the_next_console(tmp_path: Path) -> None:
    path = tmp_path / "trinity" / "console.json"
    first = Preferences(path)
    assert first.get("columns", "replicas") is None
    assert first.put("columns", "replicas", [{"key": "name"}]) == ""
    assert first.put("theme", "name", "ocean") == ""
    again = Preferences(path)
    assert (again.get("columns", "replicas"), again.get("theme", "name")) == ([{"key": "name"}], "ocean")
    assert [entry.name for entry in path.parent.iterdir()] == ["console.json"], "nothing is left lying about"
    again.put("theme", "name", None)
    assert json.loads(path.read_text()) == {"columns": {"replicas": [{"key": "name"}]}, "theme": {}}


def test_two_consoles_keep_each_others_settings(tmp_path: Path) -> None:
    one, two = Preferences(tmp_path / "p.json"), Preferences(tmp_path / "p.json")
    one.put("columns", "replicas", [1])
    two.put("columns", "events", [2])
    one.put("theme", "name", "x")
    assert json.loads((tmp_path / "p.json").read_text()) == {
        "columns": {"replicas": [1], "events": [2]},
        "theme": {"name": "x"},
    }


@pytest.mark.parametrize("text", ["{", "[]", '{"columns": 3}', "", "\xff", "[" * 100_000])
def test_a_broken_file_is_told_and_never_lost(tmp_path: Path, text: str) -> None:
    path = tmp_path / "p.json"
    path.write_bytes(text.encode("latin-1"))
    (tmp_path / "p.json.bad").write_text("an earlier one")
    preferences = Preferences(path)
    assert "goes by its defaults" in preferences.problem
    assert preferences.get("columns", "replicas") is None
    assert path.read_bytes() == text.encode("latin-1"), "reading changes nothing"
    said = preferences.put("theme", "name", "ocean")
    assert "p.json.bad-2" in said
    assert (tmp_path / "p.json.bad-2").read_bytes() == text.encode("latin-1")
    assert (tmp_path / "p.json.bad").read_text() == "an earlier one"
    assert Preferences(path).get("theme", "name") == "ocean"
    assert preferences.put("theme", "name", "paper") == ""


def test_a_file_that_breaks_while_the_console_runs_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    preferences = Preferences(path)
    preferences.put("theme", "name", "ocean")
    path.write_text("{ half an ed")
    preferences.put("columns", "replicas", [1])
    assert Preferences(path).get("theme", "name") == "ocean"
    assert (tmp_path / "p.json.bad").read_text() == "{ half an ed"


def test_a_place_that_cannot_be_read_or_written_is_told_and_the_setting_holds(tmp_path: Path) -> None:
    (tmp_path / "p.json").mkdir()
    preferences = Preferences(tmp_path / "p.json")
    assert "cannot be read (Is a directory)" in preferences.put("theme", "name", "ocean")
    assert preferences.get("theme", "name") == "ocean"
    (tmp_path / "file").write_text("")
    below = Preferences(tmp_path / "file" / "p.json")
    assert below.put("theme", "name", "ocean") != ""
    assert below.get("theme", "name") == "ocean"


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    preferences = Preferences(tmp_path / "p.json")
    preferences.put("theme", "name", "ocean")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert "cannot be written (No space left on device)" in preferences.put("theme", "name", "paper")
    monkeypatch.undo()
    assert Preferences(tmp_path / "p.json").get("theme", "name") == "ocean"
    assert [entry.name for entry in tmp_path.iterdir()] == ["p.json"]


def test_without_a_file_settings_hold_while_the_console_runs() -> None:
    preferences = Preferences()
    assert preferences.put("theme", "name", "ocean") == ""
    assert preferences.get("theme", "name") == "ocean"
    assert preferences.problem == ""


def keys(choices: tuple[Choice, ...]) -> list[str]:
    return [column.key for column in chosen_columns(REPLICAS, choices)]


def test_columns_are_as_they_were_chosen() -> None:
    saved = [
        {"key": "pid"},
        {"key": "phase"},
        {"key": "name", "width": 30},
        {"key": "gone"},
        {"key": "age", "shown": False},
    ]
    shown = chosen_columns(REPLICAS, read_choices(saved, REPLICAS))
    found = [column.key for column in shown]
    assert found.index("pid") < found.index("phase") < found.index("name")
    assert "age" not in found
    assert "port" not in found, "what is new and hidden by itself stays hidden"
    assert "cpu" in found, "what is new and shown by itself is shown"
    assert next(column.width for column in shown if column.key == "name") == 30


@pytest.mark.parametrize("saved", [None, 3, "x", [3], [{"key": 1}], [{"key": c.key, "shown": False} for c in REPLICAS]])
def test_what_cannot_be_understood_is_the_default(saved: object) -> None:
    assert read_choices(saved, REPLICAS) == default_choices(REPLICAS)


def test_a_column_is_shown_moved_and_widened() -> None:
    choices = default_choices(REPLICAS)
    assert keys(choices)[:3] == ["name", "phase", "restarts"]
    assert keys(toggled(choices, 1))[:2] == ["name", "restarts"]
    choices, at = moved(choices, 0, 1)
    assert (keys(choices)[:3], at) == (["phase", "name", "restarts"], 1)
    assert moved(choices, 0, -1) == (choices, 0)
    wide = widened(widened(choices, 1, 1, REPLICAS), 1, 1, REPLICAS)
    assert chosen_columns(REPLICAS, wide)[1].width == 11
    for _ in range(30):
        wide = widened(wide, 1, -1, REPLICAS)
    assert chosen_columns(REPLICAS, wide)[1].width == NARROWEST


def test_the_last_column_that_is_shown_stays() -> None:
    only = (Choice(key="name"), Choice(key="phase", shown=False))
    assert toggled(only, 0) == only
    assert toggled(only, 1)[1].shown


saved_choices = st.fixed_dictionaries(
    {"key": st.sampled_from([column.key for column in REPLICAS] + ["x"])},
    optional={"shown": st.booleans(), "width": st.none() | st.integers()},
)


@given(st.lists(saved_choices))
def test_every_column_is_there_once_whatever_was_saved(saved: list[dict[str, object]]) -> None:
    choices = read_choices(saved, REPLICAS)
    assert sorted(choice.key for choice in choices) == sorted(column.key for column in REPLICAS)
    assert any(choice.shown for choice in choices)
    assert all(column.width >= NARROWEST for column in chosen_columns(REPLICAS, choices))
