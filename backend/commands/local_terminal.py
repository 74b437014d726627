"""The terminal that a command runs on, handed over to a program elsewhere and always given back.

Owns its raw mode and the reading of its keys. Knows nothing of who reads and writes at the other end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import termios
import threading
import tty
from collections.abc import Awaitable, Callable, Iterator

_PIECE = 65536
_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


def size() -> tuple[int, int]:
    """Columns and rows of the terminal itself; what $COLUMNS says may be old, and is asked where there is none."""
    for fd in (0, 1, 2):
        with contextlib.suppress(OSError):
            found = os.get_terminal_size(fd)
            if found.columns and found.lines:
                return found.columns, found.lines
    known = shutil.get_terminal_size()
    return known.columns, known.lines


@contextlib.contextmanager
def raw_terminal(wanted: bool) -> Iterator[None]:
    """Keys go through as they are, where `wanted` and where standard input is a terminal; as before afterwards."""
    if not wanted or not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(0)
    try:
        tty.setraw(0, termios.TCSADRAIN)  # what was typed ahead is for the program
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


@contextlib.contextmanager
def ended_by_signals(task: asyncio.Task[int]) -> Iterator[None]:
    """SIGTERM and SIGHUP cancel the task instead of ending this program with its terminal as it is."""
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, task.cancel)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


@contextlib.contextmanager
def told_of_resizes(tell: Callable[[int, int], Awaitable[None]]) -> Iterator[None]:
    """`tell` (columns, rows) whenever the terminal gets another size."""
    loop = asyncio.get_running_loop()
    telling: set[asyncio.Future[None]] = set()

    def resized() -> None:
        task = asyncio.ensure_future(tell(*size()))
        telling.add(task)
        task.add_done_callback(telling.discard)

    loop.add_signal_handler(signal.SIGWINCH, resized)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)


def read_input(take: Callable[[bytes], Awaitable[None]]) -> None:
    """Hand what is typed or piped in to `take`, at its pace, and at the end of input an empty piece. In a thread that
    ends with the program: a read from a terminal cannot be called back."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        data = b"."
        while data:
            try:
                data = os.read(0, _PIECE)
            except OSError:
                data = b""
            with contextlib.suppress(Exception):  # the program has ended: nobody takes it any more
                asyncio.run_coroutine_threadsafe(_taken(take, data), loop).result()

    threading.Thread(target=read, name="standard input", daemon=True).start()


async def _taken(take: Callable[[bytes], Awaitable[None]], data: bytes) -> None:
    await take(data)
