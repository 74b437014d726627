"""The faults a proxy holds: orders, time limits, counters, and who is chosen by a `share`.

Owns when a fault begins and ends; the time limit runs here, whoever else has died. Touches no connection: it tells
one listener that something changed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Final, Literal, get_args

from backend.contract.errors import UsageError
from backend.contract.faults import FaultOrder, FaultReport, ProxyFault
from backend.drills.proxy.composition import WITHOUT_TARGET
from backend.drills.proxy.lane import Delay

_REMEMBERED: Final = 1000
_KINDS: Final = frozenset(get_args(ProxyFault))
_LONGEST_S: Final = 24 * 3600.0


class HeldFault:
    """One order and what became of it."""

    def __init__(self, order: FaultOrder, ends_s: float) -> None:
        self.order, self.ends_s = order, ends_s
        self.affected = 0
        self.detail = ""
        self.ended_by: Literal["", "heal", "ttl", "gone"] = ""
        self.timer: asyncio.TimerHandle | None = None
        self._choices = {health: random.Random(f"{order.seed}:{order.id}:{health}") for health in (False, True)}  # noqa: S311 - replayable
        self.delay = Delay(order.latency_s, order.jitter_s, random.Random(f"{order.seed}:{order.id}:jitter"))  # noqa: S311

    def choose(self, *, health: bool) -> bool:
        """Whether the next request is among the share; health requests draw from a stream of their own."""
        share = self.order.share
        return share >= 1.0 or self._choices[health].random() < share


class Registry:
    """Faults by id, oldest first. `changed` is called after each beginning and end."""

    def __init__(self, loop: asyncio.AbstractEventLoop, mono: Callable[[], float], changed: Callable[[], None]) -> None:
        self._loop, self._mono, self._changed = loop, mono, changed
        self._faults: dict[str, HeldFault] = {}
        self.active: tuple[HeldFault, ...] = ()

    def apply(self, order: FaultOrder) -> FaultReport:
        """Hold it; a known id changes nothing. Raises UsageError."""
        known = self._faults.get(order.id)
        if known is None:
            check(order)
            known = self._faults[order.id] = HeldFault(order, self._mono() + order.ttl_s)
            known.timer = self._loop.call_later(order.ttl_s, self._end, known, "ttl")
            self._refresh()
            self._forget_oldest()
        return self._report(known)

    def heal(self, fault_id: str) -> tuple[FaultReport, ...]:
        """End it (all, where empty); reports of what was asked for, nothing where it is not known."""
        found = list(self._faults.values()) if not fault_id else [f for f in (self._faults.get(fault_id),) if f]
        for fault in found:
            self._end(fault, "heal")
        return tuple(self._report(fault) for fault in found)

    def reports(self) -> tuple[FaultReport, ...]:
        return tuple(self._report(fault) for fault in self._faults.values())

    def count(self, order: FaultOrder, detail: str = "") -> None:
        """One more request was touched by it."""
        fault = self._faults.get(order.id)
        if fault is not None:
            fault.affected += 1
            fault.detail = detail or fault.detail

    def note(self, order: FaultOrder, detail: str) -> None:
        """Say something of it that is no touch."""
        fault = self._faults.get(order.id)
        if fault is not None:
            fault.detail = detail

    def delays(self, orders: Sequence[FaultOrder]) -> tuple[Delay, ...]:
        """The jittered delays of these orders."""
        return tuple(self._faults[order.id].delay for order in orders if order.id in self._faults)

    @property
    def needs_no_target(self) -> bool:
        """Whether a fault holds that answers, or takes connections, without a replica."""
        return any(fault.order.kind in WITHOUT_TARGET for fault in self.active)

    def _end(self, fault: HeldFault, why: Literal["heal", "ttl"]) -> None:
        if fault.ended_by:
            return
        fault.ended_by = why
        if fault.timer is not None:
            fault.timer.cancel()
        self._refresh()

    def _refresh(self) -> None:
        self.active = tuple(fault for fault in self._faults.values() if not fault.ended_by)
        self._changed()

    def _forget_oldest(self) -> None:
        ended = [fault_id for fault_id, fault in self._faults.items() if fault.ended_by]
        for fault_id in ended[: max(0, len(self._faults) - _REMEMBERED)]:
            del self._faults[fault_id]

    def _report(self, fault: HeldFault) -> FaultReport:
        active = not fault.ended_by
        return FaultReport(
            id=fault.order.id,
            kind=fault.order.kind,
            active=active,
            affected=fault.affected,
            detail=fault.detail,
            left_s=max(0.0, fault.ends_s - self._mono()) if active else 0.0,
            ended_by=fault.ended_by,
        )


def check(order: FaultOrder) -> None:
    """Raises UsageError where the order cannot be held by a proxy."""
    wrong = ""
    if not order.id:
        wrong = "A fault needs an id."
    elif order.kind not in _KINDS:
        wrong = f"A fault proxy cannot hold `{order.kind}`: that is a fault of the shim."
    elif not 0 < order.ttl_s <= _LONGEST_S:
        wrong = f"The time limit of {order.ttl_s:g} s is not within 0 s and a day."
    elif not 0 <= order.share <= 1:
        wrong = f"The share {order.share:g} is not within 0 and 1."
    elif min(order.latency_s, order.jitter_s, order.bytes_per_s, order.after_bytes) < 0:
        wrong = "Latency, jitter, rate and bytes cannot be negative."
    elif order.kind == "latency" and not (order.latency_s or order.jitter_s):
        wrong = "`latency` needs latency_s."
    elif order.kind == "slow-tokens" and not order.latency_s:
        wrong = "`slow-tokens` needs latency_s."
    elif order.kind == "bandwidth" and not order.bytes_per_s:
        wrong = "`bandwidth` needs bytes_per_s."
    elif order.kind in ("http-error", "health-lie") and not 200 <= order.status <= 599:
        wrong = f"`{order.kind}` needs a status from 200 to 599, not {order.status}."
    if wrong:
        raise UsageError(wrong, "Correct the order.")
