"""The retry budget: retries are switched off while too many requests of a workload are tried more than once.

Owns the judgement over a sliding window (pure) and the loop that reads the edge's counters and throws the switch.
The edge itself makes no extra attempt beyond the same budget (see backend/edge/config.py); this loop makes a spent
budget known, and ends retries altogether until the storm is over. Never changes the operator's own switch.

A workload may have one extra attempt for every ten requests of the last 10 s, and a reserve of what two replicas
hold when they die (at least 10), so that requests lost to ordinary deaths are always tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from backend.contract.clock import Clock
from backend.contract.edge import Edge, EdgeWorkload
from backend.contract.errors import TrinityError
from backend.contract.events import EventRecorder
from backend.contract.fleet import WorkloadSpec
from backend.contract.ledger import RowSink
from backend.contract.mercy import allowed_extra
from backend.contract.words import Severity

LOOK_EVERY_S: Final = 0.2
WINDOW_S: Final = 10.0
ON_AGAIN: Final = 0.5
"""Retries come back once the window holds no more than this part of what is allowed."""


class Count(msgspec.Struct, frozen=True):
    """What was added to the edge's counters between two looks."""

    mono_s: float
    requests: int
    extra: int


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """A workload's account."""

    spent: bool = False
    counts: tuple[Count, ...] = ()
    """Of the window, oldest first."""
    last: tuple[int, int] | None = None
    """The counters at the newest look: requests, retries."""

    @property
    def requests(self) -> int:
        """In the window."""
        return sum(count.requests for count in self.counts)

    @property
    def extra(self) -> int:
        """Attempts beyond the first, in the window."""
        return sum(count.extra for count in self.counts)


def account(budget: Budget, *, requests: int, retries: int, slots: int, mono_s: float) -> Budget:
    """The account after one more look at the counters (totals since HAProxy's start; lower ones mean a new HAProxy).

    Spent once the extra attempts reach what is allowed, and until they have fallen to half of it."""
    before = budget.last
    if before is None:
        added = (0, 0)
    elif requests < before[0] or retries < before[1]:
        added = (requests, retries)
    else:
        added = (requests - before[0], retries - before[1])
    counts = tuple(count for count in budget.counts if mono_s - count.mono_s < WINDOW_S)
    if added != (0, 0):
        counts += (Count(mono_s, *added),)
    after = Budget(spent=budget.spent, counts=counts, last=(requests, retries))
    allowed = allowed_extra(after.requests, slots)
    spent = after.extra > allowed * ON_AGAIN if budget.spent else after.extra >= allowed
    return msgspec.structs.replace(after, spent=spent)


class RetryBudget:
    """The loop over all workloads of an edge."""

    def __init__(self, edge: Edge, sink: RowSink, clock: Clock) -> None:
        self._edge, self._clock, self._events = edge, clock, EventRecorder(sink, clock)
        self._budgets: dict[str, Budget] = {}
        self._thrown: dict[str, bool] = {}
        """Which way each workload's switch was last thrown."""

    async def run(self, specs: Callable[[], Sequence[WorkloadSpec]]) -> None:
        """Look five times a second until cancelled."""
        while True:
            await self.look({spec.name: spec.slots for spec in specs()})
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self, slots: Mapping[str, int]) -> None:
        """One round. `slots`: a replica's concurrent requests, by workload."""
        observed = self._edge.observe()
        if not observed.up:
            return
        seen = {workload.workload: workload for workload in observed.workloads if workload.workload in slots}
        self._budgets = {name: self._account(workload, slots[name]) for name, workload in seen.items()}
        for name, budget in self._budgets.items():
            # A switch that an earlier daemon left off is thrown once, whatever it was.
            if self._thrown.get(name) is not (not budget.spent):
                await self._throw(name, budget, slots[name])

    def _account(self, workload: EdgeWorkload, slots: int) -> Budget:
        return account(
            self._budgets.get(workload.workload, Budget()),
            requests=workload.sessions_total,
            retries=workload.retries_total,
            slots=slots,
            mono_s=self._clock.mono(),
        )

    async def _throw(self, name: str, budget: Budget, slots: int) -> None:
        on = not budget.spent
        try:
            await self._edge.set_retries(on=on, workload=name)
        except TrinityError as error:
            self._events.record("edge.retries-trouble", Severity.ERROR, name, f"Retries could not be switched: {error}")
            return
        first = name not in self._thrown
        self._thrown[name] = on
        if first and on:
            return  # nothing had happened
        allowed = allowed_extra(budget.requests, slots)
        numbers = f"{budget.extra} extra attempts for {budget.requests} requests in {WINDOW_S:g} s, {allowed} allowed"
        words = f"Retries of {name} are {'on again' if on else 'off: the budget is spent'} ({numbers})."
        self._events.record(
            "edge.retries-on" if on else "edge.retries-off",
            Severity.INFO if on else Severity.ERROR,
            name,
            words,
            extra=budget.extra,
            requests=budget.requests,
            allowed=allowed,
        )
