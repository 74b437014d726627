"""Replicas that a platform made in place of victims: under names of their own, for good. Owns who stands for whom.

On this machine a replica that dies starts again under its name and needs none of this.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from backend.contract.fleet import ReplicaStatus
from backend.drills.records import FaultStamps
from backend.drills.scenario import FaultName

ENDS_PROCESS = frozenset[FaultName](
    {"process.kill", "process.exit", "process.slow-start", "process.crash-loop", "memory.exhaust"}
)
"""Faults after which only another process is a recovery."""
_REPLACES = ENDS_PROCESS | {"node.drain"}


class Heirs:
    """Of one run. The first newcomer of a workload stands for the first victim that is gone."""

    def __init__(self) -> None:
        self._of: dict[str, str] = {}
        self._restarted: set[str] = set()

    def look(self, fault: FaultStamps, before: Collection[str], replicas: Sequence[ReplicaStatus]) -> None:
        """`before`: names of the workload's replicas right before the fault."""
        if fault.fault not in _REPLACES:
            return
        there = [replica.name for replica in replicas]
        for victim in fault.victims:
            if victim in there or victim in self._of:
                continue
            known = {*before, *self._of.values()}
            heir = next((name for name in there if name not in known), None)
            if heir is not None:
                self._of[victim] = heir
                if fault.fault in ENDS_PROCESS:
                    self._restarted.add(heir)

    def now(self, replica: str) -> str:
        """The name it goes by now."""
        return self.all(replica)[-1]

    def all(self, replica: str) -> tuple[str, ...]:
        """Every name it had, the present one last."""
        names = [replica]
        while names[-1] in self._of:
            names.append(self._of[names[-1]])
        return tuple(names)

    def restarts(self, replica: ReplicaStatus, before: Mapping[str, int]) -> int:
        """Its restarts since the run began; having been made in place of a dead one is one."""
        return replica.restarts - before.get(replica.name, 0) + (replica.name in self._restarted)
