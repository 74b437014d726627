"""The edge that a fleet gets: our own HAProxy, or what is seen of the platform's. Owns the choice; starts nothing."""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path
from typing import Final

from backend.config.atomic_file import write_atomically
from backend.config.checks import public_ports
from backend.config.paths import StatePaths
from backend.config.resolve import FleetConfig
from backend.contract.clock import Clock
from backend.contract.fleet import Fleet
from backend.daemon.drivers import wants_edge
from backend.daemon.observed.edge import ObservedEdge
from backend.daemon.once_sink import OnceSink
from backend.edge.haproxy import HaproxyEdge
from backend.edge.settings import EdgeSettings
from backend.ledger import Ledger

_REREAD_S: Final = 1200.0
_REREAD_ROWS: Final = 20_000
"""Rows that a log reader may read twice: those of requests that ended just before the last daemon did."""


def make_edge(
    config: FleetConfig,
    paths: StatePaths,
    fleet: Fleet,
    ledger: Ledger,
    clock: Clock,
    *,
    auto_port: bool,
    read_only: bool,
) -> HaproxyEdge | ObservedEdge:
    """By what is declared. Raises OSError where its password's file cannot be written."""
    if not wants_edge(config):
        # However long ago its daemon died: the platform's log of then may still be read.
        once = OnceSink(ledger, ledger.recent("requests", limit=_REREAD_ROWS))
        direct = config.file.driver != "kubernetes" or config.file.kubernetes.reach != "forward"
        return ObservedEdge(fleet, paths, once, clock, flush=ledger.flush, direct=direct, forward=not read_only)
    known = ledger.recent("requests", since_ts=clock.now() - _REREAD_S, limit=_REREAD_ROWS)
    settings = _settings(config, paths, auto_port)
    return HaproxyEdge(paths, settings, OnceSink(ledger, known), clock, config.name, flush=ledger.flush)


def _settings(config: FleetConfig, paths: StatePaths, auto_port: bool) -> EdgeSettings:
    edge, settings = config.file.edge, config.settings
    ports = public_ports(settings, config.file)
    return EdgeSettings(
        host=config.listen,
        port=ports["INFERENCE_PORT"],
        stats_port=ports["STATS_PORT"],
        stats_password=stats_password(paths.edge_dir / "stats.password"),
        api_key=settings.trinity_api_key or None,
        auto_port=auto_port,
        retries=edge.retries,
        retry_budget=edge.retry_budget,
        max_queue=edge.max_queue,
        max_body_bytes=edge.max_body,
        memory_limit_bytes=edge.memory,
        snippet=edge.snippet,
        haproxy=settings.trinity_haproxy or None,
    )


def stats_password(path: Path) -> str:
    """The statistics page's password, generated once. An empty file, which a crash may have left, is none."""
    with contextlib.suppress(FileNotFoundError):
        if word := path.read_text().strip():
            return word
    word = secrets.token_urlsafe(18)
    write_atomically(path, f"{word}\n".encode())
    return word
