"""The proxy itself: gates, relays, the target it stands for, and its end.

Owns the target's watch: a dead replica shuts the gates, so that it is refused through the proxy as fast as without.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Final

import msgspec

from backend.contract.faults import PROXY_HOST, FaultOrder, ProxyTarget
from backend.drills import processes
from backend.drills.proxy.control import Control
from backend.drills.proxy.ends import End
from backend.drills.proxy.gate import Gate
from backend.drills.proxy.registry import Registry
from backend.drills.proxy.relay import Relay
from backend.drills.proxy.spec import ProxyPorts, ProxySpec

_LOOK_S: Final = 0.02
_CONNECT_S: Final = 1.0
_STEP_S: Final = 0.01


class FaultProxy:
    """See `exchange.Site` for what its relays see. `await start()`, `await run_until(stop)`."""

    def __init__(self, spec: ProxySpec) -> None:
        self.loop = asyncio.get_running_loop()
        self.registry = Registry(self.loop, time.monotonic, self._faults_changed)
        self.health_paths = frozenset(path.encode() for path in spec.health_paths)
        self._spec, self._target = spec, spec.target
        self._relays: set[Relay] = set()
        self._main = Gate(PROXY_HOST, lambda: self._take(health=False))
        self._health = Gate(PROXY_HOST, lambda: self._take(health=True)) if spec.target.health_port else None
        self._control = Control(spec.control_path, self.registry, self._retarget)
        self._pidfd: int | None = None
        self._look = asyncio.Event()
        self._draining = False

    # -- life

    async def start(self) -> None:
        """Take connections, then say where. Raises OSError."""
        await self._look_at_target()
        await self._control.start()
        self._watch_process()
        ports = ProxyPorts(
            pid=os.getpid(), port=self._main.port, health_port=self._health.port if self._health else None
        )
        part = Path(f"{self._spec.ports_path}.part")
        part.write_bytes(msgspec.json.encode(ports))
        part.replace(self._spec.ports_path)

    async def run_until(self, stop: asyncio.Event) -> None:
        """Serve; once told to stop, neutral at once and no new connections, until the last request has ended. Who
        stops us (our shim) gives the time for that."""
        watcher = asyncio.create_task(self._watch_target())
        try:
            await stop.wait()
        finally:
            watcher.cancel()
            self._draining = True
            for gate in self._gates():
                gate.close()
            self.registry.heal("")
            await self._drain()
            self._control.close()
            Path(self._spec.ports_path).unlink(missing_ok=True)
            self._forget_process()

    async def _drain(self) -> None:
        while self._relays:
            for relay in list(self._relays):
                if not relay.busy:
                    relay.close()
            await asyncio.sleep(_STEP_S)

    # -- what relays see

    def mono(self) -> float:
        return time.monotonic()

    def address(self, *, health: bool) -> tuple[str, int] | None:
        port = self._target.health_port if health else self._target.port
        return None if port is None else (self._target.host, port)

    def refused(self, *, health: bool) -> None:
        """The replica takes no connection: neither do we, until it does again."""
        gate = self._health if health else self._main
        if gate is not None and not self.registry.needs_no_target:
            gate.shut()
        self._look.set()

    def poison(self, order: FaultOrder) -> bool:
        """SIGKILL to the replica's process, if it still is that process. Whether it was sent."""
        pid, mark = self._target.pid, self._target.mark
        if pid is None or not mark or processes.is_gone(pid, mark):
            self.registry.note(order, f"process {pid} is not the one it was ordered for; nothing was killed")
            return False
        try:
            os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError) as error:
            self.registry.note(order, f"process {pid} could not be killed: {error.strerror}")
            return False
        self.registry.count(order, f"killed process {pid}")
        return True

    def ended(self, relay: Relay) -> None:
        self._relays.discard(relay)

    # -- inside

    def _take(self, *, health: bool) -> End:
        relay = Relay(self, health=health)
        self._relays.add(relay)
        return relay.client

    def _gates(self) -> tuple[Gate, ...]:
        return (self._main,) if self._health is None else (self._main, self._health)

    def _faults_changed(self) -> None:
        for relay in list(self._relays):
            relay.refresh()
        self._look.set()

    def _retarget(self, target: ProxyTarget) -> None:
        if target == self._target:
            return
        self._target = target
        self._forget_process()
        self._watch_process()
        self._look.set()

    def _watch_process(self) -> None:
        """Hear of the replica's death at once (Linux); elsewhere refused connections tell."""
        if self._target.pid is None or not hasattr(os, "pidfd_open"):
            return
        try:
            self._pidfd = os.pidfd_open(self._target.pid)
        except OSError:
            self._died()
            return
        self.loop.add_reader(self._pidfd, self._died)

    def _forget_process(self) -> None:
        if self._pidfd is not None:
            self.loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None

    def _died(self) -> None:
        self._forget_process()
        if not self.registry.needs_no_target:
            for gate in self._gates():
                gate.shut()
        self._look.set()

    async def _watch_target(self) -> None:
        """Open a shut gate once the replica (a new process of it) takes connections again."""
        while True:
            await self._look.wait()
            self._look.clear()
            if not await self._look_at_target():
                self.loop.call_later(_LOOK_S, self._look.set)

    async def _look_at_target(self) -> bool:
        """Open or shut each gate by what its port does. Whether both are as they should be for good."""
        settled = True
        for gate, health in ((self._main, False), (self._health, True)):
            if gate is None or self._draining:
                continue
            if self.registry.needs_no_target or await self._takes_connections(health=health):
                await gate.open()
            else:
                gate.shut()
                settled = False
        return settled

    async def _takes_connections(self, *, health: bool) -> bool:
        address = self.address(health=health)
        if address is None:
            return False
        try:
            async with asyncio.timeout(_CONNECT_S):
                _, writer = await asyncio.open_connection(*address)
        except TimeoutError:
            return True  # it listens and takes its time, as it would without us
        except OSError:
            return False
        with contextlib.suppress(OSError, RuntimeError):
            writer.close()
        return True


async def serve(spec: ProxySpec) -> None:
    """Until SIGTERM or SIGINT. Raises OSError where ports or sockets cannot be had."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    proxy = FaultProxy(spec)
    await proxy.start()
    await proxy.run_until(stop)
