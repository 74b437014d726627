"""The columns of the merged list: the fleet, then what the replica tables show. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from backend.contract.control import ReplicaView
from console.render.columns import REPLICAS, replica_haystack
from console.render.replica_columns import replica_columns
from console.render.spans import Span
from console.render.words import driver_word
from console.state.merged import MergedReplica
from console.state.table import Column, SortValue


def merged_haystack(row: MergedReplica) -> str:
    """What a filter looks into."""
    return f"{row.fleet} {replica_haystack(row.view)}"


def _of_replica(column: Column[ReplicaView]) -> Column[MergedReplica]:
    """The same column over a merged row; what is stale is quiet."""

    def cell(row: MergedReplica, now: float, inner: Callable[[ReplicaView, float], Span] = column.cell) -> Span:
        text, style = inner(row.view, now)
        return (text, "faint") if row.stale else (text, style)

    def sort(row: MergedReplica, inner: Callable[[ReplicaView], SortValue] = column.sort) -> SortValue:
        return inner(row.view)

    compared = column.value
    value = None if compared is None else lambda row, now: compared(row.view, now)
    parts = {field: getattr(column, field) for field in column.__struct_fields__}
    return Column(**(parts | {"cell": cell, "sort": sort, "value": value}))


FLEET: Final[Column[MergedReplica]] = Column(
    key="fleet",
    title="FLEET",
    width=8,
    flex=1,
    cell=lambda row, _: (f"✗ {row.fleet}", "error") if row.stale else (row.fleet, "accent"),
    sort=lambda row: row.fleet,
)
_ALL: Final = tuple(_of_replica(column) for column in REPLICAS if column.key != FLEET.key)
MERGED_REPLICAS: Final[tuple[Column[MergedReplica], ...]] = (_ALL[0], FLEET, *_ALL[1:])
"""The replica first: it stays in place when the table is scrolled sideways."""
_DRIVER: Final[Column[MergedReplica]] = Column(
    key="driver",
    title="ON",
    width=6,
    priority=3,
    cell=lambda row, _: (driver_word(row.driver), "muted"),
    sort=lambda row: driver_word(row.driver),
)
_ON_PLATFORMS: Final = {column.key: _of_replica(column) for column in replica_columns("kubernetes", edge=False)}
_FIRST: Final = ("name", "containers", "phase", "restarts", "age", "cpu", "memory", "node", "reason")
MERGED_PLATFORMS: Final[tuple[Column[MergedReplica], ...]] = (
    _ON_PLATFORMS["name"],
    FLEET,
    _DRIVER,
    *(_ON_PLATFORMS[key] for key in _FIRST[1:]),
    *(
        msgspec.structs.replace(column, hidden=True)
        for key, column in _ON_PLATFORMS.items()
        if key not in (*_FIRST, FLEET.key)
    ),
)
"""Where a fleet is among them that does not run here."""


def merged_columns(drivers: Sequence[str]) -> tuple[Column[MergedReplica], ...]:
    """For fleets that run on these."""
    return MERGED_REPLICAS if all(driver == "local" for driver in drivers) else MERGED_PLATFORMS
