"""The other fleets of a console: named on the command line or in a file; every mistake says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.contract.errors import FileError, UsageError
from console.state.fleet_list import FleetPlace, all_places, parse_place, read_fleets
from console.state.places import fleets_file


def test_a_place_is_named_or_named_as_its_folder(tmp_path: Path) -> None:
    assert parse_place(f"staging={tmp_path}") == FleetPlace("staging", tmp_path)
    assert parse_place(str(tmp_path / "blue")) == FleetPlace("blue", tmp_path / "blue")
    for wrong in ("=x", "x=", " = "):
        with pytest.raises(UsageError, match="NAME=DIRECTORY"):
            parse_place(wrong)


def test_the_file_lists_fleets_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "fleets.toml"
    assert read_fleets(path) == []
    path.write_text('[fleets]\nblue = "/a"\namber = "/b"\n')
    assert read_fleets(path) == [FleetPlace("blue", Path("/a")), FleetPlace("amber", Path("/b"))]


@pytest.mark.parametrize("text", ["fleets = 3", "[fleets]\nblue = 4\n", "[flets]\n", "[fleets"])
def test_a_bad_file_says_what_it_should_be(tmp_path: Path, text: str) -> None:
    path = tmp_path / "fleets.toml"
    path.write_text(text)
    with pytest.raises(FileError, match=r"fleets\.toml.*not a list of fleets"):
        read_fleets(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot be read"):
        read_fleets(tmp_path)
    (tmp_path / "f.toml").write_bytes(b"\xff")
    with pytest.raises(FileError, match="cannot be read"):
        read_fleets(tmp_path / "f.toml")


def test_each_state_directory_has_one_tab_and_each_tab_one_name() -> None:
    listed = [FleetPlace("blue", Path("/a")), FleetPlace("own", Path("/own"))]
    assert all_places(["x=/a", "y=/y"], listed, Path("/own")) == [
        FleetPlace("x", Path("/a")),
        FleetPlace("y", Path("/y")),
    ]
    with pytest.raises(UsageError, match="Two fleets are named 'blue'"):
        all_places(["blue=/b"], listed, Path("/own"))


def test_the_file_is_in_the_configuration_folder() -> None:
    assert fleets_file({"XDG_CONFIG_HOME": "/c"}) == Path("/c/trinity/fleets.toml")
    assert fleets_file({"HOME": "/home/ada"}) == Path("/home/ada/.config/trinity/fleets.toml")
