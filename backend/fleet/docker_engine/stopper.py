"""`python -m backend.fleet.docker_engine.stopper --spec JSON`: holds the fault `stop` at one container.

A program of its own, so that its time limit holds whoever else has died: the daemon, or the engine for a while. Owns
one unix socket (`HolderRequest` lines in, `HolderAnswer` lines out) and the faults at one start of one container. Ends
with that start, or at SIGTERM, and takes away what it holds first.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import Final

import msgspec

from backend.contract import exit_codes
from backend.contract.errors import TrinityError
from backend.contract.faults import FaultOrder, FaultReport, HolderAnswer, HolderRequest
from backend.fleet.docker_engine.client import EngineClient
from backend.shim.record import is_same_process

_SEEN_S: Final = 2.0
"""For the kernel to show that a program is stopped, or goes on."""
_STEP_S: Final = 0.005
_PERIOD_S: Final = 0.1
_KEPT: Final = 16
"""Faults that ended and can still be asked about."""
_MAX_LINE_BYTES: Final = 1024 * 1024


class StopperSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Which start of which container, and where its holder listens."""

    control_path: str
    context: str
    container: str
    pid: int
    pid_start: int
    """Start time of the container's program in kernel ticks since boot."""


class _Held:
    def __init__(self, order: FaultOrder) -> None:
        self.order, self.until_s = order, time.monotonic() + order.ttl_s
        self.ended_by: str = ""


class Stopper:
    """Stops and resumes the program of one start, by the engine's signals."""

    def __init__(self, spec: StopperSpec, client: EngineClient) -> None:
        self._spec, self._client = spec, client
        self._faults: dict[str, _Held] = {}
        self._turn = asyncio.Lock()
        self.over = asyncio.Event()

    async def serve(self) -> None:
        """Until the container's start has ended, or `over` is set. Raises OSError where it cannot listen."""
        path = Path(self._spec.control_path)
        before = os.umask(0o177)
        try:
            server = await asyncio.start_unix_server(self._answer_all, path, limit=_MAX_LINE_BYTES)
        finally:
            os.umask(before)
        try:
            while not self.over.is_set() and self._alive():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_PERIOD_S):
                        await self.over.wait()
                for fault_id, held in list(self._faults.items()):
                    if not held.ended_by and time.monotonic() >= held.until_s:
                        await self._heal(fault_id, "ttl")
        finally:
            await self._heal("", "heal")
            server.close()
            path.unlink(missing_ok=True)

    async def _answer_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ValueError):  # whoever asked is gone, or asked a megabyte
            while line := await reader.readline():
                writer.write(msgspec.json.encode(await self._answer(line)) + b"\n")
                await writer.drain()
        writer.close()

    async def _answer(self, line: bytes) -> HolderAnswer:
        try:
            request = msgspec.json.decode(line, type=HolderRequest)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return HolderAnswer(error=f"This is no request to a holder of faults: {error}")
        try:
            return HolderAnswer(id=request.id, faults=await self._do(request))
        except TrinityError as error:
            return HolderAnswer(id=request.id, error=str(error))

    async def _do(self, request: HolderRequest) -> tuple[FaultReport, ...]:
        if request.op == "fault" and request.order is not None:
            return (await self._apply(request.order),)
        if request.op == "heal":
            return await self._heal(request.fault_id, "heal")
        if request.op == "faults":
            return tuple(self._report(held) for held in self._faults.values())
        raise TrinityError(f"`{request.op}` is nothing that can be asked of this holder.")

    async def _apply(self, order: FaultOrder) -> FaultReport:
        if order.kind != "stop":
            raise TrinityError(f"A container's holder cannot {order.kind}.", "Use another fault, such as process.stop.")
        async with self._turn:
            known = self._faults.get(order.id)
            if known is None or known.ended_by:
                await self._signal(signal.SIGSTOP)
                self._faults[order.id] = known = _Held(order)
                self._forget_old()
            await self._until_stopped(True)
            return self._report(known)

    async def _heal(self, fault_id: str, why: str) -> tuple[FaultReport, ...]:
        """Take one away, or all; the program goes on once none is left."""
        async with self._turn:
            chosen = [held for key, held in self._faults.items() if fault_id in ("", key)]
            fresh = [held for held in chosen if not held.ended_by]
            for held in fresh:
                held.ended_by = why if self._alive() else "gone"
            if fresh and all(held.ended_by for held in self._faults.values()) and self._alive():
                try:
                    await self._signal(signal.SIGCONT)
                except TrinityError:
                    self._resume_here()
                await self._until_stopped(False)
            return tuple(self._report(held) for held in chosen)

    async def _signal(self, number: int) -> None:
        await self._client.call(lambda api: api.kill(self._spec.container, signal=number))

    def _resume_here(self) -> None:
        """The engine is away: the kernel can do it where we may."""
        if self._alive():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self._spec.pid, signal.SIGCONT)

    async def _until_stopped(self, stopped: bool) -> None:
        end = time.monotonic() + _SEEN_S
        while self._alive() and self._stopped() != stopped and time.monotonic() < end:  # noqa: ASYNC110 - of the kernel
            await asyncio.sleep(_STEP_S)

    def _report(self, held: _Held) -> FaultReport:
        alive = self._alive()
        ended = held.ended_by or ("" if alive else "gone")
        return FaultReport(
            id=held.order.id,
            kind=held.order.kind,
            active=not ended and self._stopped(),
            affected=1,
            detail=f"process {self._spec.pid} is {'stopped' if alive and self._stopped() else 'not stopped'}",
            left_s=0.0 if ended else max(0.0, held.until_s - time.monotonic()),
            ended_by="ttl" if ended == "ttl" else "heal" if ended == "heal" else "gone" if ended else "",
        )

    def _forget_old(self) -> None:
        for key in [key for key, held in self._faults.items() if held.ended_by][:-_KEPT]:
            del self._faults[key]

    def _alive(self) -> bool:
        return is_same_process(self._spec.pid, self._spec.pid_start)

    def _stopped(self) -> bool:
        try:
            stat = Path(f"/proc/{self._spec.pid}/stat").read_bytes()
        except OSError:
            return False
        return stat[stat.rindex(b")") + 2 :][:1] in (b"T", b"t")


async def run(spec: StopperSpec) -> None:
    """Serve until it is over."""
    client = EngineClient(spec.context)
    try:
        await client.connect()
        stopper = Stopper(spec, client)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopper.over.set)
        await stopper.serve()
    finally:
        await client.close()


def main(arguments: list[str]) -> int:
    """Exit code: 0 after its end, else as `contract.exit_codes`."""
    if len(arguments) != 2 or arguments[0] != "--spec":
        sys.stderr.write("usage: python -m backend.fleet.docker_engine.stopper --spec JSON\n")
        return exit_codes.USAGE
    try:
        spec = msgspec.json.decode(arguments[1], type=StopperSpec)
        asyncio.run(run(spec))
    except (msgspec.DecodeError, TrinityError, OSError) as error:
        sys.stderr.write(f"The holder of a container's faults cannot run: {error}\n")
        return exit_codes.FAILED
    return exit_codes.OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
