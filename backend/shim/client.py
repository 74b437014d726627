"""The daemon's side of a shim: launch one, adopt one, ask it, hear of exits.

Owns one connection to one shim. Never decides whether a program should run again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from backend.contract.clock import Clock, SystemClock
from backend.contract.errors import InternalError, PortTaken, TrinityError, Unreachable
from backend.contract.faults import FaultOrder, FaultReport
from backend.contract.fleet import ExitRecord
from backend.contract.shim import ShimSpec
from backend.shim.leftovers import end_leftovers, remove_files
from backend.shim.ports import owner_of_port
from backend.shim.protocol import MAX_LINE_BYTES, Message, Operation, Request, StartReport, encode_line
from backend.shim.record import (
    ShimRecord,
    is_same_process,
    read_exit,
    read_record,
    shim_alive,
    write_atomic,
)

ExitListener = Callable[[ExitRecord], None]
StartListener = Callable[[ShimRecord], None]

_LAUNCH_S: Final = 30.0
_ADOPT_S: Final = 10.0
"""A shim that does not answer that long is ended with its program: one on a busy machine must not be."""
_ANSWER_S: Final = 15.0
_END_S: Final = 5.0
"""How long a shim may take to end after its last word."""
_ENDING_S: Final = 0.5
"""How long a shim that does not answer may still take to be gone."""


class ShimClient:
    """One shim. `record` is what it last said of itself; listeners run on the loop."""

    def __init__(self, record: ShimRecord, clock: Clock) -> None:
        self.record = record
        self._clock = clock
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None
        self._next_id = 0
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._exit_listeners: list[ExitListener] = []
        self._start_listeners: list[StartListener] = []
        self._last_exit: ExitRecord | None = None
        self._unheard: ExitRecord | None = None
        self._gone = asyncio.Event()
        self._detached = False

    @classmethod
    async def launch(cls, spec: ShimSpec, *, timeout_s: float = _LAUNCH_S, clock: Clock | None = None) -> ShimClient:
        """Start a shim; returns once its program was executed.

        Raises PortTaken (naming the owner) where a listening socket cannot be bound, TrinityError where the program
        cannot be executed, where a shim of that record still runs, or where none could be started in `timeout_s`.
        """
        before = read_record(spec.record_path)
        if before is not None and shim_alive(before):
            raise TrinityError(f"{spec.name} already runs (shim {before.shim_pid}).", "Stop it first.")
        if before is not None:
            await asyncio.to_thread(end_leftovers, before)
        report = await _start_shim(spec, timeout_s)
        if report.kind == "port-taken":
            owner = await asyncio.to_thread(owner_of_port, report.port)
            raise PortTaken(report.host, report.port, owner, report.purpose)
        if report.record is None:
            raise TrinityError(f"{spec.name} cannot be started. {report.message}", "Check its command and paths.")
        client = cls(report.record, clock or SystemClock())
        try:
            await client._connect(timeout_s)
        except Unreachable:  # to the caller nothing was started
            with contextlib.suppress(ProcessLookupError):
                os.kill(report.record.shim_pid, signal.SIGKILL)
            raise
        return client

    @classmethod
    async def adopt(
        cls, record_path: Path, *, timeout_s: float | None = None, clock: Clock | None = None
    ) -> ShimClient | None:
        """Connect to a shim that already runs. Null, with its files removed, when it is gone.

        Raises Unreachable where the shim runs but does not answer in `timeout_s`.
        """
        timeout_s = _ADOPT_S if timeout_s is None else timeout_s
        record = read_record(record_path)
        if record is None:
            return None
        if shim_alive(record):
            client = cls(record, clock or SystemClock())
            try:
                await client._connect(timeout_s)
                await client._ask("status", timeout_s=timeout_s)
                return client
            except Unreachable:  # it may have been about to end
                if not await wait_gone(record.shim_pid, record.shim_start, _ENDING_S):
                    raise
        await asyncio.to_thread(end_leftovers, record)
        remove_files(record)
        return None

    async def status(self) -> ShimRecord:
        """The shim's present record. Raises Unreachable when it is gone."""
        await self._ask("status")
        return self.record

    async def signal(self, signum: int) -> None:
        """Signal the program itself. Raises TrinityError when it is not running."""
        await self._ask("signal", signum=signum)

    async def stop(self, grace_s: float) -> ExitRecord:
        """Stop signal, SIGKILL after `grace_s`; shim and program are gone on return."""
        exit_record: ExitRecord | None = None
        with contextlib.suppress(Unreachable):  # it ended meanwhile or it hangs: what is left is ended below
            exit_record = (await self._ask("stop", grace_s=grace_s, timeout_s=grace_s + _END_S)).exit
        if not await wait_gone(self.record.shim_pid, self.record.shim_start, _END_S if exit_record else 0.0):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.record.shim_pid, signal.SIGKILL)
            await wait_gone(self.record.shim_pid, self.record.shim_start, _END_S)
        await asyncio.to_thread(end_leftovers, self.record)
        remove_files(self.record, keep_exit=True)
        await self.closed()
        return exit_record or self._last_exit or self._unknown_exit()

    async def reload(self) -> ShimRecord:
        """Start a new program beside the present one, with `reload_argv`; the old one ends in its own time."""
        await self._ask("reload")
        return self.record

    async def hold(self, on: bool) -> None:
        """While held, a respawning shim leaves its program dead and keeps the listening sockets."""
        await self._ask("hold", on=on)

    async def fault(self, order: FaultOrder) -> FaultReport:
        """Apply a fault; returns what the shim then saw. Raises TrinityError where it cannot be applied."""
        message = await self._ask("fault", order=order)
        return message.faults[0]

    async def heal(self, fault_id: str = "") -> tuple[FaultReport, ...]:
        """Take a fault away (empty: all); returns what the shim then saw, nothing for an unknown one."""
        return (await self._ask("heal", fault_id=fault_id)).faults

    async def faults(self) -> tuple[FaultReport, ...]:
        """The faults it holds, and the last ones it held."""
        return (await self._ask("faults")).faults

    async def reap(self) -> None:
        """End a shim whose program is dead and held; its record is removed."""
        await self._ask("reap")
        await self.closed()

    def on_exit(self, listener: ExitListener) -> Callable[[], None]:
        """Call `listener` for each exit of the program, also when the shim itself is lost.

        An exit that nobody was there to hear is told to the first listener.
        """
        self._exit_listeners.append(listener)
        if self._unheard is not None:
            asyncio.get_running_loop().call_soon(listener, self._unheard)
            self._unheard = None
        return lambda: self._exit_listeners.remove(listener) if listener in self._exit_listeners else None

    def on_start(self, listener: StartListener) -> Callable[[], None]:
        """Call `listener` for each start after the first (respawn, reload)."""
        self._start_listeners.append(listener)
        return lambda: self._start_listeners.remove(listener) if listener in self._start_listeners else None

    @property
    def gone(self) -> bool:
        """Whether the shim itself has ended."""
        return self._gone.is_set()

    async def closed(self) -> None:
        """Returns when the shim itself has ended (or at once after `close`)."""
        await self._gone.wait()

    async def close(self) -> None:
        """Detach; the shim and its program go on."""
        self._detached = True
        if self._writer is not None:
            self._writer.close()
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _connect(self, timeout_s: float) -> None:
        path = self.record.spec.socket_path
        try:
            async with asyncio.timeout(timeout_s):
                reader, self._writer = await asyncio.open_unix_connection(path, limit=MAX_LINE_BYTES)
        except (OSError, TimeoutError) as error:
            recorded = read_exit(self.record.spec.exit_path)
            if recorded is not None and recorded.pid == self.record.pid:
                # It started and ended before we could connect: tell it like any other exit.
                self._last_exit = recorded
                self._task = asyncio.create_task(self._report_early_exit(recorded))
                return
            raise Unreachable(f"The shim of {self.record.spec.name} does not answer on {path}.") from error
        self._task = asyncio.create_task(self._listen(reader), name=f"shim-{self.record.spec.name}")

    async def _ask(
        self,
        operation: Operation,
        *,
        signum: int = 0,
        grace_s: float = 0.0,
        on: bool = True,
        order: FaultOrder | None = None,
        fault_id: str = "",
        timeout_s: float = _ANSWER_S,
    ) -> Message:
        name = self.record.spec.name
        if self._writer is None or self._gone.is_set() or self._detached:
            raise Unreachable(f"The shim of {name} is gone.")
        self._next_id += 1
        request = Request(
            id=self._next_id, op=operation, signum=signum, grace_s=grace_s, on=on, order=order, fault_id=fault_id
        )
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[request.id] = answer
        try:
            self._writer.write(encode_line(request))
            async with asyncio.timeout(timeout_s):
                message = await answer
        except (OSError, TimeoutError) as error:
            raise Unreachable(f"The shim of {name} did not answer `{operation}`.") from error
        finally:
            self._waiting.pop(request.id, None)
        if message.error:
            raise TrinityError(f"{name}: {message.error}")
        return message

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                self._take(msgspec.json.decode(line, type=Message))
        except (OSError, ValueError) as error:
            self._fail_waiting(str(error))
        if self._writer is not None:
            self._writer.close()
        if not self._detached:
            await self._shim_ended()
        self._fail_waiting("it ended")
        self._gone.set()

    def _take(self, message: Message) -> None:
        if message.record is not None:
            self.record = message.record
        if message.event == "exited" and message.exit is not None:
            self._last_exit = message.exit
            self._tell_exit(message.exit)
        elif message.event == "started" and message.record is not None:
            for listener in list(self._start_listeners):
                listener(message.record)
        elif message.id is not None and message.id in self._waiting and not self._waiting[message.id].done():
            self._waiting[message.id].set_result(message)

    async def _shim_ended(self) -> None:
        """The connection is closed. If nobody told us how the program ended, find out, and say it."""
        await wait_gone(self.record.shim_pid, self.record.shim_start, _END_S)
        if self.record.pid is None or (self._last_exit is not None and self._last_exit.pid == self.record.pid):
            return
        await asyncio.to_thread(end_leftovers, self.record)
        recorded = read_exit(self.record.spec.exit_path)
        found = recorded if recorded is not None and recorded.pid == self.record.pid else self._unknown_exit()
        self._last_exit = found
        self._tell_exit(found)

    async def _report_early_exit(self, record: ExitRecord) -> None:
        await wait_gone(self.record.shim_pid, self.record.shim_start, _END_S)
        self._tell_exit(record)
        self._gone.set()

    def _unknown_exit(self) -> ExitRecord:
        return ExitRecord(
            ts=self._clock.now(),
            mono_s=self._clock.mono(),
            reason="Unknown",
            pid=self.record.pid,
            last_lines=("Its shim was killed, which ends the program too.",),
        )

    def _tell_exit(self, record: ExitRecord) -> None:
        if not self._exit_listeners:
            self._unheard = record
        for listener in list(self._exit_listeners):
            listener(record)

    def _fail_waiting(self, why: str) -> None:
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(Unreachable(f"The shim of {self.record.spec.name} is gone ({why})."))


