"""Leaves the terminal as it was found: on quit, crash, SIGTERM, SIGHUP, SIGINT. Owns its modes, not its content."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import termios
import threading
from typing import Any, Final

RESTORE: Final = (
    "\x1b[?2026l"  # end of a synchronised update
    "\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1015l\x1b[?1016l"  # mouse
    "\x1b[?1004l\x1b[?2004l\x1b[?2048l"  # focus reports, bracketed paste, in-band resize
    "\x1b[<u"  # keyboard protocol
    "\x1b[0m\x1b[?7h\x1b[?1049l\x1b[?25h"  # colours, line wrap, alternate screen, cursor
)
LAST_RESORT_S: Final = 3.0
SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class Terminal:
    """The terminal's modes as they were, and the way back to them. Use as a context around the app's run."""

    def __init__(self) -> None:
        self._attributes: list[Any] | None = None
        self._stderr_copy: int | None = None
        self._deadline: threading.Timer | None = None
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Terminal:
        with contextlib.suppress(termios.error, OSError, ValueError):
            self._attributes = termios.tcgetattr(sys.__stdin__.fileno()) if sys.__stdin__ else None
        if not os.isatty(2) and os.isatty(1):
            # Textual draws on stderr; where that is a file, the screen is still stdout's.
            self._stderr_copy = os.dup(2)
            os.dup2(1, 2)
        for number in SIGNALS:
            self._handlers[number] = signal.signal(number, self._end_now)
        return self

    def __exit__(self, *_: object) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self._stderr_copy is not None:
            os.dup2(self._stderr_copy, 2)
            os.close(self._stderr_copy)

    def _end_now(self, number: int, _: object) -> None:
        """Until the app's event loop listens: restore and end."""
        self.restore()
        os._exit(128 + number)

    def restore(self) -> None:
        """Write the way back ourselves; for when the app could not. Safe to call from any thread."""
        for fd in (2, 1):
            if os.isatty(fd):
                with contextlib.suppress(OSError):
                    os.write(fd, RESTORE.encode())
                break
        if self._attributes is not None and sys.__stdin__ is not None:
            with contextlib.suppress(termios.error, OSError, ValueError):
                termios.tcsetattr(sys.__stdin__.fileno(), termios.TCSANOW, self._attributes)

    def deadline(self, code: int) -> None:
        """If the app has not ended in a few seconds, restore and end the process all the same."""
        if self._deadline is not None:
            return

        def end() -> None:
            self.restore()
            os._exit(code)

        self._deadline = threading.Timer(LAST_RESORT_S, end)
        self._deadline.daemon = True
        self._deadline.start()
