"""The proxy's control socket: `HolderRequest` lines in, `HolderAnswer` lines out (see `contract.faults`).

Owns the socket file (0600, replaced when stale, removed at the end). Decides nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from backend.contract.errors import TrinityError
from backend.contract.faults import HolderAnswer, HolderRequest, ProxyTarget
from backend.drills.proxy.registry import Registry

_MAX_LINE_BYTES: Final = 1024 * 1024


class Control:
    """Serves one registry. `retarget` is told of a new target."""

    def __init__(self, path: str, registry: Registry, retarget: Callable[[ProxyTarget], None]) -> None:
        self._path, self._registry, self._retarget = path, registry, retarget
        self._server: asyncio.AbstractServer | None = None

    async def start(self) -> None:
        """Raises OSError."""
        Path(self._path).unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._serve, self._path, limit=_MAX_LINE_BYTES)
        finally:
            os.umask(before)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        Path(self._path).unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ValueError, RuntimeError):  # whoever asked is gone, or asked a megabyte
            while line := await reader.readline():
                writer.write(msgspec.json.encode(self.answer(line)) + b"\n")
                await writer.drain()
        with contextlib.suppress(RuntimeError):
            writer.close()

    def answer(self, line: bytes) -> HolderAnswer:
        """What one line is answered with."""
        try:
            request = msgspec.json.decode(line, type=HolderRequest)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return HolderAnswer(error=f"This is no request to a fault proxy: {error}")
        try:
            return self._do(request)
        except TrinityError as error:
            return HolderAnswer(id=request.id, error=str(error))

    def _do(self, request: HolderRequest) -> HolderAnswer:
        registry = self._registry
        if request.op == "fault":
            if request.order is None:
                return HolderAnswer(id=request.id, error="`fault` needs an order.")
            return HolderAnswer(id=request.id, faults=(registry.apply(request.order),))
        if request.op == "heal":
            return HolderAnswer(id=request.id, faults=registry.heal(request.fault_id))
        if request.op == "target":
            if request.target is None:
                return HolderAnswer(id=request.id, error="`target` needs a target.")
            self._retarget(request.target)
        return HolderAnswer(id=request.id, faults=registry.reports())
