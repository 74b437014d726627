"""The app on a real terminal: ends in good order on the signals that end programs, and when the terminal goes."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import select
import signal
from collections.abc import Callable
from typing import Final

from textual import constants
from textual.driver import Driver

from console.tui.app import TrinityApp
from console.tui.governor import ConsoleDriver
from console.tui.hygiene import SIGNALS, Terminal

HANG_UP_CHECK_S: Final = 2.0
TRIM_S: Final = 60.0
SETTLED_S: Final = (2.0, 15.0)
COLLECT_AFTER: Final = (5_000, 20, 50)
"""Objects, and rounds of the younger generations: Python's own 700 look at everything far too often for a screen."""


class TerminalApp(TrinityApp):
    """Set `terminal` before it runs."""

    terminal: Terminal

    def get_driver_class(self) -> type[Driver]:
        """The driver that never waits for the link, unless the environment names one."""
        return super().get_driver_class() if constants.DRIVER else ConsoleDriver

    def on_mount(self) -> None:
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._ended_by, number)
        self._hang_up = select.poll()
        self._hang_up.register(0, 0)
        self.set_interval(HANG_UP_CHECK_S, self._check_terminal)
        for after_s in SETTLED_S:
            self.set_timer(after_s, _settle_memory)
        trim = memory_trimmer()
        if trim is not None:
            self.set_interval(TRIM_S, lambda: loop.run_in_executor(None, trim, 0))

    def _check_terminal(self) -> None:
        """A terminal that is not our controlling one goes without a SIGHUP; its end of file would be read forever."""
        if any(state & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, state in self._hang_up.poll(0)):
            self._ended_by(signal.SIGHUP)

    def _ended_by(self, number: signal.Signals) -> None:
        code = 128 + number
        self.terminal.deadline(code)
        self.exit(code, return_code=code)


def memory_trimmer() -> Callable[[int], int] | None:
    """The C library's way to give pages back that nothing uses any more; None where it has none.

    Thousands of log buffers that grow and go side by side leave holes that would else stay."""
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim


def _settle_memory() -> None:
    """What stands by now stays: the collector, which stops everything else while it looks, need not look at it."""
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
