"""One request and its answer while they pass, and what a relay needs of its proxy. Owns no socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from backend.contract.faults import POISON_HEADER, FaultOrder
from backend.drills.proxy.composition import Plan, covers, touches
from backend.drills.proxy.framing import AnswerHead, Body, RequestHead
from backend.drills.proxy.lane import NEUTRAL, Delay, Pacing
from backend.drills.proxy.registry import HeldFault, Registry

_POISON: Final = POISON_HEADER.lower().encode()


class Site(Protocol):
    """What a relay needs of its proxy."""

    loop: asyncio.AbstractEventLoop
    registry: Registry
    health_paths: frozenset[bytes]

    def mono(self) -> float: ...

    def address(self, *, health: bool) -> tuple[str, int] | None: ...

    def refused(self, *, health: bool) -> None:
        """The replica takes no connection there."""
        ...

    def poison(self, order: FaultOrder) -> bool:
        """Kill the replica; whether it was told to."""
        ...

    def ended(self, relay: Any) -> None: ...


class Exchange:
    """One request and its answer."""

    def __init__(self, head: RequestHead | None, health: bool) -> None:
        self.head, self.health = head, health
        self.body = Body("none") if head is None else Body(head.framing, head.length)
        self.answer_head = b""
        self.answer: AnswerHead | None = None
        self.answer_body: Body | None = None
        self.answer_bytes = 0
        self.answered = False
        """Bytes of an answer have passed, or one of our own was given."""
        self.spared = False
        """It was poisoned, and the replica lives."""
        self.withheld = b""
        """What a poisoned replica answered before its end."""
        self.plan = Plan()
        self.choices: dict[str, bool] = {}
        self.counted: set[str] = set()

    @property
    def method(self) -> bytes:
        return b"GET" if self.head is None else self.head.method

    @property
    def poison(self) -> str | None:
        marker = None if self.head is None else self.head.headers.get(_POISON)
        return None if marker is None else marker.decode("latin-1")

    @property
    def done(self) -> bool:
        return self.body.complete and self.answer_body is not None and self.answer_body.complete

    def touched_by(self, faults: Sequence[HeldFault], *, begun: bool) -> list[FaultOrder]:
        """The orders that are for it. Chosen once per fault; `begun`: it was on its way when the newest came."""
        for fault in faults:
            if fault.order.id not in self.choices and not self.done:
                meant = touches(fault.order, health=self.health, begun=begun)
                self.choices[fault.order.id] = meant and fault.choose(health=self.health)
        return [fault.order for fault in faults if self.choices.get(fault.order.id)]

    def let_pass(self, piece: bytes) -> tuple[bytes, FaultOrder | None]:
        """As much of a piece of the answer's body as its ending lets pass, and the ending once it is reached."""
        ending = self.plan.ending
        left = len(piece) if ending is None else ending.after_bytes - self.answer_bytes
        if left < 0:
            return b"", None  # it ended before
        self.answer_bytes += len(piece)
        return piece[:left], ending if left < len(piece) else None


def pacings(plan: Plan, delays: Callable[[Sequence[FaultOrder]], tuple[Delay, ...]]) -> tuple[Pacing, Pacing]:
    """How slow a plan makes the way to the replica, and the way back."""
    if not (plan.latency or plan.holds or plan.slow or plan.bandwidth):
        return NEUTRAL, NEUTRAL
    forward = Pacing(
        delays=delays([order for order in plan.latency if covers(order, "to-replica")]),
        held=any(covers(order, "to-replica") for order in plan.holds),
    )
    backward = Pacing(
        slow_s=sum(order.latency_s for order in plan.slow),
        bytes_per_s=min((order.bytes_per_s for order in plan.bandwidth), default=0.0),
        delays=delays([order for order in plan.latency if covers(order, "to-edge")]),
        held=any(covers(order, "to-edge") for order in plan.holds),
    )
    return forward, backward
