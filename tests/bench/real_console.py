"""The `trinity` program on a pseudo terminal, over a real fleet, for benchmarks: as a person's terminal drives it."""

from __future__ import annotations

import threading

import psutil

from tests.e2e.console_pty import Console
from tests.e2e.harness import RealFleet

TRINITY = "from console.cli import main\nmain([])"
SIZE = (120, 40)


def attach(fleet: RealFleet, size: tuple[int, int] = SIZE) -> Console:
    """`trinity` without arguments; starts the fleet where none runs."""
    return Console(TRINITY, size=size, env=fleet.env | {"NO_COLOR": ""})


def ready_rows(console: Console) -> int:
    """Rows of the screen that show a replica which is Ready."""
    return sum("llm-" in line and "Ready" in line and "NotReady" not in line for line in console.screen.display)


class Cost:
    """CPU seconds and bytes of a console from now on."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._process = psutil.Process(console.process.pid)
        self._cpu, self._sent = self._now(), len(console.raw)

    def _now(self) -> float:
        used = self._process.cpu_times()
        return used.user + used.system

    def read(self) -> tuple[float, int]:
        """(CPU seconds, bytes) since then."""
        return self._now() - self._cpu, len(self._console.raw) - self._sent


class Watched:
    """Reads a console's terminal in a thread, so that it never waits for us. `close` ends the console too."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while not self._stop.is_set():
            self.console.pump(0.1)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.console.close()
