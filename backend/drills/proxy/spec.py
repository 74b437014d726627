"""How a fault proxy is told what to stand in front of, and what it says once it stands there."""

from __future__ import annotations

import msgspec

from backend.contract.faults import ProxyTarget


class ProxySpec(msgspec.Struct, frozen=True, kw_only=True):
    """The whole configuration, passed as JSON on the command line."""

    name: str
    """The replica's name, for people who look at the process list."""
    control_path: str
    ports_path: str
    """Where `ProxyPorts` is written, atomically, once it takes connections."""
    target: ProxyTarget
    health_paths: tuple[str, ...] = ()
    """Paths on the main port that are health checks."""


class ProxyPorts(msgspec.Struct, frozen=True, kw_only=True):
    """Where it listens, on PROXY_HOST."""

    pid: int
    port: int
    health_port: int | None = None
