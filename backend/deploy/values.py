"""The values of a deployment as typed data, with every default. One file of them serves all kinds of rendering.

Owns names, types and bounds; `helm/values.yaml` says the same with words for people, `helm/values.schema.json` for
Helm, and tests hold the three together. Renders nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from backend.config.fleet_file import read_text
from backend.config.resolve import EMBEDDING_ROUTES, LLM_ROUTES
from backend.config.strict_yaml import decode, position
from backend.contract.errors import FileError

Name = Annotated[str, Meta(pattern=r"^[a-z]([-a-z0-9]{0,50}[a-z0-9])?$")]
Quantity = Annotated[str, Meta(extra_json_schema={"type": ["string", "number"]})]
"""As Kubernetes writes them: `500m`, `1Gi`, `2`."""
Free = dict[str, Any]
"""Handed to the platform as it is."""


class _Values(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Keys are written in camel case, as Helm's are."""


class ImageValues(_Values, frozen=True, kw_only=True):
    registry: str = ""
    repository: str = "trinity"
    tag: str = ""
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()


class SecretValues(_Values, frozen=True, kw_only=True):
    existing_secret: str = ""
    api_key: str = ""


class ResourceValues(_Values, frozen=True, kw_only=True):
    requests: dict[str, Quantity] = {}
    limits: dict[str, Quantity] = {}


class AutoscalingValues(_Values, frozen=True, kw_only=True):
    enabled: bool = False
    min_replicas: Annotated[int, Meta(ge=1)] = 2
    max_replicas: Annotated[int, Meta(ge=1)] = 8
    target_cpu_percent: Annotated[int, Meta(ge=1, le=100)] = 70


class PersistenceValues(_Values, frozen=True, kw_only=True):
    enabled: bool = False
    size: Quantity = "5Gi"
    storage_class: str = ""
    access_modes: tuple[Literal["ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany", "ReadWriteOncePod"], ...] = (
        "ReadWriteOnce",
    )
    existing_claim: str = ""


class _Placed(_Values, frozen=True, kw_only=True):
    """Where pods may go."""

    pod_annotations: dict[str, str] = {}
    node_selector: dict[str, str] = {}
    tolerations: tuple[Free, ...] = ()
    affinity: Free = {}


def _resources(cpu: str, memory: str, cpu_limit: str, memory_limit: str) -> ResourceValues:
    return ResourceValues(requests={"cpu": cpu, "memory": memory}, limits={"cpu": cpu_limit, "memory": memory_limit})


_EXAMPLE: Final = _resources("250m", "512Mi", "500m", "1Gi")
Count = Annotated[int, Meta(ge=0, le=1000)]
Slots = Annotated[int, Meta(ge=1, le=10_000)]
Seen = Annotated[int, Meta(ge=1, le=1000)]
Seconds = Annotated[int, Meta(ge=1, le=86_400)]
Port = Annotated[int, Meta(ge=1, le=65_535)]
NodePort = Annotated[int, Meta(ge=30_000, le=32_767)]


class LlmValues(_Placed, frozen=True, kw_only=True):
    enabled: bool = True
    replicas: Count = 2
    slots: Slots = 4
    threads: Annotated[int, Meta(ge=1, le=1024)] = 2
    context: Annotated[int, Meta(ge=64)] = 2048
    model_path: str = ""
    max_replicas: Seen = 16
    stop_grace_seconds: Seconds = 600
    routes: tuple[str, ...] = LLM_ROUTES
    env: dict[str, str] = {}
    resources: ResourceValues = _resources("500m", "1Gi", "2", "2Gi")
    autoscaling: AutoscalingValues = AutoscalingValues()


class EmbeddingValues(_Placed, frozen=True, kw_only=True):
    enabled: bool = True
    replicas: Count = 2
    slots: Slots = 8
    threads: Annotated[int, Meta(ge=1, le=1024)] = 1
    max_replicas: Seen = 16
    stop_grace_seconds: Seconds = 60
    routes: tuple[str, ...] = EMBEDDING_ROUTES
    env: dict[str, str] = {}
    resources: ResourceValues = _EXAMPLE
    autoscaling: AutoscalingValues = AutoscalingValues()


class EdgeServiceValues(_Values, frozen=True, kw_only=True):
    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    port: Port = 80
    node_port: NodePort | None = None
    annotations: dict[str, str] = {}


class EdgeValues(_Placed, frozen=True, kw_only=True):
    replicas: Count = 2
    open: bool = False
    retries: bool = True
    retry_budget: bool = True
    max_queue: Annotated[int, Meta(ge=1, le=100_000)] = 256
    max_body: str = "256KiB"
    memory: str = "256MiB"
    deadline_seconds: Seconds = 600
    service: EdgeServiceValues = EdgeServiceValues()
    resources: ResourceValues = _EXAMPLE


