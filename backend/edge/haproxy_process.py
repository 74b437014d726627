"""The one HAProxy process under its shim: adopted or launched, replaced by a reload, missed when it dies.

Owns the shim client, the line to replaced processes and what is said of deaths. Knows nothing of slots: whoever
does writes the files first, then asks for a start or a reload.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from backend.config.paths import StatePaths
from backend.contract.clock import Clock
from backend.contract.errors import PortTaken, TrinityError, Unreachable
from backend.contract.fleet import ExitRecord
from backend.edge.events import EdgeEvents
from backend.edge.oldprocess import OldProcesses
from backend.edge.process import NAME, EdgeMemory, EdgeStore, choose_port, last_words, listening_url, living_processes
from backend.edge.runtime import RuntimeApi
from backend.edge.settings import EdgeSettings, HaproxyBinary, find_haproxy
from backend.shim.client import ShimClient
from backend.shim.record import ShimRecord

_UP_S: Final = 20.0
"""How long a HAProxy, and the shim that starts it, may take to answer: seconds, where the machine is busy."""
_STEP_S: Final = 0.01


class HaproxyProcess:
    """The running HAProxy. `died()` and `started()` of `owner` are called on the loop, unless we end it ourselves."""

    def __init__(
        self,
        paths: StatePaths,
        settings: EdgeSettings,
        store: EdgeStore,
        events: EdgeEvents,
        clock: Clock,
        *,
        died: Callable[[], int],
        started: Callable[[], None],
    ) -> None:
        """`died` returns how many requests were in flight; `started` also follows a reload."""
        self._paths, self._settings, self._store = paths, settings, store
        self._events, self._clock = events, clock
        self._died_listener, self._started_listener = died, started
        self._shim: ShimClient | None = None
        self._died: tuple[float, int] | None = None
        self.api = RuntimeApi(store.admin_socket)
        self.old = OldProcesses()
        self.binary: HaproxyBinary | None = None
        self.stopping = False
        self.reloading = False

    # -- seeing

    @property
    def record(self) -> ShimRecord:
        """What the shim last said. Raises Unreachable before the start."""
        return self._need_shim().record

    @property
    def is_lost(self) -> bool:
        """Whether the shim itself is gone without our doing."""
        return self._need_shim().gone and not self.stopping

    def url(self, index: int) -> str:
        """Base URL of a listening socket (0 public, 1 statistics); empty before the start."""
        return listening_url(self._shim.record.spec, index) if self._shim else ""

    async def living(self) -> set[int]:
        """Every HAProxy under the shim, replaced ones included."""
        return await asyncio.to_thread(living_processes, self.record)

    async def replaced(self) -> set[int]:
        """Those that a reload replaced and that still live."""
        return await self.living() - {self.record.pid or 0}

    # -- life

    async def find_binary(self) -> None:
        """Raises UsageError where there is none."""
        self.binary = await asyncio.to_thread(find_haproxy, self._settings.haproxy)

    def need_binary(self) -> HaproxyBinary:
        if self.binary is None:
            raise Unreachable("The edge is not started.", "Start the fleet (`trinity up`).")
        return self.binary

    async def adoptable(self) -> ShimClient | None:
        """The shim of an earlier daemon; one that listens elsewhere than we want is stopped."""
        shim = await ShimClient.adopt(self._paths.shim_record(NAME), timeout_s=_UP_S / 2)
        if shim is not None and not self._store.fits(shim.record.spec):
            await shim.stop(0.0)
            return None
        return shim

    async def launch(self) -> ShimClient:
        """A new shim on the settings' ports, with the files as they are. Raises PortTaken."""
        settings = self._settings
        port, stats_port = settings.port, settings.stats_port
        while True:
            port = await asyncio.to_thread(choose_port, settings.host, port, auto=settings.auto_port)
            stats_port = await asyncio.to_thread(
                choose_port, settings.host, stats_port, auto=settings.auto_port, avoid=port
            )
            spec = self._store.shim_spec(self.need_binary(), port, stats_port)
            try:
                return await ShimClient.launch(spec, timeout_s=_UP_S, clock=self._clock)
            except PortTaken as taken:
                # It was free when we looked: somebody else was quicker than the shim.
                if not settings.auto_port:
                    raise
                port += taken.port == port
                stats_port += taken.port == stats_port

    async def use(self, shim: ShimClient) -> None:
        """Work with this shim from now on. Raises TrinityError, the shim stopped, if its HAProxy does not answer."""
        self._shim = shim
        shim.on_exit(self._exited)
        shim.on_start(self._started)
        try:
            await self._wait_answers()
        except TrinityError:
            stopping, self.stopping = self.stopping, True  # an end of our making is no event
            await shim.stop(0.0)
            self.stopping = stopping
            raise

    async def replace_lost_shim(self) -> None:
        """The shim itself was killed, and HAProxy and the listening sockets with it: another on the same ports.
        Raises TrinityError."""
        ports = [listen.port for listen in self.record.spec.listen]
        spec = self._store.shim_spec(self.need_binary(), *ports)
        await self.use(await ShimClient.launch(spec, timeout_s=_UP_S, clock=self._clock))
        self._started(self.record)

    async def reload(self) -> None:
        """Start a process with the present files beside the old one, which finishes what it has."""
        shim = self._need_shim()
        before = shim.record.pid
        self.reloading = True
        try:
            if before is not None:
                await self.old.hold(before, self._store.admin_socket)
            await shim.reload()
            await self._wait_answers(not_pid=before)
        except TrinityError:
            self.old.close()
            raise
        finally:
            self.reloading = False
        self._events.reloaded(shim.record.pid, before)

    async def stop(self, grace_s: float) -> None:
        """End it and its shim."""
        self.stopping = True
        if self._shim is not None:
            await self._shim.stop(grace_s)

    async def close(self) -> None:
        """Let go; it goes on."""
        self.old.close()
        if self._shim is not None:
            await self._shim.close()

    def tell_missed(self, memory: EdgeMemory) -> None:
        """An event where it was started again while no daemon ran."""
        if memory.pid not in (None, self.record.pid):
            self._events.respawned_unseen(self.record.pid, self.record.starts - memory.starts)

    # -- inside

    async def _wait_answers(self, not_pid: int | None = None) -> None:
        """Until a HAProxy (other than `not_pid`) answers. Raises TrinityError after five seconds."""
        deadline = self._clock.mono() + _UP_S
        while True:
            try:
                info = await self.api.info()
                if info.get("Pid") and int(info["Pid"]) != not_pid:
                    return
            except Unreachable as error:
                if self._clock.mono() > deadline:
                    raise last_words(error, self._paths.replica_log_dir(NAME)) from error
            if self._clock.mono() > deadline:
                raise last_words(
                    TrinityError("HAProxy did not take over after a reload.", "See `trinity logs edge`."),
                    self._paths.replica_log_dir(NAME),
                )
            await asyncio.sleep(_STEP_S)

    def _exited(self, record: ExitRecord) -> None:
        if self.stopping:
            return
        self._died = (self._clock.mono(), self._died_listener())
        self._events.died(record)

    def _started(self, record: ShimRecord) -> None:
        self._started_listener()
        if self.reloading or self.stopping:
            return
        died_at, lost = self._died or (self._clock.mono(), 0)
        gap_s = max(0.0, self._clock.mono() - died_at)
        self._died = None
        self._events.respawned(record.pid, gap_s, lost)

    def _need_shim(self) -> ShimClient:
        if self._shim is None:
            raise Unreachable("The edge is not started.", "Start the fleet (`trinity up`).")
        return self._shim
