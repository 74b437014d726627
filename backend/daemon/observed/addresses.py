"""Which replica had an address when: the edge in a container knows replicas by nothing else. Pure.

Owns the tenants of each address, those that went some minutes ago too: a request's line may come after its replica
went.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from backend.contract.fleet import ReplicaStatus
from backend.contract.words import Phase

KEEP_S: Final = 900.0
"""A tenant is known this long after it went: longer than a request may take."""
_SHARED: Final = ("", "127.0.0.1")
"""What a driver says of a replica that it knows no address of."""
_SLACK_S: Final = 2.0
"""A platform tells starts in whole seconds."""


class Tenant(msgspec.Struct, frozen=True):
    """A replica at an address, wall seconds; `until_ts` null while it is there."""

    replica: str
    since_ts: float
    until_ts: float | None = None


class AddressBook:
    """Addresses of all replicas of a fleet."""

    def __init__(self, tenants: Mapping[str, Sequence[Tenant]] | None = None) -> None:
        self._tenants: dict[str, list[Tenant]] = {at: list(known) for at, known in (tenants or {}).items()}

    def tenants(self) -> dict[str, tuple[Tenant, ...]]:
        """All that is known, for the next daemon."""
        return {at: tuple(known) for at, known in self._tenants.items()}

    def see(self, replicas: Iterable[ReplicaStatus], now: float) -> bool:
        """These are all replicas at this instant, wall seconds. Returns whether anything is different."""
        present: dict[str, ReplicaStatus] = {}
        for status in replicas:
            for address in addresses_of(status):
                present[address] = status
        changed = False
        for address in [*self._tenants]:
            here = present.get(address)
            known = [
                held
                if held.until_ts is not None or (here is not None and here.name == held.replica)
                else Tenant(held.replica, held.since_ts, now)
                for held in self._tenants[address]
            ]
            known = [held for held in known if held.until_ts is None or now - held.until_ts <= KEEP_S]
            if known != self._tenants[address]:
                changed = True
                self._tenants[address] = known
            if not known:
                del self._tenants[address]
        for address, status in present.items():
            held = self._tenants.setdefault(address, [])
            if not held or held[-1].until_ts is not None:
                started = status.started_ts if status.started_ts is not None else status.created_ts
                held.append(Tenant(status.name, started))
                changed = True
        return changed

    def name_of(self, address: str, ts: float) -> str | None:
        """Who had it at that instant; null for an address that nobody here had."""
        known = self._tenants.get(address)
        if not known:
            return None
        return next((held.replica for held in reversed(known) if held.since_ts <= ts + _SLACK_S), known[0].replica)


def addresses_of(status: ReplicaStatus) -> tuple[str, ...]:
    """By which an edge of the platform may know it: its own ones, else its host. None of one that has ended for good:
    its address may be another's now, though the platform still shows it."""
    if status.phase is Phase.FAILED:
        return ()
    if status.addresses:
        return status.addresses
    return (status.host,) if status.host not in _SHARED else ()
