"""One fleet of a daemon through its life: opened, served on a socket of its own, tried again where it cannot be opened,
detached or taken down.

Owns the lock of its directory and whether it is open. Which fleets there are is `Fleets`' business; what a fleet can do
is its surface's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from starlette.applications import Starlette

from backend.config.known_fleets import KnownFleet
from backend.config.own_logs import get_logger
from backend.config.paths import StatePaths
from backend.config.resolve import FleetConfig
from backend.contract.control import FleetInfo
from backend.contract.errors import InternalError, TrinityError, Unreachable
from backend.daemon.api import control_app
from backend.daemon.control_socket import listen_on
from backend.daemon.lock import DaemonLock
from backend.daemon.parts import Parts
from backend.daemon.surface import FleetSurface
from backend.telemetry.http import Server, serve_on

_log = get_logger(__name__)
FIRST_RETRY_S: Final = 2.0
LAST_RETRY_S: Final = 60.0

MakeParts = Callable[[StatePaths, FleetConfig, bool], Parts]
"""(paths, config, whether it is the first fleet) -> parts that are not open yet."""


class OneFleet:
    """A fleet that is open, or why it is not."""

    def __init__(
        self,
        known: KnownFleet,
        paths: StatePaths,
        make: Callable[[], Parts],
        *,
        shutdown: Callable[[], None],
        own_socket: bool,
    ) -> None:
        self.known, self._paths = known, paths
        self._make, self._shutdown, self._own_socket = make, shutdown, own_socket
        self._trouble: TrinityError | None = None
        self._surface: FleetSurface | None = None
        self._app: Starlette | None = None
        self._server: Server | None = None
        self._lock: DaemonLock | None = None
        self._trying: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self.known.name

    @property
    def is_open(self) -> bool:
        return self._app is not None

    @property
    def app(self) -> Starlette:
        """Its routes. Raises Unreachable while it is not open."""
        if self._app is None:
            raise self._not_open()
        return self._app

    @property
    def surface(self) -> FleetSurface:
        """Raises Unreachable where it was never prepared."""
        if self._surface is None:
            raise self._not_open()
        return self._surface

    def _not_open(self) -> TrinityError:
        if self._trouble is not None:
            return Unreachable(f"{self.name} is not open: {self._trouble.message}", self._trouble.next_step)
        return Unreachable(f"{self.name} is being opened.", "Try again in a moment.")

    def info(self) -> FleetInfo:
        """What a list of fleets says of it."""
        if self._app is None:
            health = "starting" if self._trouble is None else "down"
            reason = "it is being opened" if self._trouble is None else str(self._trouble)
            return FleetInfo(
                name=self.name,
                driver=_driver(self.known),
                address=self.known.address,
                health=health,
                health_reason=reason,
            )
        snapshot = self.surface.snapshot()
        return FleetInfo(
            name=self.name,
            driver=self.surface.parts.config.file.driver,
            address=self.known.address,
            health=snapshot.health,
            health_reason=snapshot.health_reason,
            replicas=len(snapshot.replicas),
        )

    # -- life

    def prepare(self) -> FleetSurface:
        """Its parts, wired and not yet open. Raises FileError and UsageError."""
        self._surface = FleetSurface(self._make(), self._shutdown, read_only=self.known.read_only)
        return self._surface

    async def open(self) -> None:
        """Raises what keeps it from being opened; nothing is left running then."""
        try:
            surface = self._surface or self.prepare()
        except BaseException as error:
            self._trouble = _named(error)
            raise
        opened = False
        try:
            if self._own_socket:
                await asyncio.to_thread(self._paths.create)
                self._lock = DaemonLock(self._paths.daemon_lock)
            await surface.parts.open()
            opened = True
            app = control_app(surface)
            if self._own_socket:
                self._server = await serve_on(app, listen_on(self._paths.control_socket), purpose="control")
        except BaseException as error:
            self._surface = None
            await (_ended(surface.parts) if opened else _abandon(surface.parts))
            self._release()
            self._trouble = _named(error)
            raise
        self._app, self._trouble = app, None

    def keep_trying(self, told: Callable[[str, TrinityError], None]) -> None:
        """Open it behind everything else, again and again until it is open; `told` (name, why) at each new cause."""
        self._trying = asyncio.create_task(self._try(told), name=f"opening {self.name}")

    async def _try(self, told: Callable[[str, TrinityError], None]) -> None:
        delay, last = FIRST_RETRY_S, ""
        while True:
            try:
                await self.open()
                return
            except Exception as error:
                cause = _named(error)
                _log.warning("fleet not opened", fleet=self.name, cause=str(cause))
                if str(cause) != last:
                    last = str(cause)
                    told(self.name, cause)
            await asyncio.sleep(delay)
            delay = min(LAST_RETRY_S, delay * 2)

    async def end(self, *, take_down: bool) -> None:
        """Detach, or take it down with what it runs. Idempotent; best effort, nothing is raised."""
        if self._trying is not None:
            self._trying.cancel()
            await asyncio.gather(self._trying, return_exceptions=True)
            self._trying = None
        surface, self._surface, self._app = self._surface, None, None
        if surface is None:
            return
        surface.ended.set()
        try:
            await (surface.parts.take_down() if take_down else surface.parts.close())
        except Exception:
            _log.exception("fleet did not end in good order", fleet=self.name)
        if self._server is not None:
            await self._server.close()
            self._server = None
            with contextlib.suppress(FileNotFoundError):
                self._paths.control_socket.unlink()
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def _driver(known: KnownFleet) -> str:
    scheme = known.address.partition(":")[0]
    return "kubernetes" if scheme == "k8s" else scheme


def _named(error: BaseException) -> TrinityError:
    if isinstance(error, TrinityError):
        return error
    if isinstance(error, OSError):
        return TrinityError(f"{error.strerror or error}.", "See the daemon's log.")
    return InternalError(f"{type(error).__name__}: {error}.", "See the daemon's log.")


async def _ended(parts: Parts) -> None:
    """What was opened, where its socket then could not be, or nobody waits for it any more."""
    with contextlib.suppress(Exception):
        await parts.close()


async def _abandon(parts: Parts) -> None:
    """What a failed opening may have left open: forwards, and the ledger, which is opened before all else."""
    for name in ("connections", "ledger"):
        part = getattr(parts, name, None)
        if part is not None:
            with contextlib.suppress(Exception):
                await part.close()
