"""The acting half of a Kubernetes fleet: verbs, logs, exec, forwards, rights and descriptions, by the contract's names.

Owns which part does what, and that whatever the API server refuses reaches people as one sentence with a remedy. Each
part is a module of its own.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from backend.contract.errors import TrinityError, UsageError
from backend.contract.fleet import ReplicaStatus
from backend.contract.platform import Description, Neighbours, Progress
from backend.contract.words import Phase
from backend.fleet.kube import exec as execs
from backend.fleet.kube import forward
from backend.fleet.kube.answers import ApiError
from backend.fleet.kube.describing import Describing
from backend.fleet.kube.logs import PodLogs
from backend.fleet.kube.neighbours import neighbours
from backend.fleet.kube.nodes import NodeVerbs
from backend.fleet.kube.objects import Ref
from backend.fleet.kube.observing import Observing
from backend.fleet.kube.pod_verbs import PodVerbs
from backend.fleet.kube.reach import Reach
from backend.fleet.kube.reflector import Change
from backend.fleet.kube.refusals import worded
from backend.fleet.kube.rights import Rights
from backend.fleet.kube.shapes import Pod
from backend.fleet.kube.verbs import WorkloadVerbs


class Acting(Observing):
    """PlatformOwned, Reversible, Restartable, Killable, Evictable, Spliceable, HasNodes, Loggable, Executable,
    Forwardable, Describable, HasNeighbours and Limited: the verbs of each."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._workload_verbs = WorkloadVerbs(self.access, self, self.recorder, self.clock)
        self._pod_verbs = PodVerbs(self.access, self, self._run_plainly)
        self._node_verbs = NodeVerbs(self.access)
        self._describing = Describing(self.access, self, self.clock)
        self._rights = Rights(self.access, self.clock, self.kinds, self.retry_forbidden)
        self._logs = PodLogs(self.access, self.clock, self.paths.logs_dir, self.pods.objects.get, self._newest)
        self._reach = Reach(self.settings.reach, self.dial, lambda replica: self._renew([replica]))
        self._listened: set[tuple[str, int]] = set()
        """(pod's uid, port) where somebody listened."""

    # -- which object a name means

    def pod(self, replica: str) -> Ref:
        """Raises UsageError for an unknown one."""
        if replica not in self.pods.objects:
            raise UsageError(f"There is no pod {replica} in namespace {self.namespace}.", "Look again: it may be gone.")
        return Ref("Pod", self.namespace, replica)

    def workload(self, name: str) -> Ref:
        """Raises UsageError for an unknown one."""
        owner = self.workload_owner(name)
        if owner is None:
            raise UsageError(
                f"There is no workload {name} in namespace {self.namespace}.", "Look again: it may be gone."
            )
        return Ref(owner.kind, self.namespace, owner.name)

    def kinds(self) -> Collection[str]:
        return {each.kind for each in self.workloads()}

    def pid(self, replica: str) -> int:
        """0 where no container of it runs."""
        return next((status.pid or 0 for status in self.observe() if status.name == replica), 0)

    # -- workloads

    async def scale(self, workload: str, replicas: int) -> int:
        async with self._worded(f"scale {workload}"):
            return await self._workload_verbs.scale(workload, replicas)

    async def rollout(self, workload: str, progress: Progress) -> str:
        async with self._worded(f"roll out {workload}"):
            return await self._workload_verbs.rollout(workload, progress)

    async def rollback(self, workload: str, progress: Progress) -> str:
        async with self._worded(f"roll back {workload}"):
            return await self._workload_verbs.rollback(workload, progress)

    # -- pods

    async def restart(self, replica: str, *, reason: str) -> None:
        """Delete the pod with its grace; its controller makes a new one. Raises Refused for a bare pod."""
        del reason  # the API keeps none
        async with self._worded(f"restart {replica}"):
            await self._pod_verbs.restart(replica)

    async def kill(self, replica: str, *, signal: int = 9, counted: bool = False) -> int:
        """SIGKILL: delete the pod without grace. Other signals: to process 1 in it, from inside."""
        del counted  # the kubelet counts
        async with self._worded(f"kill {replica}"):
            return await self._pod_verbs.kill(replica, signal)

    async def evict(self, replica: str) -> None:
        async with self._worded(f"evict {replica}"):
            await self._pod_verbs.evict(replica)

    async def splice(self, replica: str, *, port: int, health_port: int | None) -> None:
        """Our edge reaches the pod through a fault proxy of ours; the kubelet's probes go on straight to it."""
        self.pod(replica)
        self._via[replica] = (port, health_port)
        self._renew([replica])

    async def unsplice(self, replica: str) -> None:
        if self._via.pop(replica, None) is not None:
            self._renew([replica])

    # -- nodes

    async def cordon(self, node: str, *, on: bool) -> None:
        async with self._worded(f"{'cordon' if on else 'uncordon'} {node}"):
            await self._node_verbs.cordon(node, on=on)

    async def drain_node(self, node: str, progress: Progress, *, deadline_s: float = 600.0, namespace: str = "") -> str:
        """With `namespace`, only that namespace's pods leave."""
        async with self._worded(f"drain {node}"):
            return await self._node_verbs.drain(node, progress, deadline_s=deadline_s, namespace=namespace)

    # -- streams

    async def want_logs(self, replicas: Sequence[str] | None) -> None:
        await self._logs.want(replicas)

    async def exec(
        self, replica: str, argv: Sequence[str], *, tty: bool, columns: int = 80, rows: int = 24, container: str = ""
    ) -> execs.KubeExec:
        if not argv:
            raise UsageError("There is no program to run.", "Name one: `/bin/sh`.")
        async with self._worded(f"run {argv[0]} in {replica}"):
            return await execs.run(
                self.access, self.pod(replica), argv, tty=tty, columns=columns, rows=rows, container=container
            )

    async def dial(self, replica: str, port: int) -> forward.KubeStream:
        async with self._worded(f"reach port {port} of {replica}"):
            ref = self.pod(replica)
            key = (self.pods.objects[replica].metadata.uid, port)
            stream = await forward.dial(self.access, ref, port, sure=key in self._listened)
            self._listened.add(key)
            return stream

    # -- what may be known

    async def neighbours(self) -> Neighbours:
        return await neighbours(self.access)

    async def describe(self, name: str) -> Description:
        async with self._worded(f"describe {name}"):
            return await self._describing.describe(name)

    def limits(self) -> Mapping[str, str]:
        return self._rights.limits()

    # -- life

    async def adopt(self) -> Sequence[ReplicaStatus]:
        seen = await super().adopt()
        self._rights.begin()
        return seen

    async def close(self) -> None:
        await self._reach.close()
        await self._logs.close()
        await self._rights.close()
        await super().close()

    def _pods_changed(self, changes: Sequence[Change[Pod]]) -> None:
        super()._pods_changed(changes)
        self._rights.begin()
        for former, present in changes:
            seen = present or former
            if seen is not None:
                self._logs.changed(seen.metadata.name)
                if present is None:
                    self._reach.forget(seen.metadata.name)

    def _make(self, pod: Pod) -> ReplicaStatus:
        """Where requests go to it, our edge connects to where it is reached from here."""
        status = super()._make(pod)
        if status.port is None or not self._workloads.routed(self._owners[status.name]):
            return status
        # What is not Ready (any more) keeps its way, for what is still under way there, but none is looked for.
        host, port = self._reach.place(status.name, status.host, status.port, look=status.phase is Phase.READY)
        return msgspec.structs.replace(status, host=host, port=port)

    # -- parts

    async def _run_plainly(self, replica: str, argv: Sequence[str]) -> execs.KubeExec:
        return await self.exec(replica, argv, tty=False)

    def _newest(self, count: int) -> list[str]:
        pods = sorted(self.pods.objects.values(), key=lambda pod: -pod.metadata.created_ts)
        return [pod.metadata.name for pod in pods[:count]]

    @asynccontextmanager
    async def _worded(self, what: str) -> AsyncGenerator[None, None]:
        try:
            yield
        except ApiError as error:
            if error.status == 403:
                self._rights.forbidden()
            raise worded(error, what) from error
        except TimeoutError:
            raise TrinityError(f"Could not {what}: the API server did not answer in time.", "Try again.") from None
