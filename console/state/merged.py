"""Replicas of many fleets in one list. Owns rows that keep their identity while their replica does not change. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from backend.contract.control import ReplicaView


@dataclass(frozen=True, slots=True, eq=False)
class MergedReplica:
    """A replica and the fleet (by its number among the tabs and its tab's name) that it belongs to."""

    number: int
    fleet: str
    view: ReplicaView
    stale: bool
    """Its fleet does not answer: this is how it was."""
    driver: str = "local"

    @property
    def key(self) -> str:
        """One a row: two fleets may have replicas of one name."""
        return f"{self.number}/{self.view.status.name}"


class MergedList:
    """`take` what the fleets have now; rows whose replica is the same object are the same object as before."""

    def __init__(self) -> None:
        self._known: dict[str, MergedReplica] = {}

    def take(
        self, fleets: Sequence[tuple[str, Sequence[ReplicaView], bool]], drivers: Sequence[str] = ()
    ) -> list[MergedReplica]:
        """Rows in the order of the fleets; each fleet is its name, its replicas and whether it is out of sight.

        `drivers` are what the fleets run on, one each; all are local without them."""
        fresh: dict[str, MergedReplica] = {}
        for number, (fleet, views, stale) in enumerate(fleets):
            for view in views:
                key = f"{number}/{view.status.name}"
                old = self._known.get(key)
                driver = drivers[number] if drivers else "local"
                row = (number, fleet, view, stale, driver)
                same = old is not None and (
                    old.view is view and row[1:] == (old.fleet, old.view, old.stale, old.driver)
                )
                fresh[key] = old if old is not None and same else MergedReplica(*row)
        self._known = fresh
        return list(fresh.values())
