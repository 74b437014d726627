"""The edge: HAProxy's slots as data, and what the daemon asks of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from backend.contract.fleet import WorkloadSpec
from backend.contract.words import SlotState


class SlotAssignment(msgspec.Struct, frozen=True, kw_only=True):
    """Which replica fills a pre-declared server slot of a workload."""

    workload: str
    slot: int
    """From 0 to WorkloadSpec.max_replicas - 1."""
    replica: str
    host: str
    port: int
    check_port: int
    maxconn: int
    state: SlotState


class EdgeServer(msgspec.Struct, frozen=True, kw_only=True):
    """A filled slot as HAProxy reports it (`show stat`)."""

    workload: str
    slot: int
    replica: str
    state: SlotState
    up: bool
    """Whether HAProxy would choose it now."""
    status: str
    """HAProxy's own words, e.g. `UP`, `DOWN 1/2`, `DRAIN`, `MAINT`."""
    in_flight: int
    queued: int
    sessions_total: int
    retries_total: int
    errors_total: int
    check: str = ""
    last_change_s: float | None = None


class EdgeWorkload(msgspec.Struct, frozen=True, kw_only=True):
    """An edge backend's totals."""

    workload: str
    in_flight: int
    queued: int
    """Requests waiting at the edge for a slot: queue depth."""
    sessions_total: int
    retries_total: int
    errors_total: int
    retries_on: bool = True
    """Whether requests that arrive now may be tried twice (the operator's and the budget's switch are on)."""


class EdgeObservation(msgspec.Struct, frozen=True, kw_only=True):
    """The edge at one instant. `up` false means its runtime API did not answer."""

    ts: float
    up: bool
    pid: int | None = None
    starts: int = 0
    uptime_s: float | None = None
    servers: tuple[EdgeServer, ...] = ()
    workloads: tuple[EdgeWorkload, ...] = ()
    retries_on: bool = True
    public_url: str = ""
    stats_url: str = ""


class Edge(Protocol):
    """The load balancer in front of the replicas."""

    def observe(self) -> EdgeObservation:
        """The newest observation; refreshed by the edge itself at least twice a second."""
        ...

    def slots(self) -> Sequence[SlotAssignment]:
        """What we last asked for: filled slots only. The edge itself may still be on its way there: see `settled`."""
        ...

    async def settled(self) -> None:
        """Returns once the edge was told all that `slots` shows now."""
        ...

    async def configure(self, workloads: Sequence[WorkloadSpec]) -> bool:
        """Declare workloads and routes; reloads only when the set or its slots changed. True if it reloaded."""
        ...

    async def fill(
        self, workload: str, replica: str, *, host: str, port: int, check_port: int, maxconn: int
    ) -> SlotAssignment:
        """Put a replica, whose own probe has passed, into a free slot and make it ready. Idempotent."""
        ...

    async def drain(self, workload: str, replica: str) -> None:
        """No new work for it; what it has goes on. Idempotent; unknown replicas are no error."""
        ...

    async def undrain(self, workload: str, replica: str) -> None: ...

    async def in_flight(self, workload: str, replica: str) -> int:
        """Requests it still has, those on an old HAProxy process (after a reload) included."""
        ...

    async def mark_down(self, workload: str, replica: str) -> None:
        """Stop choosing it now, until `fill` or the edge's own check finds it well again; its requests without a first
        byte are retried elsewhere (it died)."""
        ...

    async def eject(self, workload: str, replica: str) -> None:
        """Stop choosing it whatever its health check says (it hangs), until `fill`; its requests without a first
        byte are retried elsewhere, the others are cut. Returns once it is not chosen any more. Idempotent."""
        ...

    async def clear(self, workload: str, replica: str) -> None:
        """Empty its slot (maintenance). Idempotent."""
        ...

    async def set_retries(self, *, on: bool, workload: str | None = None) -> None:
        """The operator's switch; with `workload`, the retry budget's for that one. Retries need both."""
        ...
