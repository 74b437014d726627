"""What the autoscaler sees of a workload, gathered from the daemon's parts. Decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend.contract.platform import HasNodes
from backend.daemon.drivers import use_of_nodes
from backend.scaling.policy import Observation, clamp_maximum

if TYPE_CHECKING:
    from backend.daemon.parts import Parts

_OWN_LEASE = "scale by autoscaler"


class ScalingInputs:
    """One workload's observation on demand."""

    def __init__(self, parts: Parts, workload: str) -> None:
        self._parts, self._workload = parts, workload

    def observe(self) -> Observation:
        """This instant: CPU where its replicas run, edge queue, p99 TTFT over 60 s, and what memory holds."""
        parts, name = self._parts, self._workload
        edge, machine = parts.edge.observe(), parts.meters.machine.read()
        totals = next((w for w in edge.workloads if w.workload == name), None)
        ttft = parts.meters.traffic.workload(name).ttft.p99_s
        wanted = parts.reconciler.wanted.of(name)
        running = sum(1 for r in parts.fleet.observe() if r.workload == name)
        maximum, note = None, ""
        per_replica = parts.config.replica_memory_bytes.get(name)
        if per_replica:
            wish = parts.config.settings.max_instances
            maximum, note = clamp_maximum(wish, machine.memory_available_bytes, per_replica, current=running)
        holder = parts.leases.holder(name)
        return Observation(
            mono_s=parts.clock.mono(),
            current=wanted.replicas,
            ready=len(parts.reconciler.serving(name)),
            cpu_percent=self._cpu_percent(),
            queue_depth=totals.queued if totals else None,
            in_flight=totals.in_flight if totals else 0,
            ttft_p99_ms=None if ttft is None else ttft * 1000.0,
            age_s=max(0.0, parts.clock.now() - min(edge.ts, machine.ts)),
            maximum=maximum,
            maximum_note=note,
            lease=None if holder == _OWN_LEASE else holder,
            maintenance=wanted.maintenance,
        )

    def _cpu_percent(self) -> float | None:
        """Of a cluster's nodes together, null where nobody measures them; of this machine where replicas run here."""
        parts = self._parts
        if parts.config.file.driver == "kubernetes" and isinstance(parts.fleet, HasNodes):
            return use_of_nodes(parts.fleet.nodes())[0]
        return parts.meters.machine.read().cpu_percent