class DaemonValues(_Placed, frozen=True, kw_only=True):
    enabled: bool = True
    write: bool = False
    nodes: bool = False
    environment: str = "prod"
    resources: ResourceValues = _EXAMPLE
    persistence: PersistenceValues = PersistenceValues(enabled=True)


class ModelsValues(_Values, frozen=True, kw_only=True):
    persistence: PersistenceValues = PersistenceValues(size="20Gi", access_modes=("ReadWriteMany",))


class IngressPath(_Values, frozen=True, kw_only=True):
    path: str
    path_type: Literal["Prefix", "Exact", "ImplementationSpecific"] = "Prefix"
    service: str = "edge"
    """`edge`, the name of one of `extraWorkloads`, or any other service of the namespace as `=name`."""
    port: Port | None = None
    """Null: that service's first, as far as it is one of ours."""


class IngressHost(_Values, frozen=True, kw_only=True):
    host: str
    paths: tuple[IngressPath, ...]


class IngressTls(_Values, frozen=True, kw_only=True):
    secret_name: str
    hosts: tuple[str, ...]


class IngressValues(_Values, frozen=True, kw_only=True):
    enabled: bool = False
    class_name: str = ""
    annotations: dict[str, str] = {}
    hosts: tuple[IngressHost, ...] = ()
    tls: tuple[IngressTls, ...] = ()


class NetworkPolicyValues(_Values, frozen=True, kw_only=True):
    enabled: bool = True
    clients: tuple[Free, ...] = ()
    monitoring: tuple[Free, ...] = ()


class ServiceMonitorValues(_Values, frozen=True, kw_only=True):
    enabled: bool = False
    interval: str = "15s"
    labels: dict[str, str] = {}


class RuleValues(_Values, frozen=True, kw_only=True):
    enabled: bool = False
    labels: dict[str, str] = {}


class MonitoringValues(_Values, frozen=True, kw_only=True):
    service_monitor: ServiceMonitorValues = ServiceMonitorValues()
    prometheus_rule: RuleValues = RuleValues()
    dashboard: RuleValues = RuleValues(labels={"grafana_dashboard": "1"})


class BackupValues(_Values, frozen=True, kw_only=True):
    name: Name
    claim: str
    """The claim that is read."""
    target: str
    """The claim that archives are written to."""
    schedule: str = "17 3 * * *"
    keep: Annotated[int, Meta(ge=1, le=1000)] = 14
    beside: Name = "daemon"
    """The part whose pods use the volume: archives are made on their node."""


class WorkloadPort(_Values, frozen=True, kw_only=True):
    name: Name = "http"
    port: Port
    node_port: NodePort | None = None


class WorkloadProbes(_Values, frozen=True, kw_only=True):
    startup: Free | None = None
    readiness: Free | None = None
    liveness: Free | None = None


class VolumeValues(_Values, frozen=True, kw_only=True):
    mount_path: str
    size: Quantity = "5Gi"
    storage_class: str = ""
    access_modes: tuple[str, ...] = ("ReadWriteOnce",)


class ExtraWorkload(_Placed, frozen=True, kw_only=True):
    name: Name
    image: str
    kind: Literal["Deployment", "StatefulSet"] = "Deployment"
    replicas: Count = 1
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    secrets: tuple[str, ...] = ()
    """Secrets whose keys become environment variables."""
    ports: tuple[WorkloadPort, ...] = ()
    probes: WorkloadProbes = WorkloadProbes()
    resources: ResourceValues = _EXAMPLE
    volume: VolumeValues | None = None
    """One per replica of a StatefulSet, one shared by a Deployment."""
    routes: tuple[str, ...] = ()
    slots: Slots = 32
    max_replicas: Seen = 16
    check: str | None = None
    """Path of the edge's health check; null: a TCP connect."""
    writable: bool = False
    """True lets it write into its own file system."""


class ComposePorts(_Values, frozen=True, kw_only=True):
    inference: Port = 8080
    edge_metrics: Port = 9091
    stats: Port = 8404
    metrics: Port = 9090
    prometheus: Port = 9099
    grafana: Port = 3000


class ComposeValues(_Values, frozen=True, kw_only=True):
    project: Name = "trinity"
    host: str = "127.0.0.1"
    ports: ComposePorts = ComposePorts()


class FlyValues(_Values, frozen=True, kw_only=True):
    app: Name = "trinity"
    region: str = "fra"
    size: str = "shared-cpu-2x"
    memory: str = "2gb"
    count: Annotated[int, Meta(ge=1, le=1000)] = 2


class CloudflaredValues(_Values, frozen=True, kw_only=True):
    tunnel: str = "trinity"
    hostname: str = "llm.example.com"
    image: str = "cloudflare/cloudflared:2025.11.1"
    secret: str = "cloudflared-credentials"  # noqa: S105 - the name of one


