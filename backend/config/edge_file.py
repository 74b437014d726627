"""edge.yaml: what an edge that runs by itself (in a container, without a daemon) is told. Owns the file's format.

Secrets are not in it: the key and the page's password come from the environment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from backend.config.fleet_file import read_text
from backend.config.strict_yaml import ByteSize, Duration, decode


class DiscoveredFile(msgspec.Struct, frozen=True, kw_only=True):
    """A workload whose replicas are the addresses of one name."""

    dns: str
    """Each address it resolves to is a replica: a headless service, a compose service."""
    port: int
    health_port: int | None = None
    """Null: checks go to `port`."""
    check: str | None = "/health/edge"
    """Path of the health check; 404 means: finish what you have, nothing new. Null: a TCP connect."""
    routes: tuple[str, ...]
    slots: int = 32
    """Requests a replica gets at once."""
    max_replicas: int = 16
    """How many addresses are used at most."""
    deadline: Duration = 600.0


class EdgeAloneFile(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file."""

    trinity: Literal[1]
    listen: str = "0.0.0.0"  # noqa: S104 - a container's own network
    """`::` where addresses are IPv6."""
    open: bool = False
    """True serves without a key; else TRINITY_API_KEY is required."""
    nameservers: tuple[str, ...] = ()
    """`host:port`; empty: those of /etc/resolv.conf."""
    retries: bool = True
    retry_budget: bool = True
    max_queue: int = 256
    max_body: ByteSize = 256 * 1024
    memory: ByteSize = 512 * 1024 * 1024
    threads: int = 1
    workloads: dict[str, DiscoveredFile]


def read_edge_file(path: Path) -> EdgeAloneFile:
    """The file at `path`. Raises FileError."""
    return decode(read_text(path), str(path), EdgeAloneFile)
