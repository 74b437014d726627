"""`x`: a program in a replica, on the console's own terminal. The screen steps aside and comes back when it has ended.

Owns the terminal meanwhile: its raw mode, its keys, its size. The program runs elsewhere, behind `FleetSource.exec`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import termios
import threading
import tty
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from textual.app import SuspendNotSupported

from backend.contract.control import ExecOrder
from backend.contract.errors import TrinityError
from backend.contract.words import Verb
from console.state.source import ExecSession
from console.tui.link import Shown

if TYPE_CHECKING:
    from console.tui.app import TrinityApp

SHELL: Final = ("sh", "-c", "command -v bash >/dev/null && exec bash || exec sh")
LEAVE: Final = b"\x1d"
"""ctrl-] ends the session whatever the program does."""
SIZE_EVERY_S: Final = 0.25
JOIN_S: Final = 0.2
_PIECE: Final = 65_536
_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP)


class Exec:
    """The part behind `x` and `:exec`."""

    def __init__(self, app: TrinityApp) -> None:
        self.app = app

    def open(self) -> None:
        """A shell in the replica that is chosen."""
        places, names = self.app.view.places(), self.app.chosen_replicas()
        shown = places[0] if places else self.app.shown
        if not self.app.verbs.may(Verb.EXEC, shown):
            return
        if names:
            self.lend(shown, names[0], SHELL)
        else:
            self.app.say("Choose a replica first: the shell runs in it.", "warn")

    def run(self, replica: str, words: str | None = None) -> None:
        """`:exec REPLICA [PROGRAM …]`."""
        try:
            argv = tuple(shlex.split(words or "")) or SHELL
        except ValueError as error:
            self.app.say(f"The program cannot be read: {error}.", "warn")
            return
        if self.app.verbs.may(Verb.EXEC, self.app.shown):
            self.lend(self.app.shown, replica, argv)

    def lend(self, shown: Shown, replica: str, argv: Sequence[str]) -> None:
        """Give the terminal to the program until it ends. The event loop waits: nothing may draw meanwhile."""
        session = _Session(shown, ExecOrder(replica=replica, argv=tuple(argv), tty=True, actor=self.app.actor))
        try:
            with self.app.suspend():
                session.run()
        except SuspendNotSupported:
            self.app.say("This terminal cannot be lent to a program.", "warn")
            return
        self.app.action_redraw()
        self.app.say(*session.words())
        if session.signal is not None:
            os.kill(os.getpid(), session.signal)  # it was for the console, which hears it now


class _Session:
    """One program, carried by a loop of its own in a thread."""

    def __init__(self, shown: Shown, order: ExecOrder) -> None:
        self.shown, self.order = shown, order
        self.code: int | None = None
        self.problem = ""
        self.signal: signal.Signals | None = None
        self._left = threading.Event()

    def words(self) -> tuple[str, str]:
        """How it went."""
        where = self.order.replica
        if self.problem:
            return f"✗ exec {where}: {self.problem}", "error"
        if self.code is None:
            return f"Left the program in {where}.", "muted"
        return f"The program in {where} ended with code {self.code}.", "text" if self.code == 0 else "warn"

    def run(self) -> None:
        """Until the program, the user or a signal ends it."""
        print(f"— {self.order.replica}; ctrl-] leaves —", flush=True)  # noqa: T201 - the screen is away
        thread = threading.Thread(target=lambda: asyncio.run(self._carry()), name="exec", daemon=True)
        with _raw_terminal(), self._signals():
            thread.start()
            while thread.is_alive():
                thread.join(JOIN_S)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Signals that end the console end the session first."""

        def heard(number: int, _: object) -> None:
            self.signal = signal.Signals(number)
            self._left.set()

        before = {number: signal.signal(number, heard) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def _carry(self) -> None:
        columns, rows = _size()
        order = ExecOrder(
            replica=self.order.replica,
            argv=self.order.argv,
            tty=True,
            columns=columns,
            rows=rows,
            actor=self.order.actor,
        )
        try:
            session = await self.shown.source.exec(order)
            tasks = [
                asyncio.ensure_future(work) for work in (self._read(session), self._watch(session), _write(session))
            ]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                if tasks[2].done():
                    tasks[2].result()
                self.code = session.exit_code
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await session.close()
        except (TrinityError, OSError) as error:
            self.problem = str(error)

    async def _read(self, session: ExecSession) -> None:
        """Keys, until ctrl-] or the end of input."""
        loop, typed = asyncio.get_running_loop(), asyncio.Queue[bytes]()
        loop.add_reader(0, lambda: typed.put_nowait(_typed()))
        try:
            while True:
                data = await typed.get()
                keys, leave, _ = data.partition(LEAVE)
                if keys:
                    await session.write(keys)
                if leave or not data:
                    return
        finally:
            loop.remove_reader(0)

    async def _watch(self, session: ExecSession) -> None:
        """The terminal's size, and whether the console is told to end."""
        told = _size()
        while not self._left.is_set():
            await asyncio.sleep(SIZE_EVERY_S)
            if (now := _size()) != told:
                told = now
                await session.resize(*now)


async def _write(session: ExecSession) -> None:
    fd = 1 if os.isatty(1) else 2
    async with aclosing(session.output()) as output:
        async for data in output:
            rest = data
            while rest:
                rest = rest[os.write(fd, rest) :]


def _typed() -> bytes:
    try:
        return os.read(0, _PIECE)
    except OSError:
        return b""


def _size() -> tuple[int, int]:
    for fd in (1, 2, 0):
        with contextlib.suppress(OSError):
            return tuple(os.get_terminal_size(fd))  # type: ignore[return-value] # two numbers
    return 80, 24


@contextlib.contextmanager
def _raw_terminal() -> Iterator[None]:
    """Keys go through as they are; as before afterwards."""
    before = termios.tcgetattr(0)
    try:
        tty.setraw(0, termios.TCSADRAIN)
        yield
    finally:
        termios.tcsetattr(0, termios.TCSAFLUSH, before)  # what was typed for the program is not for the console
