"""trinity.yaml as typed data: what a user may write, nothing resolved yet.

Owns the file's format (version 1) and its built-in default. See resolve.py for what it becomes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from backend.config.strict_yaml import ByteSize, Duration, decode
from backend.contract.errors import FileError

FILE_NAME = "trinity.yaml"


class ProbeFile(msgspec.Struct, frozen=True, kw_only=True):
    """`http: /path`, `tcp: true` or `command: [...]`."""

    http: str | None = None
    tcp: bool = False
    command: tuple[str, ...] | None = None
    port: Literal["main", "health"] = "main"
    period: Duration = 1.0
    timeout: Duration = 1.0
    failure_threshold: int = 3
    success_threshold: int = 1


class ProbesFile(msgspec.Struct, frozen=True, kw_only=True):
    startup: ProbeFile | None = None
    readiness: ProbeFile | None = None
    liveness: ProbeFile | None = None


class ResourcesFile(msgspec.Struct, frozen=True, kw_only=True):
    memory: ByteSize | None = None
    nice: int = 5


class WorkloadFile(msgspec.Struct, frozen=True, kw_only=True):
    """A workload: `builtin: llm` or `embedding`, or any `command` that serves HTTP."""

    builtin: Literal["llm", "embedding"] | None = None
    command: tuple[str, ...] | None = None
    model: str | None = None
    env: dict[str, str] = {}
    cwd: str | None = None
    port: int | Literal["auto"] = "auto"
    health_port: bool = False
    replicas: int | None = None
    slots: int | None = None
    routes: tuple[str, ...] | None = None
    probes: ProbesFile | None = None
    resources: ResourcesFile = ResourcesFile()
    engine: Literal["llamacpp", "vllm", "none"] | None = None
    stop_grace: Duration = 10.0
    drain_deadline: Duration = 600.0
    request_deadline: Duration = 600.0
    max_replicas: int = 16
    image: str | None = None
    """Docker: run this image for each replica (with `command`, or the image's own), kept alive by us."""
    of: str | None = None
    """Docker, Kubernetes: the platform's own workload that this describes (a service, `deployment/llm`); its name by
    default. Then `port`, `slots`, `routes` and `engine` say how our edge reaches its replicas."""


class DockerFile(msgspec.Struct, frozen=True, kw_only=True):
    """Which containers are the fleet. Without project, label or `services`: every container."""

    context: str = ""
    """A Docker context; empty: $DOCKER_HOST, $DOCKER_CONTEXT, or the current one."""
    project: str | None = None
    label: str | None = None
    """`key` or `key=value`."""
    services: bool = True
    """Swarm services too, where the engine is a Swarm manager."""


class KubernetesFile(msgspec.Struct, frozen=True, kw_only=True):
    """Which pods are the fleet."""

    context: str = ""
    """Empty: the kubeconfig's current one, or the cluster we run in."""
    namespace: str | None = None
    selector: str | None = None
    kubeconfig: str | None = None
    reach: Literal["auto", "direct", "forward"] = "auto"
    """How our edge and the scrapers get to pods: by their addresses, or through the API server's port forwards."""


class EdgeFile(msgspec.Struct, frozen=True, kw_only=True):
    """The edge's own settings; ports may also come from the environment, which wins."""

    port: int | None = None
    stats_port: int | None = None
    retries: bool = True
    retry_budget: bool = True
    """Whether extra attempts are bounded to a tenth of the requests and a reserve."""
    max_queue: int = 256
    """Requests of one workload that may wait for a slot; more get 429 at once."""
    max_body: ByteSize = 256 * 1024
    memory: ByteSize = 512 * 1024 * 1024
    snippet: str | None = None


class WatchdogFile(msgspec.Struct, frozen=True, kw_only=True):
    """The progress watchdog: ejects replicas whose engine is stuck."""

    enabled: bool = True
    restart_after: Duration = 30.0
    """A replica that is stuck this long is killed, to be started anew."""


class FleetFile(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file."""

    trinity: Literal[1]
    fleet: str = "local"
    driver: Literal["local", "docker", "kubernetes"] = "local"
    docker: DockerFile = DockerFile()
    kubernetes: KubernetesFile = KubernetesFile()
    listen: str = "127.0.0.1"
    edge: EdgeFile = EdgeFile()
    watchdog: WatchdogFile = WatchdogFile()
    settings: dict[str, str] = {}
    profiles: dict[str, dict[str, str]] = {}
    workloads: dict[str, WorkloadFile] = msgspec.field(
        default_factory=lambda: {"llm": WorkloadFile(builtin="llm"), "embedding": WorkloadFile(builtin="embedding")}
    )


DEFAULT = FleetFile(trinity=1)


def read_text(path: Path) -> str:
    """The text at `path`. Raises FileError."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FileError(str(path), "no such file.", "Name an existing trinity.yaml, or leave --file away.") from None
    except UnicodeDecodeError as error:
        raise FileError(
            str(path), f"is not UTF-8 text (byte {error.start + 1}).", "Save it as UTF-8, or name another file."
        ) from None
    except OSError as error:
        raise FileError(
            str(path), f"cannot be read: {(error.strerror or str(error)).lower()}.", "Name a file that you can read."
        ) from None


def read_fleet_file(path: Path) -> FleetFile:
    """The file at `path`. Raises FileError."""
    return parse_fleet_file(read_text(path), str(path))


def parse_fleet_file(text: str, source: str) -> FleetFile:
    """The file's text. Raises FileError with line and column."""
    return decode(text, source, FleetFile)
