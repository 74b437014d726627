"""What `trinity expose` forwards: what was named, else everything whose port is known."""

from __future__ import annotations

import msgspec
import pytest

from backend.commands.expose import Wish, everything, parse_wish
from backend.contract.errors import UsageError
from backend.contract.platform import PortView
from tests.unit.console.sample import snapshot


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("web", Wish("web")),
        ("web:80", Wish("web", 80)),
        ("service/web:80:8080", Wish("service/web", 80, 8080)),
    ],
)
def test_a_target_may_have_a_port_and_a_local_one(text: str, wish: Wish) -> None:
    assert parse_wish(text) == wish


@pytest.mark.parametrize("text", ["", ":80", "web:", "web:x", "web:0", "web:65536", "web:1:2:3", "web:-1", "web:٣"])
def test_what_is_no_port_is_said(text: str) -> None:
    with pytest.raises(UsageError, match="names no port"):
        parse_wish(text)


def test_without_a_target_it_is_each_service_once_else_each_workload_with_a_port() -> None:
    seen = snapshot()
    replicas = tuple(
        msgspec.structs.replace(view, status=msgspec.structs.replace(view.status, port=4000)) for view in seen.replicas
    )
    fleet = msgspec.structs.replace(seen, replicas=replicas)
    own = everything(fleet)
    assert [wish.target for wish in own] == list(dict.fromkeys(view.status.workload for view in fleet.replicas))
    assert {wish.port for wish in own} == {0}
    published = (PortView(workload="db", source="container db-1", container_port=5432, node_port=15432),)
    assert everything(msgspec.structs.replace(fleet, ports=published)) == [Wish("db", 5432)]
    services = (
        PortView(workload="web", source="service shop", service_port=80, container_port=8080),
        PortView(workload="web", source="service shop", service_port=80, container_port=8080, node_port=30080),
        PortView(workload="", source="service nowhere", service_port=81),
        PortView(workload="dns", source="service dns", service_port=53, protocol="udp"),
        *published,
    )
    assert everything(msgspec.structs.replace(fleet, ports=services)) == [Wish("service/shop", 80)]
    with pytest.raises(UsageError, match="No port is known"):
        everything(msgspec.structs.replace(fleet, replicas=(), ports=()))
