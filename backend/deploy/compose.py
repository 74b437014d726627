"""`trinity deploy render compose`: the bundled backend as a compose file, with what its services read.

Owns the services and their wiring. The edge finds replicas by Docker's own DNS, so `docker compose up --scale llm=4`
needs no change here. Storage, Redis and workers get services of their own when they exist; there are none now.
"""

from __future__ import annotations

from typing import Any, Final

from backend.deploy.monitoring import grafana_files, prometheus_files
from backend.deploy.values import EmbeddingValues, ExtraWorkload, LlmValues, ResourceValues, Values
from backend.deploy.yaml_text import to_yaml
from backend.version import VERSION

FILE: Final = "compose.yaml"
_HEAD: Final = """\
Written by `trinity deploy render compose`; render it again rather than changing it.

  cp trinity.env.example trinity.env      and write a key into it
  cp grafana.env.example grafana.env      and a password: Compose wants the file with or without monitoring
  docker compose up --detach              add --profile monitoring for Prometheus and Grafana
  docker compose up --detach --scale llm=4
  docker compose exec daemon trinity      the console
"""
_ENV: Final = """\
# Secrets of the services; keep this file to yourself (chmod 600 trinity.env).
# Clients send it as `Authorization: Bearer ...`. Empty: {no_key}
TRINITY_API_KEY=
# Of HAProxy's statistics page, user trinity. Empty: one that nobody knows.
TRINITY_STATS_PASSWORD=
"""
_GRAFANA_ENV: Final = """\
# The password of Grafana's user admin; keep this file to yourself too.
GF_SECURITY_ADMIN_PASSWORD=
"""
_DOT_ENV: Final = """\
# Read by Compose itself, beside the compose file. No secret belongs here.
COMPOSE_PROJECT_NAME={project}
# Docker's socket on this machine, and the number of the group that may use it: stat -c %g /var/run/docker.sock
DOCKER_SOCKET=/var/run/docker.sock
DOCKER_GID=999
"""
ROLE: Final = "trinity.role"
"""The label by which a daemon knows what a service is; see backend.fleet.docker_engine.labels."""
PROMETHEUS_IMAGE: Final = "prom/prometheus:v3.5.0"
GRAFANA_IMAGE: Final = "grafana/grafana:12.1.0"


def render(values: Values) -> dict[str, str]:
    """The compose file and every file that it mounts."""
    no_key = "the edge serves without one." if values.edge.open else "the edge does not start."
    return {
        FILE: to_yaml(project(values), _HEAD),
        ".env": _DOT_ENV.format(project=values.compose.project),
        "trinity.env.example": _ENV.format(no_key=no_key),
        "grafana.env.example": _GRAFANA_ENV,
        "edge/edge.yaml": to_yaml(edge_file(values), "What the edge serves; see backend/config/edge_file.py."),
        "daemon/trinity.yaml": to_yaml(daemon_file(values), "The daemon watches the containers of this project."),
        **prometheus_files(),
        **grafana_files(),
    }


def project(values: Values) -> dict[str, Any]:
    """compose.yaml as data."""
    services: dict[str, Any] = {"edge": _edge(values)}
    if values.llm.enabled:
        services["llm"] = _engine(values, "llm", values.llm)
    if values.embedding.enabled:
        services["embedding"] = _engine(values, "embedding", values.embedding)
    if values.daemon.enabled:
        services["daemon"] = _daemon(values)
    for workload in values.extra_workloads:
        services[workload.name] = _extra(workload)
    services |= _monitoring(values)
    volumes: dict[str, Any] = {"models": {}, "prometheus": {}, "grafana": {}}
    if values.daemon.enabled:
        volumes["state"] = {}
    volumes |= {f"{workload.name}-data": {} for workload in values.extra_workloads if workload.volume}
    return {"services": services, "volumes": volumes, "networks": {"backend": {}}}