class Values(_Values, frozen=True, kw_only=True):
    """All of them."""

    name_override: str = ""
    cluster_domain: str = "cluster.local"
    image: ImageValues = ImageValues()
    secrets: SecretValues = SecretValues()
    llm: LlmValues = LlmValues()
    embedding: EmbeddingValues = EmbeddingValues()
    edge: EdgeValues = EdgeValues()
    daemon: DaemonValues = DaemonValues()
    models: ModelsValues = ModelsValues()
    ingress: IngressValues = IngressValues()
    pod_disruption_budgets: bool = True
    network_policy: NetworkPolicyValues = NetworkPolicyValues()
    monitoring: MonitoringValues = MonitoringValues()
    backups: tuple[BackupValues, ...] = ()
    extra_workloads: tuple[ExtraWorkload, ...] = ()
    compose: ComposeValues = ComposeValues()
    fly: FlyValues = FlyValues()
    cloudflared: CloudflaredValues = CloudflaredValues()


def read_values(path: Path | None) -> Values:
    """The defaults with the file's values over them: maps are merged, lists replaced, as Helm does it.

    Raises FileError with line and column.
    """
    if path is None:
        return Values()
    if not path.exists():
        raise FileError(str(path), "no such file.", "Name an existing file of values, or leave --values away.")
    text = read_text(path)
    if not text.strip() or all(not line.strip() or line.lstrip().startswith("#") for line in text.splitlines()):
        return Values()
    return parse_values(text, str(path))


def parse_values(text: str, source: str) -> Values:
    """The defaults with the text's values over them. Raises FileError with line and column."""
    given: dict[str, Any] = decode(text, source, dict[str, Any])
    typed = msgspec.to_builtins(decode(text, source, Values))
    merged = merge(msgspec.to_builtins(Values()), _given(typed, given))
    try:
        values = msgspec.convert(merged, Values)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at ")
        place = position(text, *_keys(path))
        raise FileError(source, f"{path.strip('`$.') or 'values'}: {message}.", "Correct it.", *place) from None
    _check(values, text, source)
    return values


def _given(typed: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Of the typed values only what was written."""
    return {
        key: _given(typed[key], value) if isinstance(value, dict) and isinstance(typed[key], dict) else typed[key]
        for key, value in given.items()
    }


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` laid over `base`: maps key by key, everything else whole."""
    merged = dict(base)
    for key, value in over.items():
        before = merged.get(key)
        merged[key] = merge(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return merged


def json_schema() -> dict[str, Any]:
    """values.schema.json: what Helm checks values against."""
    schema = msgspec.json.schema(Values)
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of the trinity chart", **schema}


def _keys(path: str) -> list[str]:
    """The keys of a path like `$.llm.slots`, up to the first list in it."""
    keys: list[str] = []
    for part in path.strip("`$.").split("."):
        keys.append(part.partition("[")[0])
        if "[" in part:
            break
    return [key for key in keys if key]


def _check(values: Values, text: str, source: str) -> None:
    """What holds between values. Raises FileError."""

    def fail(message: str, next_step: str, *path: str) -> FileError:
        return FileError(source, message, next_step, *position(text, *path))

    names = [workload.name for workload in values.extra_workloads]
    for name in names:
        if name in ("llm", "embedding", "edge", "daemon") or names.count(name) > 1:
            raise fail(f"the name `{name}` is taken.", "Choose another.", "extraWorkloads")
    for workload in values.extra_workloads:
        if workload.routes and not workload.ports:
            words = "Give it the port that the edge shall ask first."
            raise fail(f"`{workload.name}` has routes but no port.", words, "extraWorkloads")
    for name, engine in (("llm", values.llm), ("embedding", values.embedding)):
        scaling = engine.autoscaling
        most = scaling.max_replicas if scaling.enabled else engine.replicas
        if most > engine.max_replicas:
            words = f"Raise {name}.maxReplicas to {most}, or want fewer."
            raise fail(f"{name}: {most} replicas, but the edge sees {engine.max_replicas}.", words, name, "maxReplicas")
        if scaling.enabled and scaling.min_replicas > scaling.max_replicas:
            words = "Write the smaller one as minReplicas."
            raise fail(f"{name}.autoscaling: minReplicas exceeds maxReplicas.", words, name, "autoscaling")
    loopback = values.compose.host in ("127.0.0.1", "::1", "localhost")
    if values.edge.open and not loopback:
        words = "Publish on 127.0.0.1, or leave edge.open away and set TRINITY_API_KEY."
        raise fail(f"compose.host {values.compose.host} with edge.open serves everyone without a key.", words, "edge")
