"""Kubernetes objects as far as the fleet's view needs them: small structs, all else of the JSON is skipped in reading.

Data only. Everything is optional, as in the API; they hold no cycles, so they are kept from the garbage collector.
"""

from __future__ import annotations

from datetime import datetime
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


class Shape(msgspec.Struct, frozen=True, kw_only=True, gc=False, rename="camel"):
    """The base of all: camelCase names."""


class OwnerReference(Shape, frozen=True):
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None


class BaseMetadata(Shape, frozen=True):
    name: str = ""
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] | None = None
    owner_references: tuple[OwnerReference, ...] | None = None

    def label(self, name: str) -> str:
        return self.labels.get(name, "") if self.labels else ""

    @property
    def created_ts(self) -> float:
        return self.creation_timestamp.timestamp() if self.creation_timestamp else 0.0

    @property
    def controller(self) -> OwnerReference | None:
        """What keeps it alive."""
        for owner in self.owner_references or ():
            if owner.controller:
                return owner
        return None


class Metadata(BaseMetadata, frozen=True):
    namespace: str = ""
    generation: int | None = None
    annotations: dict[str, str] | None = None


class PodAnnotations(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Of what there are thousands, only what is read is kept."""

    default_container: str | None = msgspec.field(default=None, name="kubectl.kubernetes.io/default-container")


class PodMetadata(BaseMetadata, frozen=True):
    annotations: PodAnnotations | None = None


class Condition(Shape, frozen=True):
    type: str = ""
    status: str = ""
    reason: str | None = None
    message: str | None = None
    last_transition_time: datetime | None = None


# -- pods


class ContainerPort(Shape, frozen=True):
    container_port: int = 0
    name: str | None = None
    protocol: str | None = None


class Resources(Shape, frozen=True):
    limits: dict[str, str | int | float] | None = None


class Probe(Shape, frozen=True):
    """Only that there is one."""


class Container(Shape, frozen=True):
    name: str = ""
    image: str = ""
    ports: tuple[ContainerPort, ...] | None = None
    resources: Resources | None = None
    readiness_probe: Probe | None = None
    liveness_probe: Probe | None = None
    startup_probe: Probe | None = None
    restart_policy: str | None = None
    """`Always` makes an init container a sidecar."""


class PodSpec(Shape, frozen=True):
    node_name: str | None = None
    containers: tuple[Container, ...] | None = None
    init_containers: tuple[Container, ...] | None = None
    restart_policy: str | None = None
    termination_grace_period_seconds: int | None = None
    scheduling_gates: tuple[msgspec.Raw, ...] | None = None


class Terminated(Shape, frozen=True):
    exit_code: int | None = None
    signal: int | None = None
    reason: str | None = None
    message: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    container_id: str | None = msgspec.field(default=None, name="containerID")


class Waiting(Shape, frozen=True):
    reason: str | None = None
    message: str | None = None


class Running(Shape, frozen=True):
    started_at: datetime | None = None


class ContainerState(Shape, frozen=True):
    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


class ContainerStatus(Shape, frozen=True):
    name: str = ""
    ready: bool | None = None
    started: bool | None = None
    restart_count: int | None = None
    state: ContainerState | None = None
    last_state: ContainerState | None = None
    container_id: str | None = msgspec.field(default=None, name="containerID")


class PodStatus(Shape, frozen=True):
    phase: str | None = None
    reason: str | None = None
    message: str | None = None
    pod_ip: str | None = msgspec.field(default=None, name="podIP")
    conditions: tuple[Condition, ...] | None = None
    container_statuses: tuple[ContainerStatus, ...] | None = None
    init_container_statuses: tuple[ContainerStatus, ...] | None = None


class Pod(Shape, frozen=True):
    metadata: PodMetadata = PodMetadata()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    def condition(self, kind: str) -> Condition | None:
        for found in self.status.conditions or ():
            if found.type == kind:
                return found
        return None


# -- what keeps pods


class LabelRule(Shape, frozen=True):
    key: str = ""
    operator: str = ""
    values: tuple[str, ...] | None = None


class LabelSelector(Shape, frozen=True):
    match_labels: dict[str, str] | None = None
    match_expressions: tuple[LabelRule, ...] | None = None


class Template(Shape, frozen=True):
    metadata: Metadata = Metadata()
    spec: PodSpec = PodSpec()


class RollingUpdate(Shape, frozen=True):
    partition: int | None = None


class Strategy(Shape, frozen=True):
    type: str | None = None
    rolling_update: RollingUpdate | None = None


class WorkloadObjectSpec(Shape, frozen=True):
    """Of Deployments, ReplicaSets, StatefulSets, DaemonSets and Jobs together."""

    replicas: int | None = None
    parallelism: int | None = None
    completions: int | None = None
    suspend: bool | None = None
    paused: bool | None = None
    selector: LabelSelector | None = None
    template: Template = Template()
    update_strategy: Strategy | None = None


class WorkloadObjectStatus(Shape, frozen=True):
    observed_generation: int | None = None
    replicas: int | None = None
    ready_replicas: int | None = None
    updated_replicas: int | None = None
    available_replicas: int | None = None
    current_revision: str | None = None
    update_revision: str | None = None
    current_replicas: int | None = None
    desired_number_scheduled: int | None = None
    updated_number_scheduled: int | None = None
    number_available: int | None = None
    number_ready: int | None = None
    active: int | None = None
    succeeded: int | None = None
    failed: int | None = None
    conditions: tuple[Condition, ...] | None = None


class WorkloadObject(Shape, frozen=True):
    metadata: Metadata = Metadata()
    spec: WorkloadObjectSpec = WorkloadObjectSpec()
    status: WorkloadObjectStatus = WorkloadObjectStatus()


# -- what tells of pods, and what leads to them


class ObjectReference(Shape, frozen=True):
    kind: str = ""
    name: str = ""
    uid: str = ""
    field_path: str | None = None


class EventSeries(Shape, frozen=True):
    count: int | None = None
    last_observed_time: datetime | None = None


class EventObject(Shape, frozen=True):
    metadata: Metadata = Metadata()
    involved_object: ObjectReference = ObjectReference()
    type: str | None = None
    reason: str | None = None
    message: str | None = None
    count: int | None = None
    first_timestamp: datetime | None = None
    last_timestamp: datetime | None = None
    event_time: datetime | None = None
    series: EventSeries | None = None


class ServicePort(Shape, frozen=True):
    name: str | None = None
    protocol: str | None = None
    port: int = 0
    target_port: int | str | None = None
    node_port: int | None = None


class ServiceSpec(Shape, frozen=True):
    type: str | None = None
    cluster_ip: str | None = msgspec.field(default=None, name="clusterIP")
    selector: dict[str, str] | None = None
    ports: tuple[ServicePort, ...] | None = None


class LoadBalancerIngress(Shape, frozen=True):
    ip: str | None = None
    hostname: str | None = None


class LoadBalancer(Shape, frozen=True):
    ingress: tuple[LoadBalancerIngress, ...] | None = None


class LoadBalancerStatus(Shape, frozen=True):
    load_balancer: LoadBalancer | None = None


class Service(Shape, frozen=True):
    metadata: Metadata = Metadata()
    spec: ServiceSpec = ServiceSpec()
    status: LoadBalancerStatus = LoadBalancerStatus()


class BackendPort(Shape, frozen=True):
    name: str | None = None
    number: int | None = None


class BackendService(Shape, frozen=True):
    name: str = ""
    port: BackendPort | None = None


class IngressBackend(Shape, frozen=True):
    service: BackendService | None = None


class IngressPath(Shape, frozen=True):
    path: str | None = None
    backend: IngressBackend = IngressBackend()


class IngressHttp(Shape, frozen=True):
    paths: tuple[IngressPath, ...] | None = None


class IngressRule(Shape, frozen=True):
    host: str | None = None
    http: IngressHttp | None = None


class IngressTls(Shape, frozen=True):
    hosts: tuple[str, ...] | None = None


class IngressSpec(Shape, frozen=True):
    default_backend: IngressBackend | None = None
    rules: tuple[IngressRule, ...] | None = None
    tls: tuple[IngressTls, ...] | None = None


class Ingress(Shape, frozen=True):
    metadata: Metadata = Metadata()
    spec: IngressSpec = IngressSpec()
    status: LoadBalancerStatus = LoadBalancerStatus()


# -- nodes and budgets


class Taint(Shape, frozen=True):
    key: str = ""
    effect: str | None = None


class NodeSpec(Shape, frozen=True):
    unschedulable: bool | None = None


class NodeAddress(Shape, frozen=True):
    type: str = ""
    address: str = ""


class NodeInfo(Shape, frozen=True):
    kubelet_version: str | None = None


class NodeObjectStatus(Shape, frozen=True):
    conditions: tuple[Condition, ...] | None = None
    addresses: tuple[NodeAddress, ...] | None = None
    node_info: NodeInfo | None = None
    capacity: dict[str, str | int | float] | None = None


class Node(Shape, frozen=True):
    metadata: Metadata = Metadata()
    spec: NodeSpec = NodeSpec()
    status: NodeObjectStatus = NodeObjectStatus()


class BudgetSpec(Shape, frozen=True):
    selector: LabelSelector | None = None
    min_available: int | str | None = None
    max_unavailable: int | str | None = None


class BudgetStatus(Shape, frozen=True):
    disruptions_allowed: int | None = None
    current_healthy: int | None = None
    desired_healthy: int | None = None
    expected_pods: int | None = None


class Budget(Shape, frozen=True):
    """A PodDisruptionBudget."""

    metadata: Metadata = Metadata()
    spec: BudgetSpec = BudgetSpec()
    status: BudgetStatus = BudgetStatus()


# -- measurements


class Name(Shape, frozen=True):
    name: str = ""


class Quantities(Shape, frozen=True):
    cpu: str | int | float | None = None
    memory: str | int | float | None = None


class ContainerUsage(Shape, frozen=True):
    usage: Quantities | None = None


class PodUsage(Shape, frozen=True):
    metadata: Name = Name()
    containers: tuple[ContainerUsage, ...] | None = None


class NodeUsage(Shape, frozen=True):
    metadata: Name = Name()
    usage: Quantities | None = None


# -- lists and streams


class ListMetadata(Shape, frozen=True):
    resource_version: str = ""
    continue_: str | None = msgspec.field(default=None, name="continue")


class Page(Shape, Generic[T], frozen=True):
    """One answer to a list."""

    metadata: ListMetadata = ListMetadata()
    items: list[T] | None = None


class WatchEvent(Shape, frozen=True):
    """One line of a watch; `object` is read by its kind."""

    type: str = ""
    object: msgspec.Raw = msgspec.Raw(b"null")
