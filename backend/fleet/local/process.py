"""The running program of a local replica, under its shim: signals, and the instant its death is seen.

Owns what of an incarnation is the shim's and the kernel's. Decides nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from typing import Final

from backend.contract.fleet import ExitRecord
from backend.fleet.local import launching
from backend.fleet.supervision.seed import ReplicaSeed
from backend.shim.client import ShimClient
from backend.shim.record import is_same_process, shim_alive

_SHIM_STUCK_S: Final = 5.0
"""How long after a death its shim may take to say so before it is held to be stuck."""


class ShimIncarnation:
    """One start of a program under its shim."""

    def __init__(self, client: ShimClient) -> None:
        self.client = client
        self.pid = client.record.pid
        self.started_ts = client.record.started_ts
        self.released = False
        self._on_death: Callable[[], None] = _nothing
        self._unsubscribe: Callable[[], None] = _nothing
        self._pidfd: int | None = None
        self._stuck: asyncio.TimerHandle | None = None

    @property
    def host(self) -> str | None:
        """A process listens at its workload's host."""
        return None

    @property
    def keeper_pid(self) -> int | None:
        return self.client.record.shim_pid

    def watch(self, on_death: Callable[[], None], on_exit: Callable[[ExitRecord], None]) -> None:
        """The kernel tells of the death, the shim how it was."""
        self._on_death = on_death
        self._unsubscribe = self.client.on_exit(on_exit)
        pid = self.pid
        if pid is None:
            return
        with contextlib.suppress(OSError):  # already dead: the shim says how
            self._pidfd = os.pidfd_open(pid)
            asyncio.get_running_loop().add_reader(self._pidfd, self._died)
            if not is_same_process(pid, self.client.record.pid_start):
                self._died()

    def unwatch(self) -> None:
        """Nothing is called from here on."""
        self._unsubscribe()
        self._forget_pidfd()
        if self._stuck is not None:
            self._stuck.cancel()

    async def signal(self, number: int) -> None:
        """Through the shim, which knows whether the program still runs. Raises TrinityError."""
        await self.client.signal(number)

    async def stop(self, grace_s: float) -> ExitRecord:
        """Program and shim are gone on return."""
        return await self.client.stop(grace_s)

    async def release(self) -> None:
        """Returns once the shim is gone too."""
        self.released = True
        try:
            async with asyncio.timeout(_SHIM_STUCK_S):
                await self.client.closed()
        except TimeoutError:
            self._kill_shim()
            await self.client.closed()
        await self.client.close()

    async def detach(self) -> None:
        """The shim goes on."""
        await self.client.close()

    def note_exit(self, seed: ReplicaSeed) -> None:
        """Into the shim's record. Raises OSError."""
        launching.note_exit(self.client.record, seed)

    def _died(self) -> None:
        self.pid = None
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


def _nothing() -> None:
    pass
