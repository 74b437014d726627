"""What runs of a compose project, read once through the Docker engine's API: images, environment, ports.

Owns the one look; changes nothing. Honours $DOCKER_HOST with its TLS variables, else the current Docker context.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Final

import docker
from docker.context import ContextAPI
from docker.errors import DockerException

from backend.contract.errors import Unreachable, UsageError
from backend.deploy.compare import RunningService

_PROJECT: Final = "com.docker.compose.project"
_SERVICE: Final = "com.docker.compose.service"
_TIMEOUT_S: Final = 10


def read_project(project: str) -> dict[str, RunningService]:
    """Its services by name, those with a container that runs. Raises Unreachable, UsageError."""
    try:
        client = _client()
        try:
            found = client.api.containers(filters={"label": f"{_PROJECT}={project}"})
            inspected = [client.api.inspect_container(each["Id"]) for each in found]
        finally:
            client.close()
    except (DockerException, OSError) as error:
        raise Unreachable(
            f"Docker does not answer: {_why(error)}.",
            "Start it, or name the right one with DOCKER_HOST or `docker context use`.",
        ) from None
    return by_service(inspected)


def by_service(containers: Iterable[Mapping[str, Any]]) -> dict[str, RunningService]:
    """Inspected containers by the service they belong to."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for container in containers:
        groups.setdefault(container["Config"]["Labels"][_SERVICE], []).append(container)
    return {
        name: RunningService(
            images=tuple(each["Config"]["Image"] for each in group),
            environment=tuple(_environment(each) for each in group),
            ports=tuple(_ports(each) for each in group),
        )
        for name, group in sorted(groups.items())
    }


def _why(error: BaseException) -> str:
    """The innermost cause in the system's words: around it stand those of three libraries."""
    held: list[BaseException] = [error]
    for each in held:  # grows meanwhile
        more = (*each.args, each.__cause__, each.__context__, getattr(each, "reason", None))
        nested = [inner for arg in more for inner in (arg if isinstance(arg, tuple) else (arg,))]
        held += [inner for inner in nested if isinstance(inner, BaseException) and inner not in held]
    numbered = [e.errno for e in held if isinstance(e, OSError) and e.errno is not None]
    words = os.strerror(numbered[-1]).lower() if numbered else " ".join(str(error).split())[:200]
    where = os.environ.get("DOCKER_HOST", "")
    return f"{words} ({where})" if where else words


def _client() -> docker.DockerClient:
    if os.environ.get("DOCKER_HOST"):
        return docker.from_env(timeout=_TIMEOUT_S)
    context = ContextAPI.get_current_context()
    if context is None:
        raise UsageError("The current Docker context is not there.", "Choose another with `docker context use`.")
    return docker.DockerClient(base_url=context.Host, tls=context.TLSConfig or False, timeout=_TIMEOUT_S)


def _environment(container: Mapping[str, Any]) -> dict[str, str]:
    pairs = (line.partition("=") for line in container["Config"]["Env"] or ())
    return {name: value for name, _, value in pairs}


def _ports(container: Mapping[str, Any]) -> frozenset[str]:
    bound = container["HostConfig"]["PortBindings"] or {}
    return frozenset(
        f"{_address(binding.get('HostIp', ''))}:{binding['HostPort']}:{inside.removesuffix('/tcp')}"
        for inside, bindings in bound.items()
        for binding in bindings or ()
    )


def _address(host: str) -> str:
    return f"[{host}]" if ":" in host else host or "0.0.0.0"  # noqa: S104 - what Docker means by an empty one
