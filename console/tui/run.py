"""Runs the console on a terminal and gives the terminal back whatever happens. The CLI's only door to the screen."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from backend.contract import exit_codes
from backend.contract.control import Snapshot
from backend.contract.errors import TrinityError, UsageError
from console.state.late_source import LateSource
from console.state.source import FleetSource
from console.tui.app import TrinityApp
from console.tui.hygiene import SIGNALS, Terminal

FAREWELL = "The fleet goes on running. Stop it with: trinity down"


class TerminalApp(TrinityApp):
    """The app on a real terminal: ends in good order on the signals that end programs."""

    terminal: Terminal

    def on_mount(self) -> None:
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._ended_by, number)

    def _ended_by(self, number: signal.Signals) -> None:
        code = 128 + number
        self.terminal.deadline(code)
        self.exit(code, return_code=code)


def run_console(
    source_factory: Callable[[], FleetSource],
    *,
    read_only: bool = False,
    theme: str | None = None,
    interval_s: float = 1.0,
    first_snapshot: Snapshot | None = None,
    bell: bool = True,
    log_path: Path | None = None,
) -> int:
    """Show the console until it is left. Returns the exit code. `source_factory` is called after the first frame,
    in a thread, and again after each failure, until it returns a source.

    Raises UsageError where there is no terminal.
    """
    if not (os.isatty(0) and (os.isatty(1) or os.isatty(2))):
        raise UsageError("The console needs a terminal.", "Use `trinity status`, or another command, in scripts.")
    place = log_path or Path(tempfile.gettempdir()) / f"trinity-console-{os.getuid()}.log"
    handler = _log_to(place)
    source = LateSource(source_factory)
    terminal = Terminal()
    with terminal:
        try:
            app = TerminalApp(
                source,
                read_only=read_only,
                theme=theme,
                interval_s=interval_s,
                first_snapshot=first_snapshot,
                bell=bell,
            )
            app.terminal = terminal
            result = app.run()
        except BaseException:
            terminal.restore()
            raise
    logging.getLogger("trinity.console").removeHandler(handler)
    if app.crash is not None:
        return _report_crash(app.crash, place, sys.stderr)
    code = app.return_code or (result if isinstance(result, int) else exit_codes.OK)
    if code < 128 or code == exit_codes.INTERRUPTED:
        print(FAREWELL)  # noqa: T201 - the one line that quitting says
    return code


def _report_crash(crash: BaseException, place: Path, stream: TextIO) -> int:
    """One sentence after the screen is back; the traceback is in the file."""
    words = crash.message if isinstance(crash, TrinityError) else f"{type(crash).__name__}: {crash}"
    stream.write(f"The console stopped because of an error of its own: {words} Details: {place}\n{FAREWELL}\n")
    return exit_codes.INTERNAL


def _log_to(place: Path) -> logging.Handler:
    """Our own words go to a file: the screen is taken."""
    handler = logging.FileHandler(place, delay=True, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("trinity.console")
    logger.addHandler(handler)
    logger.propagate = False
    return handler
