"""No edge: what stands in for one in a fleet whose workloads have no routes. Observes nothing, holds nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from backend.contract.clock import Clock
from backend.contract.edge import EdgeObservation, SlotAssignment
from backend.contract.errors import Refused, UsageError
from backend.contract.fleet import WorkloadSpec
from backend.edge.settings import HaproxyBinary

_WHY = "This fleet has no edge of ours."
_HOW = "Give a workload `routes` in its trinity.yaml, then add the fleet anew."


class AbsentEdge:
    """An Edge without servers, with the life of a HaproxyEdge. Requests go wherever the platform sends them."""

    adopted = False
    haproxy: HaproxyBinary | None = None
    public_url = ""
    stats_url = ""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def refusal(self) -> Refused:
        """What whoever wants to do something to it is told."""
        return Refused(_WHY, _HOW)

    async def start(self) -> None:
        """Nothing to start."""

    async def close(self) -> None:
        """Nothing to let go."""

    async def stop(self, grace_s: float = 2.0) -> None:
        """Nothing to end."""

    def observe(self) -> EdgeObservation:
        return EdgeObservation(ts=self._clock.now(), up=False)

    def slots(self) -> Sequence[SlotAssignment]:
        return ()

    async def settled(self) -> None:
        """It has no slots."""

    async def configure(self, workloads: Sequence[WorkloadSpec]) -> bool:
        """Raises Refused for workloads that want requests."""
        if routed := [spec.name for spec in workloads if spec.routes]:
            raise Refused(f"{', '.join(routed)} cannot be reached: this fleet was opened without an edge.", _HOW)
        return False

    async def fill(
        self, workload: str, replica: str, *, host: str, port: int, check_port: int, maxconn: int
    ) -> SlotAssignment:
        raise self.refusal()

    async def drain(self, workload: str, replica: str) -> None:
        """Nobody sends it requests through us."""

    async def undrain(self, workload: str, replica: str) -> None:
        """Nobody sends it requests through us."""

    async def in_flight(self, workload: str, replica: str) -> int:
        return 0

    async def mark_down(self, workload: str, replica: str) -> None:
        """Nobody chooses it through us."""

    async def eject(self, workload: str, replica: str) -> None:
        """Nobody chooses it through us."""

    async def clear(self, workload: str, replica: str) -> None:
        """It has no slot."""

    async def set_retries(self, *, on: bool, workload: str | None = None) -> None:
        """Nothing is tried twice."""

    async def stat_text(self) -> str:
        self._none()

    async def errors_text(self) -> str:
        self._none()

    def config_text(self) -> str:
        self._none()

    async def reload(self) -> int:
        raise self.refusal()

    def _none(self) -> NoReturn:
        refusal = self.refusal()
        raise UsageError(refusal.message, refusal.next_step)
