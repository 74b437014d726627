"""Starts real llm replicas for tests and ends them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx

from tests.integration.shim_rig import free_port

ROOT = Path(__file__).resolve().parents[2]


class RunningReplica:
    """A replica process and how to talk to it."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, health_port: int) -> None:
        self.process, self.port, self.health_port = process, port, health_port
        self.url = f"http://127.0.0.1:{port}"
        self.stderr = b""
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stderr is not None
        while piece := await self.process.stderr.read(65_536):
            self.stderr += piece

    async def health(self, check: str) -> tuple[int, dict[str, object]]:
        """Status and body of a health endpoint; status 0 while nobody listens."""
        async with httpx.AsyncClient(timeout=60.0) as http:
            try:
                answer = await http.get(f"http://127.0.0.1:{self.health_port}/health/{check}")
            except (httpx.NetworkError, httpx.RemoteProtocolError):  # or not any more
                return 0, {}
        return answer.status_code, answer.json()

    async def until_health(
        self, check: str, accept: Callable[[int], bool], within_s: float = 110.0
    ) -> dict[str, object]:
        """Ask until the status is acceptable; returns the body."""
        async with asyncio.timeout(within_s):
            while True:
                status, body = await self.health(check)
                if accept(status):
                    return body
                assert self.process.returncode is None, self.stderr.decode()
                await asyncio.sleep(0.02)

    async def ended(self, within_s: float = 110.0) -> int:
        """The exit code, once stderr is read to its end."""
        async with asyncio.timeout(within_s):
            code = await self.process.wait()
            await self._reader
            return code

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)


@contextlib.asynccontextmanager
async def replica(
    *, wait: bool = True, program: str = "backend.serving.llm", **env: str
) -> AsyncIterator[RunningReplica]:
    """One replica; an llm one has four slots of 2,048 tokens and one thread, unless told otherwise."""
    port, health_port = free_port(), free_port()
    settings = {
        "PORT": str(port), "HEALTH_PORT": str(health_port), "SLOTS": "4", "THREADS": "1", "CONTEXT": "2048", **env,
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", program, cwd=ROOT, env={**os.environ, **settings},
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    running = RunningReplica(process, int(settings["PORT"]), health_port)
    try:
        if wait:
            await running.until_health("ready", lambda status: status == 200)
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await running.ended()
