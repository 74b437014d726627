"""Docker engines behind ssh: a unix socket here, each connection to it an `ssh ... docker system dial-stdio`.

Owns that socket and the ssh programs. Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from backend.fleet.docker_engine.errors import EngineTrouble

_PIECE = 65536


class SshBridge:
    """Make one by `open`."""

    def __init__(self, argv: list[str], folder: Path) -> None:
        self._argv, self._folder = argv, folder
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    @property
    def socket_path(self) -> Path:
        return self._folder / "engine.sock"

    @classmethod
    async def open(cls, host: str) -> SshBridge:
        """`host` is ssh://[user@]host[:port]. Raises EngineTrouble without an ssh program."""
        if shutil.which("ssh") is None:
            raise EngineTrouble(
                "misconfigured", f"{host} needs the program ssh, which is not installed.", "Install an ssh client."
            )
        bridge = cls(ssh_argv(host), Path(tempfile.mkdtemp(prefix="trinity-ssh-")))
        bridge._server = await asyncio.start_unix_server(bridge._serve, bridge.socket_path)
        return bridge

    async def close(self) -> None:
        """End the socket and every ssh."""
        if self._server is not None:
            self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            await self._carry(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(task)
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        program = await asyncio.create_subprocess_exec(
            *self._argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert program.stdin is not None
        assert program.stdout is not None
        there = asyncio.create_task(_pump(reader, program.stdin))
        try:
            await _pump(program.stdout, writer)
        finally:
            there.cancel()
            with contextlib.suppress(ProcessLookupError):
                program.terminate()
            await program.wait()


def ssh_argv(host: str) -> list[str]:
    """The command for an ssh:// address. Asks nobody for passwords: there is nobody to answer."""
    parts = urlsplit(host)
    argv = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5"]
    if parts.username:
        argv += ["-l", parts.username]
    if parts.port:
        argv += ["-p", str(parts.port)]
    return [*argv, "--", parts.hostname or "", "docker", "system", "dial-stdio"]


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(_PIECE):
        target.write(data)
        await target.drain()
    with contextlib.suppress(OSError, RuntimeError):
        if target.can_write_eof():
            target.write_eof()
