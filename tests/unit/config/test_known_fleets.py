"""The fleets beside the daemon's own: their names, their addresses as files, and the list that survives."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.config.fleet_file import parse_fleet_file
from backend.config.fleet_orders import address_of, config_of, fleet_of, yaml_of
from backend.config.known_fleets import KnownFleet, find_fleet, read_known, slug_of, write_known
from backend.config.paths import StatePaths
from backend.contract.address import FleetAddress, parse_address
from backend.contract.control import FleetOrder
from backend.contract.errors import FileError, UsageError

WORDS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), max_size=20).map(
    lambda word: word.replace("/", "-")
)


@given(driver=st.sampled_from(["docker", "kubernetes"]), context=WORDS, part=WORDS)
def test_an_address_and_the_file_made_of_it_say_the_same(driver: str, context: str, part: str) -> None:
    address = FleetAddress(driver=driver, context=context, part=part)  # type: ignore[arg-type]  # one of both
    file = parse_fleet_file(yaml_of("any: name/of 'it\"", address), "made")
    assert address_of(file) == address
    assert file.fleet == "any: name/of 'it\""
    assert file.workloads == {}


@given(names=st.sets(st.text(min_size=1, max_size=60), min_size=2, max_size=6))
def test_each_name_has_a_directory_of_its_own(names: set[str]) -> None:
    slugs = {slug_of(name) for name in names}
    assert len(slugs) == len(names)
    for slug in slugs:
        assert slug.replace("-", "").isalnum()
        assert slug.isascii()
        assert len(slug) <= 41


@pytest.mark.parametrize(
    ("order", "name", "address"),
    [
        (FleetOrder(address="docker"), "docker", "docker"),
        (FleetOrder(address="k8s:prod/shop"), "k8s:prod/shop", "k8s:prod/shop"),
        (FleetOrder(address="kubernetes:prod"), "k8s:prod", "k8s:prod"),
        (FleetOrder(address="k8s:prod", name="shop"), "shop", "k8s:prod"),
        (FleetOrder(yaml="trinity: 1\ndriver: docker\n"), "docker", "docker"),
        (FleetOrder(yaml="trinity: 1\nfleet: mine\n"), "mine", "local"),
        (FleetOrder(yaml="trinity: 1\nfleet: mine\n", name="other"), "other", "local"),
    ],
)
def test_an_order_is_a_fleet_with_a_name_and_an_address(order: FleetOrder, name: str, address: str) -> None:
    known = fleet_of(order)
    assert (known.name, known.address) == (name, address)
    assert known.slug == slug_of(name)


def test_a_platform_brings_none_of_the_built_in_workloads() -> None:
    assert config_of(fleet_of(FleetOrder(address="docker:ctx/shop"))).workloads == ()
    assert config_of(fleet_of(FleetOrder(yaml="trinity: 1\ndriver: kubernetes\n"))).workloads == ()
    assert {spec.name for spec in config_of(KnownFleet(name="local")).workloads} == {"llm", "embedding"}


def test_what_was_applied_last_wins_over_what_it_was_added_with() -> None:
    known = fleet_of(FleetOrder(yaml="trinity: 1\nfleet: mine\nworkloads: {}\n"))
    applied = 'trinity: 1\nfleet: else\nworkloads:\n  web:\n    command: ["sh"]\n'
    config = config_of(known, (applied, "applied.yaml"))
    assert [spec.name for spec in config.workloads] == ["web"]
    assert config.name == "mine", "its name stays"


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (FleetOrder(address="moon"), "no address of a fleet"),
        (FleetOrder(address="local", name="second"), "Nothing says what runs in second"),
        (FleetOrder(address="docker", name=" x"), "cannot be the name"),
        (FleetOrder(address="docker", name="x" * 121), "cannot be the name"),
        (FleetOrder(address="docker", name="a\nb"), "cannot be the name"),
        (FleetOrder(yaml="trinity: 2"), "trinity"),
    ],
)
def test_a_bad_order_is_refused_with_what_to_write(order: FleetOrder, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        fleet_of(order)
    assert caught.value.next_step


def test_a_fleet_is_found_by_its_name_and_by_its_address_in_any_spelling() -> None:
    fleets = [fleet_of(FleetOrder(address="k8s:prod/shop", name="shop")), fleet_of(FleetOrder(address="docker"))]
    for wanted in ("shop", "k8s:prod/shop", "kubernetes:prod/shop"):
        assert find_fleet(fleets, wanted) == fleets[0]
    assert find_fleet(fleets, "docker") == fleets[1]
    assert find_fleet(fleets, "local") is None
    assert str(parse_address("kubernetes:prod/shop")) == fleets[0].address


def test_the_list_is_read_as_it_was_written_and_damage_is_said(tmp_path: Path) -> None:
    path = StatePaths(tmp_path).fleets_file
    assert read_known(path) == []
    fleets = [fleet_of(FleetOrder(address="k8s:prod/shop")), fleet_of(FleetOrder(address="docker"))]
    write_known(path, fleets)
    assert read_known(path) == fleets
    assert [entry.name for entry in tmp_path.iterdir()] == ["fleets.json"], "nothing is left beside it"
    path.write_text('[{"name": "x", "slug": "../escape"}]')
    assert read_known(path) == []
    path.write_text("[{")
    with pytest.raises(FileError, match="is not a list of fleets"):
        read_known(path)
