"""The daemon's end of the warden: starts it in a session of its own, sends heartbeats, notices when it ends.

Effects only: one process and one task per run.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from backend.contract.errors import Refused
from backend.drills.warden import DONE, READY, RETRY_FOR_S

START_TIMEOUT_S = 15.0
END_TIMEOUT_S = RETRY_FOR_S + 5.0


_GONE = (OSError, RuntimeError)
"""What writing to a process that has ended raises: the second is uvloop's, for a transport it has closed."""


class WardenLink:
    """A running warden with its lease."""

    def __init__(self, process: asyncio.subprocess.Process, heartbeat_s: float, on_loss: Callable[[str], None]) -> None:
        self._process = process
        self._heartbeat_s = heartbeat_s
        self._on_loss = on_loss
        self._closing = False
        self._tasks = [asyncio.create_task(self._beat()), asyncio.create_task(self._watch())]

    @property
    def pid(self) -> int:
        return self._process.pid

    @classmethod
    async def start(
        cls, run_dir: Path, heartbeat_s: float, expires_s: float, on_loss: Callable[[str], None]
    ) -> WardenLink:
        """Start it and wait until it watches. Raises Refused when it does not come up: no warden, no fault."""
        with (run_dir / "warden.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "backend.drills.warden",
                str(run_dir),
                str(expires_s),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                cwd=str(Path(__file__).resolve().parents[2]),
            )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                line = await process.stdout.readline()
        except TimeoutError:
            line = b""
        if line != READY:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise Refused("The warden did not start, so nothing may be injected.", f"See {run_dir / 'warden.log'}.")
        return cls(process, heartbeat_s, on_loss)

    async def close(self, *, clean: bool) -> None:
        """End it and wait: `clean` says that nothing is left to undo; otherwise it first tries what it can."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        assert self._process.stdin is not None
        with contextlib.suppress(*_GONE):
            if clean:
                self._process.stdin.write(DONE + b"\n")
            self._process.stdin.close()
        try:
            async with asyncio.timeout(END_TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def _beat(self) -> None:
        assert self._process.stdin is not None
        while True:
            try:
                self._process.stdin.write(b".\n")
                await self._process.stdin.drain()
            except _GONE:
                return
            await asyncio.sleep(self._heartbeat_s)

    async def _watch(self) -> None:
        code = await self._process.wait()
        if not self._closing:
            self._on_loss(f"the warden ended (exit {code}): its lease ran out, or somebody killed it")
