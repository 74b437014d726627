"""The daemon: its fleets, and the servers that lead to them.

Owns the control socket, the health and monitoring endpoints (those of the first fleet) and the order of start and end.
Every decision lives in a part of a fleet, not here.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from backend.config.known_fleets import KnownFleet
from backend.config.paths import StatePaths
from backend.config.resolve import FleetConfig
from backend.contract.errors import PortTaken
from backend.daemon.control_socket import listen_on
from backend.daemon.fleets import Fleets, MakeParts
from backend.daemon.fleets_api import daemon_app
from backend.telemetry.http import Server, health_app, monitoring_app, serve, serve_on

_PORTS_TRIED = 100


class Trinityd:
    """A running daemon. `start` serves; `stopped` is set by SIGTERM (detach) or shutdown (take the fleets down)."""

    def __init__(self, paths: StatePaths, first: KnownFleet, config: FleetConfig, make: MakeParts) -> None:
        self.paths = paths
        self.stopped = asyncio.Event()
        self.take_down = False
        self.fleets = Fleets(paths, first, config, make, shutdown=self.shutdown)
        self._servers: list[Server] = []

    async def start(self, *, auto_port: bool = False) -> None:
        """Ports first (they fail soonest), then the first fleet, then the control socket; the other fleets come up
        behind it. Undoes itself on failure."""
        first = self.fleets.first.surface
        settings = first.parts.config.settings
        try:
            health = await _serve(
                health_app(self.fleets), settings.health_port, "health", auto_port, settings.monitoring_host
            )
            self._servers.append(health)
            monitoring = await _serve(
                monitoring_app(self.fleets), settings.metrics_port, "monitoring", auto_port, settings.monitoring_host
            )
            self._servers.append(monitoring)
            first.parts.metrics_url = monitoring.url
            await self.fleets.open_first()
        except BaseException:
            await self._close_servers()
            raise
        listener = listen_on(self.paths.control_socket)
        self._servers.append(await serve_on(daemon_app(self.fleets), listener, purpose="control"))
        self.fleets.open_others()

    async def run(self) -> None:
        """Until stopped; then detach or take everything down."""
        await self.stopped.wait()
        await self.fleets.end(take_down=self.take_down)
        await self._close_servers()
        with contextlib.suppress(FileNotFoundError):
            self.paths.control_socket.unlink()

    def detach(self) -> None:
        """SIGTERM: end the daemon, leave replicas and edges."""
        self.stopped.set()

    def shutdown(self) -> None:
        """`trinity down`: end all."""
        self.take_down = True
        self.stopped.set()

    async def _close_servers(self) -> None:
        await asyncio.gather(*(server.close() for server in self._servers))
        self._servers.clear()


async def _serve(app: Any, port: int, purpose: str, auto_port: bool, host: str) -> Server:
    """On that port, or with --auto-port on the next free one. Raises PortTaken."""
    last = port + (_PORTS_TRIED if auto_port and port else 0)
    while True:
        try:
            return await serve(app, host, port, purpose=purpose)
        except PortTaken:
            if port >= last:
                raise
            port += 1
