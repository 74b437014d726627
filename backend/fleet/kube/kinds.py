"""The kinds of objects that are watched, where the API has them and what it is worth to see each. Data only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote

from backend.fleet.kube import shapes

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Resource(Generic[T]):
    """One kind."""

    plural: str
    shape: type[T]
    kind: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True
    field_selector: str = ""

    def path(self, namespace: str) -> str:
        """Where its objects are listed."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        inside = f"/namespaces/{quote(namespace, safe='')}" if self.namespaced else ""
        return f"{root}{inside}/{self.plural}"


_Workload = shapes.WorkloadObject
PODS: Final = Resource(plural="pods", shape=shapes.Pod, kind="Pod")
DEPLOYMENTS: Final = Resource(plural="deployments", shape=_Workload, kind="Deployment", group="apps")
REPLICA_SETS: Final = Resource(plural="replicasets", shape=_Workload, kind="ReplicaSet", group="apps")
STATEFUL_SETS: Final = Resource(plural="statefulsets", shape=_Workload, kind="StatefulSet", group="apps")
DAEMON_SETS: Final = Resource(plural="daemonsets", shape=_Workload, kind="DaemonSet", group="apps")
JOBS: Final = Resource(plural="jobs", shape=_Workload, kind="Job", group="batch")
EVENTS: Final = Resource(
    plural="events",
    shape=shapes.EventObject,
    kind="Event",
    # What goes as it should needs no row, and is by far the most of them.
    field_selector="type=Warning",
)
SERVICES: Final = Resource(plural="services", shape=shapes.Service, kind="Service")
INGRESSES: Final = Resource(plural="ingresses", shape=shapes.Ingress, kind="Ingress", group="networking.k8s.io")
NODES: Final = Resource(plural="nodes", shape=shapes.Node, kind="Node", namespaced=False)
BUDGETS: Final = Resource(
    plural="poddisruptionbudgets", shape=shapes.Budget, kind="PodDisruptionBudget", group="policy"
)

WATCHED: Final[tuple[Resource[Any], ...]] = (
    PODS,
    DEPLOYMENTS,
    REPLICA_SETS,
    STATEFUL_SETS,
    DAEMON_SETS,
    JOBS,
    EVENTS,
    SERVICES,
    INGRESSES,
    NODES,
    BUDGETS,
)
WORKLOAD_KINDS: Final = ("Deployment", "StatefulSet", "DaemonSet", "Job")
