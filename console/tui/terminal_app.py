"""The app on a real terminal: ends in good order on the signals that end programs."""

from __future__ import annotations

import asyncio
import signal

from console.tui.app import TrinityApp
from console.tui.hygiene import SIGNALS, Terminal


class TerminalApp(TrinityApp):
    """Set `terminal` before it runs."""

    terminal: Terminal

    def on_mount(self) -> None:
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._ended_by, number)

    def _ended_by(self, number: signal.Signals) -> None:
        code = 128 + number
        self.terminal.deadline(code)
        self.exit(code, return_code=code)
