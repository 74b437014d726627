"""What one verb on several replicas does together: no single preview says that they are the last ones. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from backend.contract.control import ReplicaView, WorkloadView
from backend.contract.words import Phase, Verb
from console.render import units

OUTAGES: Final = (Verb.KILL, Verb.RESTART, Verb.DRAIN, Verb.EVICT, Verb.PAUSE)
"""Verbs after which a replica does not serve, for a while or until it is taken back."""


class Together:
    """`effects`, a sentence a workload, and whether a workload would be left with nothing that serves."""

    def __init__(self, effects: tuple[str, ...] = (), *, last: bool = False) -> None:
        self.effects, self.last = effects, last


def together(
    verb: Verb, targets: Sequence[str], replicas: Sequence[ReplicaView], workloads: Sequence[WorkloadView]
) -> Together:
    """`llm: 3 → 1 ready, capacity 12 → 4 slots` for each workload that loses replicas. Empty for other verbs."""
    if verb not in OUTAGES:
        return Together()
    hit = set(targets)
    effects, last = [], False
    for workload in workloads:
        ready = [view for view in replicas if view.status.workload == workload.name and serves(view)]
        left = [view for view in ready if view.status.name not in hit]
        if len(left) == len(ready):
            continue
        each = workload.slots // workload.ready if workload.ready else 0
        words = f"{workload.name}: {len(ready)} → {len(left)} ready"
        if each:
            words += f", capacity {len(ready) * each} → {len(left) * each} slots"
        busy = sum(view.edge.in_flight for view in ready if view.edge is not None and view.status.name in hit)
        if busy:
            words += f", {units.plural(busy, 'request')} in flight there"
        if not left:
            words += ": nothing of it serves meanwhile"
        last = last or not left
        effects.append(words)
    return Together(tuple(effects), last=last)


def serves(view: ReplicaView) -> bool:
    """Whether requests go to it now."""
    return view.status.phase == Phase.READY and (view.edge is None or view.edge.up)