def edge_file(values: Values) -> dict[str, Any]:
    """edge.yaml as data; see backend.config.edge_file."""
    deadline = f"{values.edge.deadline_seconds}s"
    workloads: dict[str, Any] = {}
    for name, engine in (("llm", values.llm), ("embedding", values.embedding)):
        if engine.enabled:
            workloads[name] = {
                "dns": name,
                "port": 8080,
                "health_port": 8081,
                "routes": list(engine.routes),
                "slots": engine.slots,
                "max_replicas": engine.max_replicas,
                "deadline": deadline,
            }
    for extra in values.extra_workloads:
        if extra.routes:
            workloads[extra.name] = {
                "dns": extra.name,
                "port": extra.ports[0].port,
                "check": extra.check,
                "routes": list(extra.routes),
                "slots": extra.slots,
                "max_replicas": extra.max_replicas,
                "deadline": deadline,
            }
    edge = values.edge
    return {
        "trinity": 1,
        "open": edge.open,
        "retries": edge.retries,
        "retry_budget": edge.retry_budget,
        "max_queue": edge.max_queue,
        "max_body": edge.max_body,
        "memory": edge.memory,
        "workloads": workloads,
    }


def daemon_file(values: Values) -> dict[str, Any]:
    """trinity.yaml of the daemon as data."""
    workloads: dict[str, Any] = {}
    for name, engine in (("llm", values.llm), ("embedding", values.embedding)):
        if engine.enabled:
            kind = "llamacpp" if name == "llm" else "none"
            workloads[name] = {"of": name, "port": 8080, "slots": engine.slots, "engine": kind}
    return {
        "trinity": 1,
        "fleet": values.compose.project,
        "driver": "docker",
        "docker": {"project": values.compose.project, "services": False},
        "workloads": workloads,
    }


def image(values: Values, role: str) -> str:
    """The image of a role, as the Helm chart names it too."""
    of = values.image
    return f"{of.registry + '/' if of.registry else ''}{of.repository}-{role}:{of.tag or VERSION}"


def _service(values: Values, role: str, resources: ResourceValues) -> dict[str, Any]:
    """What every service of ours has."""
    return {
        "image": image(values, role),
        "labels": {ROLE: role},
        "restart": "unless-stopped",
        "init": True,
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "tmpfs": ["/tmp"],  # noqa: S108 - inside the container
        "networks": ["backend"],
        **_limits(resources),
        "logging": {"driver": "json-file", "options": {"max-size": "10m", "max-file": "5"}},
    }


def _limits(resources: ResourceValues) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    if memory := resources.limits.get("memory"):
        limits["mem_limit"] = _bytes(memory)
    if cpu := resources.limits.get("cpu"):
        limits["cpus"] = float(cpu[:-1]) / 1000 if cpu.endswith("m") else float(cpu)
    return limits


def _bytes(quantity: str) -> str:
    """`1Gi` as Docker writes it."""
    return quantity.removesuffix("i").lower() if quantity[-1] in "iKMGk" else quantity


def _healthy(url: str) -> dict[str, Any]:
    fetch = f"import urllib.request; urllib.request.urlopen('{url}', timeout=2)"
    return {
        "test": ["CMD", "python3", "-c", fetch],
        "interval": "5s",
        "timeout": "3s",
        "retries": 3,
        "start_period": "120s",
    }


def _published(values: Values, outside: int, inside: int) -> str:
    host = values.compose.host
    return f"{f'[{host}]' if ':' in host else host}:{outside}:{inside}"


def _edge(values: Values) -> dict[str, Any]:
    ports = values.compose.ports
    return {
        **_service(values, "edge", values.edge.resources),
        "env_file": ["trinity.env"],
        "ports": [
            _published(values, ports.inference, 8080),
            _published(values, ports.edge_metrics, 9090),
            _published(values, ports.stats, 8404),
        ],
        "volumes": ["./edge:/etc/trinity:ro"],
        "tmpfs": ["/tmp", "/run/trinity:uid=10001,gid=10001,mode=0700"],  # noqa: S108 - inside the container
        "stop_signal": "SIGUSR1",
        "stop_grace_period": f"{values.edge.deadline_seconds}s",
        "healthcheck": _healthy("http://127.0.0.1:8081/health/live"),
    }


