"""Upkeep of closed journals: when to convert and delete, in a niced process of its own.

Owns the schedule. The work itself is backend.ledger.segments, run as a program so that polars never lives in the
daemon. Never touches the open journals.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from backend.contract.clock import Clock
from backend.contract.rows import EventRow
from backend.contract.words import Severity
from backend.ledger.limits import Limits

_FIRST_RUN_S: Final = 30.0
"""After opening: a start has better things to do than to convert old journals."""
_TIME_LIMIT_S: Final = 600.0


class Upkeep:
    """A thread that runs the segments program after a journal closed and every `upkeep_period_s`."""

    def __init__(self, directory: Path, clock: Clock, limits: Limits, *, report: Callable[[EventRow], None]) -> None:
        self._directory, self._clock, self._limits, self._report = directory, clock, limits, report
        self._wanted = threading.Event()
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._guard = threading.Lock()
        self._thread = threading.Thread(target=self._loop, name="ledger-upkeep", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """A journal was closed."""
        self._wanted.set()

    def stop(self) -> None:
        """End the thread; a running program is ended too (its work is safe to repeat). Blocks."""
        self._stopping.set()
        self._wanted.set()
        with self._guard:
            if self._process is not None and self._process.poll() is None:
                self._process.terminate()
        self._thread.join()

    def _loop(self) -> None:
        self._wanted.wait(_FIRST_RUN_S)
        while not self._stopping.is_set():
            self._wanted.clear()
            self._run()
            self._wanted.wait(self._limits.upkeep_period_s)

    def _run(self) -> None:
        # -P: a `backend` package in the user's working directory is not ours.
        argv = [sys.executable, "-P", "-m", "backend.ledger.segments", str(self._directory)]
        argv += ["--retention-s", str(self._limits.retention_s), "--disk-bytes", str(self._limits.disk_bytes)]
        with self._guard:
            if self._stopping.is_set():
                return
            try:
                self._process = subprocess.Popen(
                    argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
                )
            except OSError as error:
                self._tell(f"could not be started: {error}")
                return
        try:
            _, stderr = self._process.communicate(timeout=_TIME_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            self._tell(f"took longer than {_TIME_LIMIT_S:.0f} s and was ended")
            return
        if self._process.returncode != 0 and not self._stopping.is_set():
            lines = stderr.decode(errors="replace").strip().splitlines()
            self._tell(lines[-1] if lines else f"ended with {self._process.returncode}")

    def _tell(self, cause: str) -> None:
        self._report(
            EventRow(
                ts=self._clock.now(),
                mono_s=self._clock.mono(),
                kind="ledger.upkeep_failed",
                severity=Severity.WARNING,
                subject="ledger",
                message=f"Old journals were not converted: {cause}. They stay readable, but take more disk space.",
                attributes={"cause": cause},
            )
        )
