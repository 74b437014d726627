"""A program on a pseudo terminal with a terminal emulator at the other end, for end-to-end tests of the console."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pyte

NO_PREFERENCES = Path(tempfile.gettempdir()) / f"trinity-no-preferences-{os.getpid()}"
"""Is not there: what the user of this machine has set is no matter of tests."""
PATIENCE_S = 60.0
"""Of a wait for what is sure to come, on however busy a machine."""
KITTY = (b"\x1b[>9u", b"\x1b[>25u", b"\x1b[>1u", b"\x1b[<u")
RUN = """
import sys
from pathlib import Path
from console.tui.run import run_console
{before}
def factory():
    from console.state.simulator import SimulatorSource
    return SimulatorSource(replicas=2)
sys.exit(run_console(factory, log_path=Path({log!r}){extra}))
"""
"""A console of two pretended replicas."""


class Console:
    """Starts Python code on a pty of `size`; `screen` is what a person sees, `raw` every byte that came."""

    def __init__(self, code: str, *, size: tuple[int, int] = (80, 24), env: dict[str, str] | None = None) -> None:
        width, height = size
        self.screen = pyte.Screen(width, height)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self.modes_before = termios.tcgetattr(slave)
        self.slave = slave
        own = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "XDG_CONFIG_HOME": str(NO_PREFERENCES)}
        environment = {**os.environ, **own, **(env or {})}
        environment.pop("NO_COLOR", None) if not (env or {}).get("NO_COLOR") else None
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
        )

    def take(self, seconds: float) -> bytes:
        """Read what comes within `seconds`, past the emulator: `screen` is not kept up."""
        ready, _, _ = select.select([self.master], [], [], seconds)
        if not ready:
            return b""
        try:
            data = os.read(self.master, 1 << 16)
        except OSError:
            return b""
        self.raw += data
        return data

    def pump(self, seconds: float = 0.05) -> bytes:
        """Read what comes within `seconds`."""
        shown = data = self.take(seconds)
        for sequence in KITTY:
            shown = shown.replace(sequence, b"")
        self._stream.feed(shown)
        return data

    def until(self, met: Callable[[], bool], what: str, timeout: float = PATIENCE_S) -> None:
        """Read until `met`; fails with the screen's text."""
        end = time.monotonic() + timeout
        while not met():
            if time.monotonic() > end:
                raise AssertionError(f"never: {what}\n" + "\n".join(self.screen.display))
            self.pump()

    def shows(self, text: str) -> bool:
        return any(text in line for line in self.screen.display)

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def until_quiet(self, seconds: float) -> None:
        """Read until so long not a byte came; fails where that never is."""
        quiet, end = 0.0, time.monotonic() + PATIENCE_S + seconds
        while quiet < seconds:
            assert time.monotonic() < end, f"{seconds:g} s without a byte never came"
            quiet = 0.0 if self.pump(0.1) else quiet + 0.1

    def wait(self, timeout: float = PATIENCE_S) -> int:
        """Read to the end of the process; returns its exit code."""
        self.until(lambda: self.process.poll() is not None, "the process's end", timeout)
        while self.pump():
            pass
        return self.process.wait()

    def modes_restored(self) -> bool:
        """The terminal driver's settings are as they were."""
        return termios.tcgetattr(self.slave)[:4] == self.modes_before[:4]

    def close(self) -> None:
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for fd in (self.master, self.slave):
            os.close(fd)


Start = Callable[..., Console]
