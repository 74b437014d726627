"""Writes to the terminal so that a link that does not take anything stops nobody: what it does not take at once is left
to a thread of its own.

Owns the order of what is written; never blocks who writes. What a picture is, it does not know.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

from console.state.pace import SLOW_S

FAST_PIECE: Final = 4096
SLOW_PIECE: Final = 256
"""On a slow link: small enough to see whether it is slow or stands still."""
STOP_S: Final = 1.0
"""So long the end of the program waits for a link that takes nothing."""
STOP_LOOKS: Final = 20
"""In as many parts: a machine that stands still meanwhile takes one of them, and what waits still leaves."""


class Outlet(threading.Thread):
    """`left(size, seconds, longest)` is called in the thread after each write that has left for good; `longest` are
    the seconds of the piece that took longest."""

    def __init__(self, fd: int, left: Callable[[int, float, float], None]) -> None:
        super().__init__(daemon=True, name="terminal-outlet")
        self._fd = fd
        self._left = left
        self._quick = _never_waits(fd)
        self._queue: SimpleQueue[tuple[bytes, int] | None] = SimpleQueue()  # its put may be called from signal handlers
        self._put = 0
        self._done = 0
        self._last = b""

    @property
    def busy(self) -> bool:
        """Something is under way."""
        return self._put != self._done

    @property
    def waiting(self) -> int:
        """Writes that have not left, with the one under way."""
        return self._put - self._done

    def write(self, text: str) -> None:
        """Send in order. The same once more while it still waits (a bell, a pointer's shape) is said once."""
        data = text.encode("utf-8", "replace")
        size = 0 if self.busy else self._at_once(data)
        if size == len(data):
            self._left(size, 0.0, 0.0)
            return
        if self.waiting > 1 and data == self._last:
            return
        self._last = data
        self._put += 1
        self._queue.put((data, size))

    def stop(self) -> None:
        """Send what waits and end; a link that takes nothing is left behind."""
        self._queue.put(None)
        for _ in range(STOP_LOOKS):
            self.join(STOP_S / STOP_LOOKS)
        if self._quick is not None:
            os.close(self._quick)
            self._quick = None

    def _at_once(self, data: bytes) -> int:
        """How many bytes the link takes without waiting; no thread has to wake up for them."""
        if self._quick is None:
            return 0
        try:
            return os.write(self._quick, data)
        except OSError:  # it takes nothing now, or the terminal went: the thread finds out
            return 0

    def run(self) -> None:
        gone, piece = False, FAST_PIECE
        while (item := self._queue.get()) is not None:
            begun = last = time.monotonic()
            (data, at), longest = item, 0.0
            while at < len(data) and not gone:
                try:
                    at += os.write(self._fd, data[at : at + piece])
                except BlockingIOError:
                    select.select([], [self._fd], [])
                except OSError:
                    gone = True  # the terminal went; the app sees that for itself
                now = time.monotonic()
                longest, last = max(longest, now - last), now
            piece = FAST_PIECE if last - begun < SLOW_S else SLOW_PIECE
            self._done += 1
            self._left(len(data), last - begun, longest)


def _never_waits(fd: int) -> int | None:
    """The same terminal opened once more, so that not waiting is not the shell's too; None where it may not."""
    try:
        return os.open(os.ttyname(fd), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
