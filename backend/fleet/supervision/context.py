"""What the replicas of a supervised fleet share, and what can be asked of a replica's life.

Data only: who acts on it is `replica`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from backend.contract.clock import Clock
from backend.contract.fleet import ReplicaStatus
from backend.contract.ledger import RowSink
from backend.fleet.supervision.ports import PortAllocator


class ReplicaContext(msgspec.Struct, frozen=True):
    """What every replica of a fleet shares."""

    sink: RowSink
    clock: Clock
    ports: PortAllocator
    changed: Callable[[ReplicaStatus], None]
    removed: Callable[[str], None]


class Intent(msgspec.Struct, frozen=True):
    """Something to be done by a replica's life: end for good, or end and start again."""

    remove: bool
    reason: str
    done: asyncio.Future[None]

    def resolve(self) -> None:
        """It was done."""
        if not self.done.done():
            self.done.set_result(None)

    def fail(self, error: Exception) -> None:
        """It could not be done."""
        if not self.done.done():
            self.done.set_exception(error)
