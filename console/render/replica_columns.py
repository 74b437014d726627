"""Which columns the replicas and workloads tables show by themselves, by what the fleet runs on. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Final, TypeVar

import msgspec

from backend.contract.control import ReplicaView, WorkloadView
from backend.contract.words import Phase
from console.render.cause import cause_words
from console.render.columns import REPLICAS, WORKLOADS
from console.render.spans import clean
from console.state.column import Column

T = TypeVar("T")
Change = dict[str, Any]
_EDGE: Final[tuple[tuple[str, Change], ...]] = (
    ("in_flight", {"priority": 4}),
    ("queue", {"priority": 8}),
    ("ttft_p95", {"priority": 3}),
    ("rate", {"priority": 11}),
)
_WITHOUT_SLOTS: Final = tuple(held for held in _EDGE if held[0] in ("ttft_p95", "rate"))
"""Of an edge that the platform runs: what its rows tell. Which slots it has is not known."""
_WHY: Final[tuple[str, Change]] = (
    "reason",
    {
        "priority": 3,
        "width": 20,
        "cell": lambda v, _: (clean(cause_words(v.status)), "muted" if v.status.phase == Phase.READY else "warn"),
        "sort": lambda v: cause_words(v.status) or None,
    },
)
_KUBERNETES: Final[tuple[tuple[str, Change], ...]] = (
    ("name", {"width": 21, "flex": 3, "most": 44}),
    ("containers", {"priority": 1}),
    ("phase", {}),
    ("restarts", {"priority": 2}),
    ("age", {"priority": 6}),
    ("cpu", {"priority": 4}),
    ("memory", {"priority": 5}),
    ("node", {"priority": 7, "width": 7}),
    ("owner", {"priority": 9, "width": 16, "flex": 1, "most": 30, "middle": True}),
)
_DOCKER: Final[tuple[tuple[str, Change], ...]] = (
    ("name", {"width": 14, "flex": 2}),
    ("phase", {}),
    ("restarts", {"priority": 2}),
    ("age", {"priority": 6}),
    ("cpu", {"priority": 4}),
    ("memory", {"priority": 5}),
    ("image", {"priority": 7, "flex": 1}),
    ("port", {"priority": 8}),
    ("net", {"priority": 9}),
)


@cache
def replica_columns(
    driver: str, *, edge: bool, slots: bool = True, of_node: bool = False
) -> tuple[Column[ReplicaView], ...]:
    """All columns of a fleet on that driver: those that show by themselves in order, then the others.

    `slots`: whether the edge is the daemon's own. Where all rows are `of_node`, none says which that is."""
    if driver == "local":
        return REPLICAS
    shown = _KUBERNETES if driver == "kubernetes" else _DOCKER
    if of_node:
        shown = tuple((key, change) for key, change in shown if key != "node")
    return _arranged(REPLICAS, (*shown, *((_EDGE if slots else _WITHOUT_SLOTS) if edge else ()), _WHY))


@cache
def workload_columns(driver: str, *, edge: bool, slots: bool = True) -> tuple[Column[WorkloadView], ...]:
    """The same of the workloads."""
    if driver == "local":
        return WORKLOADS
    served: tuple[str, ...] = ("slots", "in_flight", "queued", "routes") if slots else ("in_flight", "queued")
    if not edge:
        served = ()
    names = ("name", "kind", "ready", "total", *served, "rollout", "state")
    return _arranged(WORKLOADS, tuple((name, {}) for name in names))


def _arranged(columns: Sequence[Column[T]], shown: Sequence[tuple[str, Change]]) -> tuple[Column[T], ...]:
    by_key = {column.key: column for column in columns}
    first = [msgspec.structs.replace(by_key.pop(key), hidden=False, **change) for key, change in shown]
    return (*first, *(msgspec.structs.replace(column, hidden=True) for column in by_key.values()))
