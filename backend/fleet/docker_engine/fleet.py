"""The Docker fleet: what the engine keeps by itself, and the containers that we keep there.

Owns the joining of both and the one connection that they share. Each verb goes to the half that has the replica.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from backend.config.fleet_file import DockerFile
from backend.config.paths import StatePaths
from backend.contract.clock import Clock
from backend.contract.errors import Refused
from backend.contract.faults import FaultOrder, FaultReport, Holder, StartFault
from backend.contract.fleet import ReplicaListener, ReplicaStatus, WorkloadSpec
from backend.contract.ledger import RowSink
from backend.contract.platform import (
    ByteStream,
    Description,
    ExecStream,
    NodeStatus,
    PlatformWorkload,
    PortView,
    Progress,
    Trouble,
)
from backend.fleet.docker_engine.client import EngineClient
from backend.fleet.docker_engine.ours import OwnContainers
from backend.fleet.docker_engine.platform_fleet import PlatformFleet


class DockerFleet:
    """A Fleet that is also PlatformOwned, Reversible, Killable, Restartable, Pausable, Loggable, Executable,
    Forwardable, HasPorts, Describable, HasNodes and Limited; Holdable and Maintainable for containers of ours, and
    Spliceable for all. Call `adopt` once; end with `close` (containers go on) or `stop_all` (those of ours end)."""

    def __init__(
        self,
        paths: StatePaths,
        sink: RowSink,
        clock: Clock,
        name: str,
        settings: DockerFile,
        *,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._name = name
        self._client = EngineClient(settings.context, environ=environ)
        self._own = OwnContainers(self._client, paths, sink, clock, name)
        self._platform = PlatformFleet(paths, sink, clock, name, settings, client=self._client, frozen=self._frozen)

    @property
    def name(self) -> str:
        return self._name

    @property
    def client(self) -> EngineClient:
        """The connection that both halves use."""
        return self._client

    @property
    def platform(self) -> PlatformFleet:
        """The half that the engine keeps."""
        return self._platform

    # -- life

    async def adopt(self) -> Sequence[ReplicaStatus]:
        """Connect and look. Never raises for an engine that cannot be used: `trouble` says so, and it is tried on."""
        await self._platform.adopt()
        await self._own.adopt()
        return self.observe()

    async def close(self) -> None:
        """Detach: everything at the engine goes on."""
        await self._platform.close()
        await self._own.close()
        await self._client.close()

    async def stop_all(self, *, reason: str = "shutdown") -> None:
        """End the containers of ours, then detach. Raises Unreachable where the engine is away and some are left."""
        try:
            await self._own.stop_all(reason=reason)
        finally:
            await self._platform.close()
            await self._client.close()

    # -- seeing

    def observe(self) -> Sequence[ReplicaStatus]:
        """Ours first, then the platform's."""
        return [*self._own.observe(), *self._platform.observe()]

    def on_change(self, listener: ReplicaListener) -> Callable[[], None]:
        """Call `listener` at once when a phase, pid or address changes. Returns what ends it."""
        ends = (self._own.on_change(listener), self._platform.on_change(listener))

        def end() -> None:
            for each in ends:
                each()

        return end

    def workloads(self) -> Sequence[PlatformWorkload]:
        """Those that the platform keeps; ours are the reconciler's."""
        return self._platform.workloads()

    def declare(self, specs: Sequence[WorkloadSpec]) -> None:
        """See PlatformOwned."""
        self._platform.declare(specs)

    def nodes(self) -> Sequence[NodeStatus]:
        """Of a Swarm."""
        return self._platform.nodes()

    def ports(self) -> Sequence[PortView]:
        return self._platform.ports()

    def limits(self) -> Mapping[str, str]:
        """Verb -> why nobody can do it here."""
        return self._platform.limits()

    def trouble(self) -> Trouble | None:
        """Why the engine cannot be used now."""
        return self._platform.trouble()

    async def describe(self, name: str) -> Description:
        """A replica, a workload or a node. Raises UsageError for an unknown name."""
        return await self._platform.describe(name)

    async def want_logs(self, replicas: Sequence[str] | None) -> None:
        """Containers of ours are followed always; others while somebody wants them."""
        await self._platform.want_logs(None if replicas is None else [r for r in replicas if not self._own.knows(r)])

    # -- verbs

    async def create(self, spec: WorkloadSpec, replica: str) -> None:
        """A container of ours. Raises UsageError for a name that the platform has already."""
        if self._platform.knows(replica):
            raise Refused(f"The platform has a container {replica} already.", "Give the workload another name.")
        await self._own.create(spec, replica)

    async def remove(self, replica: str, *, reason: str) -> None:
        """Of ours. Raises Refused for what the platform keeps."""
        if self._platform.knows(replica) and not self._own.knows(replica):
            raise Refused(f"{replica} is not ours, Docker keeps it.", "Scale its workload instead.")
        await self._own.remove(replica, reason=reason)

    async def restart(self, replica: str, *, reason: str) -> None:
        await self._of(replica).restart(replica, reason=reason)

    async def kill(self, replica: str, *, signal: int = 9, counted: bool = False) -> int:
        """Returns the pid."""
        return await self._of(replica).kill(replica, signal=signal, counted=counted)

    async def pause(self, replica: str) -> None:
        await self._of(replica).pause(replica)

    async def unpause(self, replica: str) -> None:
        await self._of(replica).unpause(replica)

    async def hold(self, replica: str, *, held: bool) -> None:
        """Of ours only. Raises Refused for others: Docker starts them again by itself."""
        if not self._own.knows(replica) and self._platform.knows(replica):
            raise Refused(
                f"{replica} is kept by Docker, which starts it again by its own policy.", "Use `respawn: natural`."
            )
        await self._own.hold(replica, held=held)

    async def splice(self, replica: str, *, port: int, health_port: int | None) -> None:
        """Lead edge and probes through a fault proxy."""
        if self._own.knows(replica):
            await self._own.splice(replica, port=port, health_port=health_port)
        else:
            self._platform.splice(replica, port, health_port)

    async def unsplice(self, replica: str) -> None:
        """Straight again. Unknown replicas are no error."""
        await self._own.unsplice(replica)
        self._platform.unsplice(replica)

    async def holder(self, replica: str) -> Holder:
        """Of a container of ours. Raises Refused for others: none of their faults is held by us."""
        return await self._kept(replica).holder(replica)

    async def fault(self, replica: str, order: FaultOrder) -> FaultReport:
        return await self._kept(replica).fault(replica, order)

    async def heal(self, replica: str, fault_id: str) -> FaultReport | None:
        """Null where it is not known."""
        return await self._own.heal(replica, fault_id)

    async def faults(self, replica: str) -> Sequence[FaultReport]:
        return await self._own.faults(replica) if self._own.knows(replica) else ()

    async def set_start_fault(self, replica: str, fault: StartFault | None) -> None:
        await self._kept(replica).set_start_fault(replica, fault)

    async def exit(self, replica: str, code: int) -> None:
        await self._kept(replica).exit(replica, code)

    async def set_maintenance(self, workload: str, *, on: bool) -> None:
        """For workloads of ours: no probes acting, no restarts. The platform's have neither from us."""
        await self._own.set_maintenance(workload, on=on)

    async def exec(
        self, replica: str, argv: Sequence[str], *, tty: bool, columns: int = 80, rows: int = 24, container: str = ""
    ) -> ExecStream:
        return await self._platform.exec(replica, argv, tty=tty, columns=columns, rows=rows, container=container)

    async def dial(self, replica: str, port: int) -> ByteStream:
        """Raises Unreachable."""
        return await self._platform.dial(replica, port)

    async def scale(self, workload: str, replicas: int) -> int:
        """Of the platform's; returns how many were wanted before."""
        return await self._platform.scale(workload, replicas)

    async def rollout(self, workload: str, progress: Progress) -> str:
        return await self._platform.rollout(workload, progress)

    async def rollback(self, workload: str, progress: Progress) -> str:
        return await self._platform.rollback(workload, progress)

    async def cordon(self, node: str, *, on: bool) -> None:
        await self._platform.cordon(node, on=on)

    async def drain_node(self, node: str, progress: Progress, *, deadline_s: float = 600.0) -> str:
        return await self._platform.drain_node(node, progress, deadline_s=deadline_s)

    def _kept(self, replica: str) -> OwnContainers:
        """Raises Refused for what Docker keeps."""
        if not self._own.knows(replica) and self._platform.knows(replica):
            raise Refused(f"{replica} is kept by Docker and holds no faults.", "Choose a fault of the proxy.")
        return self._own

    def _of(self, replica: str) -> OwnContainers | PlatformFleet:
        return self._own if self._own.knows(replica) else self._platform

    def _frozen(self, replica: str, paused: bool) -> None:
        """Somebody paused a container of ours, or let it go on."""
        self._own.was_paused(replica, paused=paused)
