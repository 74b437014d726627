"""What several faults together do to one request. Pure.

The order, first to last: `blackhole` and `partition` hold the lanes; an answer of the proxy's own is given by the
first of `health-lie`, `reset`, `http-error`, `garbage` (the request is then not forwarded); `poison` acts once the
request is forwarded; of `truncate` and `cut` the smaller limit ends the answer; then `slow-tokens` (delays add up),
`bandwidth` (the slowest), `latency` (delays add up) pace what passes. A health request is touched by `health-lie` and
by faults of the network only; on the health port likewise.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

import msgspec

from backend.contract.faults import Direction, FaultOrder, ProxyFault
from backend.openai_wire.errors import error_body

OWN_ANSWERS: Final[tuple[ProxyFault, ...]] = ("health-lie", "reset", "http-error", "garbage")
WITHOUT_TARGET: Final = frozenset({"health-lie", "http-error", "garbage", "blackhole"})
"""Kinds that hold whether there is a replica or not."""
_NETWORK: Final = frozenset({"latency", "bandwidth", "reset", "blackhole", "partition"})
_JOINS_LATE: Final = frozenset(
    {"latency", "bandwidth", "cut", "truncate", "blackhole", "partition", "slow-tokens", "reset"}
)
GARBAGE: Final = b'{"object": <<<this is no answer>>> \x00\xff '


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to one request. The orders are those that have an effect."""

    own: FaultOrder | None = None
    poison: FaultOrder | None = None
    ending: FaultOrder | None = None
    """`cut` or `truncate`."""
    slow: tuple[FaultOrder, ...] = ()
    bandwidth: tuple[FaultOrder, ...] = ()
    latency: tuple[FaultOrder, ...] = ()
    holds: tuple[FaultOrder, ...] = ()

    @property
    def leaves_pieces_whole(self) -> bool:
        """Whether the answer's body passes without a look at where its chunks begin."""
        return self.ending is None and not self.slow

    @property
    def at_once(self) -> tuple[FaultOrder, ...]:
        """Orders that touch the request as soon as it is there; the others when they have an answer to touch."""
        own = () if self.own is None else (self.own,)
        return (*self.holds, *own, *self.latency)


def touches(order: FaultOrder, *, health: bool, begun: bool) -> bool:
    """Whether an order is for such a request. `begun`: it was on its way when the fault came."""
    if begun and order.kind not in _JOINS_LATE:
        return False
    if order.kind == "health-lie":
        return health
    return order.kind in _NETWORK if health else True


def compose(orders: Sequence[FaultOrder], *, poison: str | None, answered: bool = False) -> Plan:
    """The plan for a request that these orders touch. `poison`: its marker; `answered`: bytes of its answer have
    passed, so none of the proxy's own can replace it."""

    def of(*kinds: str) -> tuple[FaultOrder, ...]:
        return tuple(order for order in orders if order.kind in kinds)

    own = None if answered else next((order for kind in OWN_ANSWERS for order in of(kind)), None)
    marked = next((o for o in of("poison") if poison is not None and o.marker in ("", poison)), None)
    ending = min(of("truncate", "cut"), key=lambda order: (order.after_bytes, order.kind, order.id), default=None)
    return Plan(
        own=own,
        poison=marked if own is None else None,
        ending=ending if own is None else None,
        slow=of("slow-tokens") if own is None else (),
        bandwidth=of("bandwidth"),
        latency=of("latency"),
        holds=of("blackhole", "partition"),
    )


def covers(order: FaultOrder, direction: Direction) -> bool:
    """Whether an order acts on that direction. Bandwidth is of answers; a black hole swallows both."""
    if order.kind == "blackhole":
        return True
    return order.direction in ("both", direction)


def own_answer(order: FaultOrder, *, head_only: bool, closes: bool) -> bytes:
    """The bytes of an answer that no replica gave."""
    status = order.status or 200
    if order.kind == "http-error":
        status = order.status or 500
        body = error_body(status, f"A drill answers {status} here (fault {order.id}).", code="fault_injected")
    elif order.kind == "garbage":
        status, body = 200, GARBAGE
    else:
        body = b'{"status":"ok"}' if status < 400 else b'{"status":"unavailable"}'
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Injected"
    head = (
        f"HTTP/1.1 {status} {phrase}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"Connection: {'close' if closes else 'keep-alive'}\r\n\r\n"
    )
    return head.encode() + (b"" if head_only else body)