def _engine(values: Values, role: str, engine: LlmValues | EmbeddingValues) -> dict[str, Any]:
    environment = {
        "HOST": "0.0.0.0",  # noqa: S104 - the container's own network
        "PORT": "8080",
        "HEALTH_PORT": "8081",
        "STOP_GRACE": str(engine.stop_grace_seconds),
        "THREADS": str(engine.threads),
    }
    volumes: dict[str, Any] = {}
    if isinstance(engine, LlmValues):
        environment |= {"SLOTS": str(engine.slots), "CONTEXT": str(engine.context), "MODEL_PATH": engine.model_path}
        volumes = {"volumes": ["models:/models:ro"]}
    return {
        **_service(values, role, engine.resources),
        "scale": engine.replicas,
        "environment": environment | engine.env,
        "expose": ["8080", "8081"],
        **volumes,
        "stop_grace_period": f"{engine.stop_grace_seconds + 5}s",
        "healthcheck": _healthy("http://127.0.0.1:8081/health/ready"),
    }


def _daemon(values: Values) -> dict[str, Any]:
    ports = values.compose.ports
    return {
        **_service(values, "daemon", values.daemon.resources),
        "environment": {"MONITORING_HOST": "0.0.0.0", "TRINITY_ENVIRONMENT": values.daemon.environment},  # noqa: S104
        # Whoever may speak to Docker's socket owns the machine: without this mount the daemon sees nothing.
        "volumes": [
            "./daemon:/etc/trinity:ro",
            "state:/var/lib/trinity",
            "${DOCKER_SOCKET:-/var/run/docker.sock}:/var/run/docker.sock",
        ],
        "group_add": ["${DOCKER_GID:-999}"],
        "tmpfs": ["/tmp", "/run/trinity:uid=10001,gid=10001,mode=0700"],  # noqa: S108 - inside the container
        "ports": [_published(values, ports.metrics, 9090)],
        "stop_grace_period": "30s",
        "healthcheck": _healthy("http://127.0.0.1:8081/health/live"),
    }


def _extra(workload: ExtraWorkload) -> dict[str, Any]:
    service: dict[str, Any] = {
        "image": workload.image,
        "labels": {ROLE: workload.name},
        "restart": "unless-stopped",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "tmpfs": ["/tmp"],  # noqa: S108 - inside the container
        "networks": ["backend"],
        "scale": workload.replicas,
        **_limits(workload.resources),
    }
    if not workload.writable:
        service["read_only"] = True
    if workload.command:
        service["entrypoint"] = list(workload.command)
    if workload.args:
        service["command"] = list(workload.args)
    if workload.env:
        service["environment"] = dict(workload.env)
    if workload.secrets:
        service["env_file"] = ["trinity.env"]
    if workload.ports:
        service["expose"] = [str(port.port) for port in workload.ports]
    if workload.volume:
        service["volumes"] = [f"{workload.name}-data:{workload.volume.mount_path}"]
    return service


def _monitoring(values: Values) -> dict[str, Any]:
    ports = values.compose.ports
    shared = {"profiles": ["monitoring"], "restart": "unless-stopped", "networks": ["backend"], "cap_drop": ["ALL"]}
    return {
        "prometheus": {
            "image": PROMETHEUS_IMAGE,
            **shared,
            "command": ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.retention.time=15d"],
            "volumes": ["./prometheus:/etc/prometheus:ro", "prometheus:/prometheus"],
            "ports": [_published(values, ports.prometheus, 9090)],
        },
        "grafana": {
            "image": GRAFANA_IMAGE,
            **shared,
            "env_file": ["grafana.env"],
            "volumes": [
                "./grafana/provisioning:/etc/grafana/provisioning:ro",
                "./grafana/dashboards:/var/lib/grafana/dashboards:ro",
                "grafana:/var/lib/grafana",
            ],
            "ports": [_published(values, ports.grafana, 3000)],
        },
    }
