"""The observing half of a Kubernetes fleet: its watches, and the replicas, workloads, nodes and ports seen by them.

Owns the reflectors and what is made of their objects, kept up to date change by change. Changes nothing in the cluster.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from backend.config.fleet_file import KubernetesFile
from backend.config.paths import StatePaths
from backend.contract.clock import Clock
from backend.contract.fleet import ReplicaListener, ReplicaStatus
from backend.contract.ledger import RowSink
from backend.fleet.kube import kinds, shapes
from backend.fleet.kube.access import Access
from backend.fleet.kube.reflector import Change, Reflector


class Observing:
    """Reflectors by kind (`pods`, `nodes`, ...): `self.pods.objects[name]` is a Pod."""

    def __init__(
        self,
        paths: StatePaths,
        sink: RowSink,
        clock: Clock,
        name: str,
        settings: KubernetesFile,
        *,
        access: Access | None = None,
    ) -> None:
        self._name = name
        self.paths, self.sink, self.clock, self.settings = paths, sink, clock, settings
        self.access = access or Access(settings, clock)
        self._listeners: list[ReplicaListener] = []
        self._tasks: list[asyncio.Task[None]] = []
        selector = settings.selector or ""
        self.pods: Reflector[shapes.Pod] = self._reflector(kinds.PODS, self._pods_changed, selector, essential=True)
        ignore = self._ignored
        self.deployments: Reflector[shapes.WorkloadObject] = self._reflector(kinds.DEPLOYMENTS, ignore)
        self.replica_sets: Reflector[shapes.WorkloadObject] = self._reflector(kinds.REPLICA_SETS, ignore)
        self.stateful_sets: Reflector[shapes.WorkloadObject] = self._reflector(kinds.STATEFUL_SETS, ignore)
        self.daemon_sets: Reflector[shapes.WorkloadObject] = self._reflector(kinds.DAEMON_SETS, ignore)
        self.jobs: Reflector[shapes.WorkloadObject] = self._reflector(kinds.JOBS, ignore)
        self.events: Reflector[shapes.EventObject] = self._reflector(kinds.EVENTS, ignore)
        self.services: Reflector[shapes.Service] = self._reflector(kinds.SERVICES, ignore)
        self.ingresses: Reflector[shapes.Ingress] = self._reflector(kinds.INGRESSES, ignore)
        self.node_objects: Reflector[shapes.Node] = self._reflector(kinds.NODES, ignore)
        self.budgets: Reflector[shapes.Budget] = self._reflector(kinds.BUDGETS, ignore)

    def _reflector(
        self,
        resource: Any,
        changed: Callable[[Sequence[Change[Any]]], None],
        selector: str = "",
        *,
        essential: bool = False,
    ) -> Reflector[Any]:
        return Reflector(resource, self.access, self.clock, changed, label_selector=selector, essential=essential)

    @property
    def reflectors(self) -> tuple[Reflector[Any], ...]:
        """One for each kind, pods first."""
        return (
            self.pods,
            self.deployments,
            self.replica_sets,
            self.stateful_sets,
            self.daemon_sets,
            self.jobs,
            self.events,
            self.services,
            self.ingresses,
            self.node_objects,
            self.budgets,
        )

    @property
    def name(self) -> str:
        return self._name

    @property
    def namespace(self) -> str:
        return self.access.namespace

    def observe(self) -> Sequence[ReplicaStatus]:
        return ()

    def on_change(self, listener: ReplicaListener) -> Callable[[], None]:
        """Call `listener` at once when a phase, pid or readiness changes. Returns what ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def _pods_changed(self, changes: Sequence[Change[shapes.Pod]]) -> None:
        del changes

    def _ignored(self, changes: Sequence[Change[Any]]) -> None:
        del changes
