"""Leases: one party works on a workload at a time, the others wait or are told who it is.

Owns who holds what, in memory only: a daemon that dies holds nothing. Never acts on a replica.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from backend.contract.errors import LeaseHeld


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """`holder` is what people are shown (`rollout by cli:ann`); actions of the actor `owner` may work under it
    (a drill that holds a workload and restarts a replica of it)."""

    holder: str
    owner: str = ""


class Leases:
    """The lease of each workload. Used on one event loop."""

    def __init__(self) -> None:
        self._held: dict[str, Lease] = {}
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    def holder(self, workload: str) -> str | None:
        """Who works on it now, in words for people."""
        lease = self._held.get(workload)
        return lease.holder if lease else None

    def blocker(self, workload: str, actor: str) -> str | None:
        """Who stands in the way of `actor`: the holder, unless the lease is the actor's own."""
        lease = self._held.get(workload)
        if lease is None or (lease.owner and lease.owner == actor):
            return None
        return lease.holder

    @asynccontextmanager
    async def hold(
        self, workload: str, holder: str, *, actor: str = "", owner: str = "", wait: bool = False
    ) -> AsyncIterator[None]:
        """Hold the workload's lease inside the block.

        `actor` is who asks: under a lease whose `owner` it is, the block runs within that lease. `owner` names the
        actor whose later actions may do so. Raises LeaseHeld where another holds it, unless `wait`: then in turn.
        """
        lease = self._held.get(workload)
        if lease is not None and lease.owner and lease.owner == actor:
            yield
            return
        if lease is not None:
            if not wait:
                raise LeaseHeld(workload, lease.holder)
            await self._turn(workload)
        mine = Lease(holder=holder, owner=owner)
        self._held[workload] = mine
        try:
            yield
        finally:
            self._pass_on(workload)

    async def _turn(self, workload: str) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue = self._waiting.setdefault(workload, deque())
        queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pass_on(workload)  # the turn came in the same instant: hand it to the next
            raise

    def _pass_on(self, workload: str) -> None:
        """Wake the next in line, to whom the lease is reserved until it runs; else free it."""
        queue = self._waiting.get(workload)
        while queue:
            turn = queue.popleft()
            if not turn.done():
                self._held[workload] = Lease(holder="the next in line")
                turn.set_result(None)
                return
        self._held.pop(workload, None)
