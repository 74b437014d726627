"""The running process of a replica: its shim's client, its probes, and the instant its death is seen.

Owns what exists once per start. Reports to its replica by callbacks and decides nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from typing import Final

import msgspec

from backend.contract.clock import Clock
from backend.contract.fleet import ExitRecord
from backend.fleet.local.launching import ReplicaSeed, program_env
from backend.probes.ask import ProbeTarget
from backend.probes.lifecycle import Verdict
from backend.probes.runner import ProbeRunner
from backend.shim.client import ShimClient
from backend.shim.record import is_same_process, shim_alive

_SHIM_STUCK_S: Final = 2.0
"""How long after a death its shim may take to say so before it is held to be stuck."""


class Splice(msgspec.Struct, frozen=True, kw_only=True):
    """The ports of the fault proxy in front of a replica; without a health port, health is asked straight."""

    port: int
    health_port: int | None = None


class ReplicaProcess:
    """One start of a replica's program, under its shim."""

    def __init__(
        self,
        client: ShimClient,
        seed: ReplicaSeed,
        clock: Clock,
        *,
        splice: Splice | None = None,
        on_death: Callable[[], None],
        on_exit: Callable[[ExitRecord], None],
        on_verdict: Callable[[Verdict], None],
    ) -> None:
        self.client = client
        self.pid = client.record.pid
        self.started_ts = client.record.started_ts
        self.ready_since_s: float | None = None
        self._seed, self._clock, self._on_verdict = seed, clock, on_verdict
        self._splice = splice
        self.probes = self._new_probes()
        self._on_death = on_death
        self._unsubscribe = client.on_exit(on_exit)
        self._pidfd: int | None = None
        self._stuck: asyncio.TimerHandle | None = None

    def watch(self) -> None:
        """Begin probing and watching for death."""
        self.probes.start()
        pid = self.pid
        if pid is None:
            return
        with contextlib.suppress(OSError):  # already dead: the shim says how
            self._pidfd = os.pidfd_open(pid)
            asyncio.get_running_loop().add_reader(self._pidfd, self._died)
            if not is_same_process(pid, self.client.record.pid_start):
                self._died()

    def probe_anew(self) -> None:
        """Forget what the probes said and begin again."""
        self.probes.stop()
        self.probes = self._new_probes()
        self.probes.start()

    def lead(self, splice: Splice | None) -> None:
        """Probe through a fault proxy from now on, or straight again; what the probes said stays."""
        self._splice = splice
        self.probes.retarget(self._target())

    def unwatch(self) -> None:
        """Stop probing and watching; nothing is called from here on."""
        self.probes.stop()
        self._unsubscribe()
        self._forget_pidfd()
        if self._stuck is not None:
            self._stuck.cancel()

    async def release(self) -> None:
        """Let go of a process that has ended, once its shim is gone too."""
        self.unwatch()
        try:
            await asyncio.wait_for(self.client.closed(), _SHIM_STUCK_S)
        except TimeoutError:
            self._kill_shim()
            await self.client.closed()
        await self.client.close()

    async def detach(self) -> None:
        """Let go of a process that goes on."""
        self.unwatch()
        await self.client.close()

    def _new_probes(self) -> ProbeRunner:
        return ProbeRunner(self._seed.workload.probes, self._target(), self._on_verdict, self._clock)

    def _target(self) -> ProbeTarget:
        seed, splice = self._seed, self._splice
        port, health_port = seed.port, seed.health_port
        if splice is not None:
            shared = health_port == port
            port = splice.port
            health_port = splice.health_port or (port if shared else health_port)
        return ProbeTarget(host=seed.workload.host, port=port, health_port=health_port, env=program_env(seed))

    def _died(self) -> None:
        self.pid = None
        self.probes.stop()
        self._forget_pidfd()
        self._stuck = asyncio.get_running_loop().call_later(_SHIM_STUCK_S, self._kill_shim)
        self._on_death()

    def _kill_shim(self) -> None:
        if shim_alive(self.client.record):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.client.record.shim_pid, signal.SIGKILL)

    def _forget_pidfd(self) -> None:
        if self._pidfd is not None:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None
