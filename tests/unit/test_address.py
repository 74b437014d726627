"""A fleet's address is read as it is written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract.address import FleetAddress, parse_address
from backend.contract.errors import UsageError

WORDS = st.text("abz09-_.", min_size=1, max_size=12)


@given(st.sampled_from(["docker", "kubernetes"]), st.lists(WORDS, min_size=1, max_size=3), WORDS | st.just(""))
def test_an_address_survives_being_written(driver: str, context: list[str], part: str) -> None:
    address = FleetAddress(driver=driver, context="/".join(context), part=part)
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    ("text", "driver", "context", "part"),
    [
        ("local", "local", "", ""),
        ("docker", "docker", "", ""),
        ("docker:desktop/shop", "docker", "desktop", "shop"),
        ("k8s", "kubernetes", "", ""),
        ("kubernetes:prod/web", "kubernetes", "prod", "web"),
        ("k8s:arn:aws:eks:eu:1:cluster/prod/", "kubernetes", "arn:aws:eks:eu:1:cluster/prod", ""),
    ],
)
def test_addresses_that_people_write(text: str, driver: str, context: str, part: str) -> None:
    assert parse_address(text) == FleetAddress(driver=driver, context=context, part=part)


@pytest.mark.parametrize("text", ["", "podman", "local:x", "ssh:host"])
def test_what_is_no_address_is_said_so_with_what_to_write(text: str) -> None:
    with pytest.raises(UsageError, match="Write local, docker"):
        parse_address(text)
