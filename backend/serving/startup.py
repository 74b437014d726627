"""The companion of a replica that is loading: a forked process that answers health and reads the engine's stderr.

Building the engine holds the interpreter's lock for as long as the model loads, so no thread of that process can
answer. The companion shares the listening socket, answers "loading", passes the engine's stderr on, remembers its
first error line, and leaves once the engine is up or gone. It never touches the engine.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import time
from collections.abc import Callable
from typing import Final

from backend.serving.health import HealthLoop

LOADED: Final = b"L"
MAX_LINE_BYTES: Final = 64 * 1024
LEAVE_S: Final = 1.0
"""What a health client that has connected but not asked is given."""
CAUSE_S: Final = 3.0
"""How long an engine that failed is given to say why: its log has a thread of its own."""
_STAMP: Final = re.compile(r"^[0-9.]+ E +")


def engine_cause(line: str) -> str | None:
    """The words of an engine's error line (`0.00.044.993 E llama_model_load: error …`), or null for other lines."""
    match = _STAMP.match(line)
    return " ".join(line[match.end() :].split()) or None if match else None


class StartupCompanion:
    """Started before the engine is built, ended right after. Use from one thread, before any other exists."""

    def __init__(self, make_loop: Callable[[], HealthLoop]) -> None:
        """`make_loop` is called in the companion only."""
        stderr_read, stderr_write = os.pipe()
        control_read, self._control = os.pipe()
        self._heard, heard_write = os.pipe()
        self._real_stderr = os.dup(2)
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                os.close(stderr_write)
                os.close(self._control)
                os.close(self._heard)
                _Companion(make_loop(), control_read, stderr_read, self._real_stderr, heard_write).run()
                code = 0
            finally:
                os._exit(code)
        os.close(stderr_read)
        os.close(control_read)
        os.close(heard_write)
        os.dup2(stderr_write, 2)
        os.close(stderr_write)

    def engine_is_up(self) -> None:
        """The engine was built: take stderr back. The companion takes no more connections, answers those it has and
        leaves; `wait` for it once others answer on the socket."""
        with contextlib.suppress(OSError):
            os.write(self._control, LOADED)
        self._take_back()

    def engine_failed(self) -> None:
        """The engine could not be built: the companion writes its cause as the last line of stderr and leaves."""
        # The engine's log thread may still hold lines; they must reach the companion before stderr is taken back.
        select.select([self._heard], [], [], CAUSE_S)
        time.sleep(0.1)  # what it says after the cause
        self._take_back()
        self.wait()

    def _take_back(self) -> None:
        os.dup2(self._real_stderr, 2)
        os.close(self._real_stderr)
        os.close(self._control)
        os.close(self._heard)

    def wait(self) -> None:
        """Return once the companion is gone; it is ended if it does not leave in time."""
        deadline = time.monotonic() + 3 * LEAVE_S
        while time.monotonic() < deadline:
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(self.pid, os.WNOHANG)[0] == 0:
                    select.select([], [], [], 0.005)
                    continue
            return
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)


class _Companion:
    """The forked side."""

    def __init__(self, loop: HealthLoop, control: int, source: int, sink: int, heard: int) -> None:
        """`heard` is written to once the cause of a failure has been read."""
        self.loop, self.control, self.source, self.sink, self.heard = loop, control, source, sink, heard
        self.rest = b""
        self.cause: str | None = None
        self.loaded = False
        self.source_open = self.control_open = True
        loop.watch(source, self._on_stderr)
        loop.watch(control, self._on_control)

    def run(self) -> None:
        self.loop.run()
        if not self.loaded and self.cause is not None:
            with contextlib.suppress(OSError):
                os.write(self.sink, f"The engine did not start: {self.cause}\n".encode())

    def _on_stderr(self) -> None:
        piece = os.read(self.source, 65_536)
        if not piece:
            self.loop.unwatch(self.source)
            self.source_open = False
            self._stop_if_alone()
            return
        with contextlib.suppress(OSError):
            os.write(self.sink, piece)
        *lines, self.rest = (self.rest + piece).split(b"\n")
        self.rest = self.rest[-MAX_LINE_BYTES:]
        for line in lines:
            if self.cause is None and (cause := engine_cause(line.decode("utf-8", "replace"))):
                self.cause = cause
                with contextlib.suppress(OSError):
                    os.write(self.heard, b".")

    def _on_control(self) -> None:
        if os.read(self.control, 1) == LOADED:
            self.loaded = True
            self.loop.stop_accepting()
            return
        self.loop.unwatch(self.control)
        self.control_open = False
        self._stop_if_alone()

    def _stop_if_alone(self) -> None:
        """Both pipes at their end: the engine's process has taken stderr back, or is gone."""
        if not self.source_open and not self.control_open:
            self.loop.stop_when_answered(LEAVE_S)
