"""Programs that people run in replicas: each session has a unix socket of its own that carries it (see
contract/exec_frames.py), and a row in the journal.

Owns the sessions. Which driver runs the program, and where, is not its business.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shlex
import socket
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from backend.actions.executor import ActionState, Effect, Executor, Progress, Verbal
from backend.config.paths import StatePaths
from backend.contract.clock import Clock
from backend.contract.control import ActionRequest, ErrorInfo, ExecOrder, ExecTicket
from backend.contract.errors import Refused, TrinityError, UsageError
from backend.contract.exec_frames import CODE, SIZE, ExecFrame, encode_frame, read_frame
from backend.contract.fleet import Fleet
from backend.contract.needs import refusal_of
from backend.contract.platform import ExecStream, Executable
from backend.contract.rows import ActionRow
from backend.contract.words import Verb
from backend.daemon.control_socket import listen_on

_COMES_S: Final = 20.0
"""How long a session waits for whoever ordered it."""
_REST_S: Final = 1.0
"""How long output is still read once the program has ended: what it left running may hold its terminal."""
_PIECE: Final = 65536
Perform = Callable[[ActionRequest], Awaitable[ActionRow]]


class _Session:
    """One program that is to run: its order, and the moment from which its socket can be connected to."""

    def __init__(self, order: ExecOrder) -> None:
        self.order = order
        self.ready = asyncio.Event()


class ExecDesk:
    """`perform` is the gateway's: every session goes through it."""

    def __init__(self, fleet: Fleet, paths: StatePaths, clock: Clock, perform: Perform) -> None:
        self._fleet, self._paths, self._clock, self._perform = fleet, paths, clock, perform
        self._sessions: dict[str, _Session] = {}
        self._tasks: set[asyncio.Task[ActionRow]] = set()

    def tidy(self) -> None:
        """Take away the sockets that a daemon which was killed left behind."""
        for path in self._paths.run_dir.glob(self._paths.exec_socket("*").name):
            path.unlink(missing_ok=True)

    async def open(self, order: ExecOrder) -> ExecTicket:
        """Start the program; returns once it runs and its socket waits for one connection. Raises UsageError for an
        unknown replica or program, Refused where it may not be done, TrinityError where it failed."""
        identifier = secrets.token_hex(4)
        session = self._sessions[identifier] = _Session(order)
        request = ActionRequest(
            verb=Verb.EXEC,
            target=order.replica,
            args={"argv": shlex.join(order.argv), "tty": order.tty, "session": identifier},
            actor=order.actor,
        )
        task = asyncio.ensure_future(self._perform(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: self._sessions.pop(identifier, None))
        ready = asyncio.create_task(session.ready.wait())
        try:
            await asyncio.wait([task, ready], return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if not session.ready.is_set():
            row = await task
            raise TrinityError(row.result or "The program could not be started. See `trinity actions`.")
        return ExecTicket(session=identifier, socket=str(self._paths.exec_socket(identifier)))

    # -- the verb

    def executors(self) -> list[Executor]:
        """`exec` for the gateway."""
        why = "what the program did stays done"
        return [Verbal(Verb.EXEC, self._preview, self._run, target_kind="replica", why_irreversible=why)]

    def _preview(self, state: ActionState, request: ActionRequest) -> Effect:
        argv = request.args.get("argv")
        if not isinstance(argv, str) or not argv.strip():
            raise UsageError("No program was named.", "For example: trinity exec REPLICA -it -- sh.")
        refusal = refusal_of(self._fleet, Verb.EXEC)
        if not refusal and request.args.get("session") not in self._sessions:
            refusal = "A program wants somebody at its input and output: trinity exec."
        return Effect(summary=f"{request.target}: run {argv}", refusal=refusal)

    async def _run(self, request: ActionRequest, progress: Progress) -> str:
        identifier = str(request.args.get("session"))
        session, began = self._sessions[identifier], self._clock.mono()
        order, fleet = session.order, self._fleet
        if not isinstance(fleet, Executable):
            raise Refused(refusal_of(fleet, Verb.EXEC))
        path = self._paths.exec_socket(identifier)
        listener = listen_on(path)
        try:
            stream = await fleet.exec(
                order.replica,
                order.argv,
                tty=order.tty,
                columns=order.columns,
                rows=order.rows,
                container=order.container,
            )
            try:
                how = await self._carry(session, stream, listener)
            finally:
                await stream.close()
        finally:
            listener.close()
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
        return f"{how} after {self._clock.mono() - began:.1f} s."

    async def _carry(self, session: _Session, stream: ExecStream, listener: socket.socket) -> str:
        """Wait for the one who ordered it, then carry frames until the program or its user has left."""
        came: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Future()

        def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if came.done():
                writer.close()
            else:
                came.set_result((reader, writer))

        server = await asyncio.start_unix_server(accepted, sock=listener)
        try:
            session.ready.set()
            async with asyncio.timeout(_COMES_S):
                reader, writer = await came
        except TimeoutError:
            raise TrinityError("Nobody came to use the program; it was ended.", "Start it again.") from None
        finally:
            server.close()
        try:
            return await _converse(stream, reader, writer)
        finally:
            writer.close()


async def _converse(stream: ExecStream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    """A clause about how it ended."""
    told = asyncio.create_task(_hear(stream, reader))
    said = asyncio.create_task(_speak(stream, writer))
    ended = asyncio.create_task(stream.exit_code())
    try:
        await asyncio.wait([told, ended], return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            told.result()
            return "Its user left, and it was ended"
        await asyncio.wait([said], timeout=_REST_S)
        try:
            code = ended.result()
            last = encode_frame(ExecFrame.EXIT, CODE.pack(code))
        except TrinityError as error:
            info = ErrorInfo(kind=error.kind, message=error.message, next_step=error.next_step)
            last = encode_frame(ExecFrame.ERROR, msgspec.json.encode(info))
        said.cancel()
        await asyncio.gather(said, return_exceptions=True)
        with contextlib.suppress(ConnectionError):
            writer.write(last)
            await writer.drain()
        # What its user sends meanwhile is read: a close before that would take the last frames back.
        await asyncio.wait([told], timeout=_REST_S)
        return f"It ended with exit code {ended.result()}"
    finally:
        for task in (told, said, ended):
            task.cancel()
        await asyncio.gather(told, said, ended, return_exceptions=True)


async def _hear(stream: ExecStream, reader: asyncio.StreamReader) -> None:
    """What the user sends, to the program, until the user has left."""
    while (frame := await _next(reader)) is not None:
        kind, payload = frame
        if kind == ExecFrame.INPUT:
            with contextlib.suppress(TrinityError):  # it reads no more: its end tells
                await stream.write(payload)
        elif kind == ExecFrame.END:
            with contextlib.suppress(TrinityError):
                await stream.end()
        elif kind == ExecFrame.RESIZE and len(payload) == SIZE.size:
            await stream.resize(*SIZE.unpack(payload))


async def _next(reader: asyncio.StreamReader) -> tuple[ExecFrame, bytes] | None:
    try:
        return await read_frame(reader)
    except ValueError:
        return None


async def _speak(stream: ExecStream, writer: asyncio.StreamWriter) -> None:
    """What the program writes, to the user, at the user's pace."""
    with contextlib.suppress(ConnectionError, TrinityError):
        while data := await stream.read():
            for at in range(0, len(data), _PIECE):
                writer.write(encode_frame(ExecFrame.OUTPUT, data[at : at + _PIECE]))
            await writer.drain()
