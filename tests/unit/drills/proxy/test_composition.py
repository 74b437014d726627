"""Which faults touch which request, and what wins where several do."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract.faults import FaultOrder, ProxyFault
from backend.drills.proxy.composition import compose, covers, own_answer, touches


def order(kind: Any, **keys: Any) -> FaultOrder:
    return FaultOrder(**{"id": str(kind), "kind": kind, "ttl_s": 5.0, **keys})


def test_first_own_answer_in_the_stated_order_wins_and_ends_what_needs_an_answer() -> None:
    kinds = ["slow-tokens", "cut", "garbage", "http-error", "reset", "health-lie", "latency", "poison"]
    plan = compose([order(kind) for kind in kinds], poison="m")
    assert plan.own is not None and plan.own.kind == "health-lie"
    assert plan.ending is None and plan.slow == () and plan.poison is None
    assert [o.kind for o in plan.at_once] == ["health-lie", "latency"]
    assert compose([order("garbage"), order("http-error")], poison=None).own == order("http-error")


def test_smaller_limit_ends_the_answer() -> None:
    assert compose([order("cut", after_bytes=9), order("truncate", after_bytes=3)], poison=None).ending == order(
        "truncate", after_bytes=3
    )


def test_begun_answers_are_not_replaced() -> None:
    assert compose([order("reset"), order("http-error")], poison=None, answered=True).own is None


@pytest.mark.parametrize(
    ("marker", "sent", "kills"), [("m", "m", True), ("m", "x", False), ("m", None, False), ("", "x", True)]
)
def test_poison_needs_its_marker(marker: str, sent: str | None, kills: bool) -> None:
    assert (compose([order("poison", marker=marker)], poison=sent).poison is not None) == kills


def test_health_requests_meet_lies_and_the_network_only() -> None:
    met = {kind for kind in get_args(ProxyFault) if touches(order(kind), health=True, begun=False)}
    assert met == {"health-lie", "latency", "bandwidth", "reset", "blackhole", "partition"}
    assert not touches(order("health-lie"), health=False, begun=False)


def test_requests_under_way_meet_what_can_still_touch_them() -> None:
    met = {kind for kind in get_args(ProxyFault) if touches(order(kind), health=False, begun=True)}
    assert met == set(get_args(ProxyFault)) - {"http-error", "garbage", "health-lie", "poison"}


def test_a_black_hole_swallows_both_ways_and_a_partition_one() -> None:
    assert covers(order("blackhole", direction="to-edge"), "to-replica")
    assert not covers(order("partition", direction="to-edge"), "to-replica")
    assert covers(order("partition"), "to-replica") and covers(order("partition"), "to-edge")


@given(st.lists(st.sampled_from(get_args(ProxyFault)), unique=True))
def test_order_of_the_orders_changes_nothing(kinds: list[ProxyFault]) -> None:
    orders = [order(kind) for kind in kinds]
    assert compose(orders, poison="m").own == compose(orders[::-1], poison="m").own
    assert compose(orders, poison="m").ending == compose(orders[::-1], poison="m").ending


@pytest.mark.parametrize("status", [200, 429, 503, 599])
def test_own_answers_are_whole(status: int) -> None:
    head, _, body = own_answer(order("http-error", status=status), head_only=False, closes=False).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head and head.startswith(b"HTTP/1.1 %d " % status)
    assert b"error" in msgspec.json.decode(msgspec.json.encode(list(msgspec.json.decode(body))))[0].encode()
    assert own_answer(order("garbage"), head_only=True, closes=True).endswith(b"\r\n\r\n")
