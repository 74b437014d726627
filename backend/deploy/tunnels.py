"""`trinity deploy render fly` and `render cloudflared`: the backend on Fly.io, and behind a Cloudflare tunnel.

Owns those two families of files. Each is complete: what it names is written beside it.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from backend.deploy.compose import edge_file, image
from backend.deploy.values import LlmValues, Values
from backend.deploy.yaml_text import to_yaml

_EDGE: Final = """\
# Written by `trinity deploy render fly`. Two apps (three with embeddings): the edge, which the world may reach, and the
# engines on the private network, which only the edge finds. Scale by count and region; nothing here changes then.
#
#   fly apps create {app}
#   fly secrets set TRINITY_API_KEY=... --app {app}
{push}#   fly deploy --config fly.toml
{engines}
app = "{app}"
primary_region = "{region}"
# HAProxy finishes what it has.
kill_signal = "SIGUSR1"
kill_timeout = "5m"

[build]
  image = "{image}"

# Fly mounts a /run of its own, which only root may write.
[processes]
  app = "--run /tmp/trinity"

[[files]]
  guest_path = "/etc/trinity/edge.yaml"
  local_path = "edge.yaml"

[http_service]
  internal_port = 8080
  force_https = true
  auto_stop_machines = "off"
  auto_start_machines = true
  min_machines_running = 1

  # The edge queues by itself: Fly shall only spread what is more than one edge's queue.
  [http_service.concurrency]
    type = "requests"
    soft_limit = {queue}

  # A prompt may take as long as the edge waits for it.
  [http_service.http_options]
    idle_timeout = {deadline}

[metrics]
  port = 9090
  path = "/metrics"

[[vm]]
  size = "shared-cpu-1x"
  memory = "1gb"

[checks]
  [checks.live]
    type = "http"
    port = 8081
    path = "/health/live"
    interval = "10s"
    timeout = "2s"
    grace_period = "10s"
"""
_STEPS: Final = """\
#
#   fly apps create {app}
{push}{volume}#   fly deploy --config fly.{role}.toml
#   fly scale count {count} --app {app} --region {region}"""
_PUSH: Final = "#   docker tag {local} {image}\n#   docker push {image}\n"
_REGISTRY: Final = "registry.fly.io"
_VOLUME: Final = "#   fly volumes create models --size 10 --region {region} --count {count} --app {app}\n"
_ENGINE: Final = """\
# Written by `trinity deploy render fly`: reached through the edge only, so it has no public service.
app = "{app}"
primary_region = "{region}"
kill_signal = "SIGTERM"
kill_timeout = "5m"

[build]
  image = "{image}"

[env]
{env}
{mounts}
[metrics]
  port = 8080
  path = "/metrics"

[[vm]]
  size = "{size}"
  memory = "{memory}"

[checks]
  [checks.ready]
    type = "http"
    port = 8081
    path = "/health/ready"
    interval = "5s"
    timeout = "2s"
    grace_period = "2m"
"""
_MOUNTS: Final = """
[[mounts]]
  source = "models"
  destination = "/models"
"""
_GRACE_S: Final = 280
"""Fly ends a machine five minutes after it was told to stop."""


_TUNNEL_GRACE_S: Final = 180
"""The longest that cloudflared waits for its requests when it is told to stop."""


def fly(values: Values) -> dict[str, str]:
    """fly.toml of the edge, one of each engine, and what the edge serves."""
    where, files = values.fly, {}
    steps: list[str] = []
    served = edge_file(values)
    served["listen"] = "::"  # Fly's private network has no other addresses
    for role, engine in (("llm", values.llm), ("embedding", values.embedding)):
        if not engine.enabled:
            continue
        app = f"{where.app}-{role}"
        served["workloads"][role]["dns"] = f"{app}.internal"
        named = {"app": app, "role": role, "region": where.region, "count": where.count}
        # A file of one's own lies on a volume, and has to be brought there; the model in the image needs none.
        own_file = isinstance(engine, LlmValues) and bool(engine.model_path)
        volume = _VOLUME.format(**named) if own_file else ""
        pulled, push = _pulled(values, role, app)
        steps.append(_STEPS.format(**named, volume=volume, push=push))
        env = {"HOST": "::", "PORT": "8080", "HEALTH_PORT": "8081", "THREADS": str(engine.threads)}
        env["STOP_GRACE"] = str(min(engine.stop_grace_seconds, _GRACE_S))
        if isinstance(engine, LlmValues):
            env |= {"SLOTS": str(engine.slots), "CONTEXT": str(engine.context), "MODEL_PATH": engine.model_path}
        files[f"fly.{role}.toml"] = _ENGINE.format(
            app=app,
            region=where.region,
            image=pulled,
            env="".join(f"  {key} = {_quoted(value)}\n" for key, value in (env | engine.env).items()),
            mounts=_MOUNTS if own_file else "",
            size=where.size,
            memory=where.memory,
        )
    pulled, push = _pulled(values, "edge", where.app)
    files["fly.toml"] = _EDGE.format(
        app=where.app,
        region=where.region,
        image=pulled,
        push="#   fly auth docker\n" + push if push else "",
        engines="\n".join(steps),
        queue=values.edge.max_queue,
        deadline=values.edge.deadline_seconds,
    )
    files["edge.yaml"] = to_yaml(served, "What the edge serves; the engines' apps are found by their internal names.")
    return files


