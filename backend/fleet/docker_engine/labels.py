"""Which containers and services belong to a fleet, and what they are called: by their labels. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from backend.config.fleet_file import DockerFile

WORKLOAD: Final = "trinity.workload"
"""A user's label: containers with the same value are one workload."""
ROLE: Final = "trinity.role"
"""On services of our compose file: what they are in it."""
OURS: Final = "trinity.replica"
"""On containers that a daemon of ours made and keeps (its replica's name): no platform's."""
OUR_STATE: Final = "trinity.state"
"""On those too: the digest of the state directory of the daemon that keeps them."""

PROJECT: Final = "com.docker.compose.project"
SERVICE: Final = "com.docker.compose.service"
NUMBER: Final = "com.docker.compose.container-number"
ONE_OFF: Final = "com.docker.compose.oneoff"
SWARM_TASK: Final = "com.docker.swarm.task.id"
SWARM_SERVICE: Final = "com.docker.swarm.service.name"
STACK: Final = "com.docker.stack.namespace"


class Member(msgspec.Struct, frozen=True):
    """What a container is in its fleet."""

    workload: str
    kind: str
    """`compose`, `container` or `service` (a Swarm task seen without its service)."""
    number: int = 0
    """Its place among its siblings; 0 where it has none."""
    grouped: bool = False
    """Whether others may share its workload."""


def selects(settings: DockerFile, labels: Mapping[str, str]) -> bool:
    """Whether something with these labels is asked for by project and label."""
    if settings.project is not None and settings.project not in (labels.get(PROJECT), labels.get(STACK)):
        return False
    if settings.label is None:
        return True
    key, divider, value = settings.label.partition("=")
    return key in labels and (not divider or labels[key] == value)


def member_of(settings: DockerFile, name: str, labels: Mapping[str, str], *, services_seen: bool) -> Member | None:
    """What the container `name` is in the fleet; null where it is no part of it.

    `services_seen`: Swarm services are shown by themselves, so that their tasks' containers are not shown again.
    """
    if OURS in labels or not selects(settings, labels):
        return None
    if SWARM_TASK in labels:
        if services_seen or not settings.services:
            return None
        return Member(labels.get(SWARM_SERVICE) or name, "service", grouped=True)
    if PROJECT in labels and SERVICE in labels:
        if labels.get(ONE_OFF, "").lower() == "true":
            return None
        service = labels[SERVICE]
        workload = service if settings.project is not None else f"{labels[PROJECT]}-{service}"
        return Member(workload, "compose", number_of(labels), grouped=True)
    if labels.get(WORKLOAD):
        return Member(labels[WORKLOAD], "container", number_of(labels, name), grouped=True)
    return Member(name, "container")


def number_of(labels: Mapping[str, str], name: str = "") -> int:
    """A container's number: Compose's label, else the digits its name ends with."""
    said = labels.get(NUMBER, "")
    if said.isascii() and said.isdigit():
        return int(said[:9])
    digits = name[len(name.rstrip("0123456789")) :]
    return int(digits[:9]) if digits and digits.isascii() else 0


def release_of(labels: Mapping[str, str]) -> str:
    """The compose project or stack that something with these labels belongs to; empty where it is in none."""
    return labels.get(PROJECT) or labels.get(STACK) or ""
