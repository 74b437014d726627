"""From a workload's spec to a container of ours, and back from its labels. Pure.

Owns names, labels and the create request, so that a new daemon finds what a former one started.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec

from backend.fleet.docker_engine.labels import OUR_STATE, OURS, WORKLOAD
from backend.fleet.supervision.seed import ReplicaSeed, filled_command, program_env

_FLEET: Final = "trinity.fleet"
_REVISION: Final = "trinity.revision"
_SEED: Final = "trinity.seed"
"""Label: the replica's seed as JSON, as it was when the container was made."""
_SHAPE: Final = "trinity.shape"
"""Label: digest of the create request, so that a container is started again only as it would be made anew."""
_LOG: Final = {"max-size": "10m", "max-file": "2"}
"""The engine's own copy of the output is bounded: ours is what is read."""


def container_name(digest: str, replica: str) -> str:
    """`trinity-<state digest>-<replica>`."""
    return f"trinity-{digest}-{replica}"


def create_request(seed: ReplicaSeed, digest: str) -> dict[str, object]:
    """The body of the engine's create call. The program listens inside on the port numbers it is published at."""
    spec = seed.workload
    ports = sorted({seed.port, seed.health_port})
    environment = {"HOST": "0.0.0.0"} | program_env(seed)  # noqa: S104 - inside; published on spec.host only
    host: dict[str, object] = {
        "PortBindings": {f"{port}/tcp": [{"HostIp": spec.host, "HostPort": str(port)}] for port in ports},
        "RestartPolicy": {"Name": "no"},
        "LogConfig": {"Type": "json-file", "Config": _LOG},
        "SecurityOpt": ["no-new-privileges"],
        "CpuShares": cpu_shares(spec.nice),
    }
    if spec.memory_limit_bytes is not None:
        host |= {"Memory": spec.memory_limit_bytes, "MemorySwap": spec.memory_limit_bytes}
    body: dict[str, object] = {
        "Image": spec.image,
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "ExposedPorts": {f"{port}/tcp": {} for port in ports},
        "HostConfig": host,
    }
    if spec.command:
        body |= {"Entrypoint": list(filled_command(seed)), "Cmd": []}
    if spec.cwd is not None:
        body["WorkingDir"] = spec.cwd
    labels = {
        OUR_STATE: digest,
        OURS: seed.name,
        WORKLOAD: spec.name,
        _FLEET: seed.fleet,
        _REVISION: spec.revision,
        _SEED: msgspec.json.encode(seed).decode(),
        _SHAPE: hashlib.sha256(msgspec.json.encode(body, order="sorted")).hexdigest()[:16],
    }
    return body | {"Labels": labels}


def same_shape(labels: Mapping[str, str], request: Mapping[str, object]) -> bool:
    """Whether a container with these labels is what the request would make."""
    wanted = request["Labels"]
    return isinstance(wanted, dict) and labels.get(_SHAPE) == wanted[_SHAPE]


def is_ours(labels: Mapping[str, str], digest: str) -> bool:
    """Whether a container belongs to the daemon of that state directory."""
    return labels.get(OUR_STATE) == digest


def seed_of(labels: Mapping[str, str], digest: str, fleet: str) -> ReplicaSeed | None:
    """The replica that a container is; null when it is none of this fleet's."""
    if not is_ours(labels, digest) or labels.get(_FLEET) != fleet:
        return None
    try:
        return msgspec.json.decode(labels.get(_SEED, ""), type=ReplicaSeed)
    except msgspec.MsgspecError:
        return None


def cpu_shares(nice: int) -> int:
    """The weight that the kernel gives a process of that niceness, as CPU shares (1024 for 0)."""
    return max(2, min(262_144, round(1024 / 1.25**nice)))