async def _start_shim(spec: ShimSpec, timeout_s: float) -> StartReport:
    """Run the shim program and read the one line it says. Raises TrinityError."""
    if spec.cwd is None:
        spec = msgspec.structs.replace(spec, cwd=str(Path.cwd()))
    spec_path = Path(f"{spec.record_path}.spec")
    write_atomic(spec_path, msgspec.json.encode(spec))
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # never import a `backend` folder of the working directory
            "-m",
            "backend.shim",
            str(spec_path),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd="/",
        )
        try:
            async with asyncio.timeout(timeout_s):
                said, complaint = await process.communicate()
        except TimeoutError as error:
            # Closed first: a shim that is not there yet finds nobody to report to, and ends by itself. One that has
            # reported has left its record before.
            process._transport.close()  # type: ignore[attr-defined]  # asyncio offers no other way to close its pipes
            await process.wait()
            late = read_record(spec.record_path)
            if late is not None and shim_alive(late):
                os.kill(late.shim_pid, signal.SIGKILL)
            raise TrinityError(f"The shim of {spec.name} did not start within {timeout_s:g} s.") from error
    finally:
        spec_path.unlink(missing_ok=True)
    try:
        return msgspec.json.decode(said, type=StartReport)
    except msgspec.DecodeError as error:
        lines = complaint.decode("utf-8", "replace").strip().splitlines()
        raise InternalError(f"The shim of {spec.name} failed: {lines[-1] if lines else 'it said nothing'}.") from error


async def wait_gone(pid: int, start: int, timeout_s: float) -> bool:
    """Wait until the process that started at `start` ticks is gone. False after `timeout_s`."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return not is_same_process(pid, start)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    try:
        if not is_same_process(pid, start):
            return True
        loop.add_reader(descriptor, ended.set)
        try:
            async with asyncio.timeout(timeout_s):
                await ended.wait()
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(descriptor)
        return True
    finally:
        os.close(descriptor)