def _pulled(values: Values, role: str, app: str) -> tuple[str, str]:
    """Where Fly pulls the image of a role from, and what has to be done for that: without a registry of one's own it
    is Fly's, which has a repository for each app."""
    local = image(values, role)
    if values.image.registry:
        return local, ""
    pulled = f"{_REGISTRY}/{app}:{local.rpartition(':')[2]}"
    return pulled, _PUSH.format(local=local, image=pulled)


def _quoted(text: str) -> str:
    """A basic string of TOML."""
    return msgspec.json.encode(text).decode()


def cloudflared(values: Values) -> dict[str, str]:
    """The tunnel's configuration, a compose file to lay over ours, and a Deployment."""
    return {
        "config.yaml": to_yaml(_tunnel(values, "http://edge:8080"), _words(values)),
        "compose.cloudflared.yaml": to_yaml(
            _compose(values), "docker compose -f compose.yaml -f compose.cloudflared.yaml up --detach"
        ),
        "kubernetes.yaml": _head(values) + "---\n".join(to_yaml(document) for document in _kubernetes(values)),
    }


def _words(values: Values) -> str:
    name, host = values.cloudflared.tunnel, values.cloudflared.hostname
    return (
        "The tunnel's way in. The edge asks for its key as ever.\n\n"
        f"  cloudflared tunnel create {name}           and its credentials as credentials.json beside this,\n"
        f"                                                 where user 65532 may read them\n"
        f"  cloudflared tunnel route dns {name} {host}\n\n"
        "Cloudflare itself ends a request that has been silent for 100 s: long answers want `stream: true`."
    )


def _head(values: Values) -> str:
    return (
        f"# kubectl create secret generic {values.cloudflared.secret} --from-file=credentials.json\n"
        "# Then apply this in the release's namespace. Where networkPolicy.clients is set, name these pods there.\n"
    )


def _tunnel(values: Values, edge: str) -> dict[str, Any]:
    return {
        "tunnel": values.cloudflared.tunnel,
        "credentials-file": "/etc/cloudflared/creds/credentials.json",
        "metrics": "0.0.0.0:2000",
        "no-autoupdate": True,
        "grace-period": f"{_TUNNEL_GRACE_S}s",
        "ingress": [
            {
                "hostname": values.cloudflared.hostname,
                "service": edge,
                # Streams may be silent for as long as a prompt takes.
                "originRequest": {"connectTimeout": "5s", "keepAliveTimeout": "90s", "disableChunkedEncoding": False},
            },
            {"service": "http_status:404"},
        ],
    }


def _compose(values: Values) -> dict[str, Any]:
    return {
        "services": {
            "cloudflared": {
                "image": values.cloudflared.image,
                "command": ["tunnel", "--config", "/etc/cloudflared/config.yaml", "run"],
                "restart": "unless-stopped",
                "volumes": [
                    "./config.yaml:/etc/cloudflared/config.yaml:ro",
                    "./credentials.json:/etc/cloudflared/creds/credentials.json:ro",
                ],
                "depends_on": ["edge"],
                "stop_grace_period": f"{_TUNNEL_GRACE_S + 10}s",
                "networks": ["backend"],
                "cap_drop": ["ALL"],
                "security_opt": ["no-new-privileges:true"],
                "read_only": True,
            }
        }
    }


def _kubernetes(values: Values) -> list[dict[str, Any]]:
    labels = {"app.kubernetes.io/name": "cloudflared", "app.kubernetes.io/instance": "trinity"}
    edge = f"http://{values.name_override or 'trinity'}-edge:{values.edge.service.port}"
    security = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    container = {
        "name": "cloudflared",
        "image": values.cloudflared.image,
        "args": ["tunnel", "--config", "/etc/cloudflared/config/config.yaml", "run"],
        "securityContext": security,
        "ports": [{"name": "metrics", "containerPort": 2000}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "metrics"}, "periodSeconds": 5},
        "livenessProbe": {"httpGet": {"path": "/ready", "port": "metrics"}, "periodSeconds": 10, "failureThreshold": 6},
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": "256Mi"}},
        "volumeMounts": [
            {"name": "config", "mountPath": "/etc/cloudflared/config", "readOnly": True},
            {"name": "creds", "mountPath": "/etc/cloudflared/creds", "readOnly": True},
        ],
    }
    pod = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": _TUNNEL_GRACE_S + 10,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": "config", "configMap": {"name": "cloudflared"}},
            {"name": "creds", "secret": {"secretName": values.cloudflared.secret}},
        ],
    }
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "cloudflared", "labels": labels},
            "data": {"config.yaml": to_yaml(_tunnel(values, edge))},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "cloudflared", "labels": labels},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
    ]
