"""A real fleet for tests: its own state directory, run directory and ports; the same programs a user runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import psutil

from backend.config.paths import StatePaths
from backend.contract.control import Snapshot
from backend.contract.rows import ActionRow, EventRow, RequestRow
from backend.control_client import ControlClient
from tests.e2e.ports import HeldPorts

T = TypeVar("T")
TRINITY = [sys.executable, "-m", "console.cli"]
PORTS = ("INFERENCE_PORT", "HEALTH_PORT", "METRICS_PORT", "STATS_PORT")
LLM_ONLY = "trinity: 1\nworkloads:\n  llm: {builtin: llm}\n"
"""The default fleet's llm part: what most tests need, without the embedding replicas beside it."""
PATIENCE_S = 60.0
"""Of a wait for what is sure to come: it ends when that is there, so it costs nothing to give a busy machine time."""


class FleetPaths(StatePaths, frozen=True):
    """Of a fleet whose run directory is its own: several live beside each other in one test process, whose own
    environment is left alone."""

    run_base: Path

    @property
    def run_dir(self) -> Path:
        return self.run_base / f"trinity-{self.digest}"

    def of_fleet(self, slug: str) -> FleetPaths:
        return FleetPaths(self.state_dir / "fleets" / slug, self.run_base)

    def further_fleets(self) -> list[StatePaths]:
        return [FleetPaths(paths.state_dir, self.run_base) for paths in super().further_fleets()]


class RealFleet:
    """One state directory and what runs for it. Use as a context manager: nothing is left behind.

    `yaml` is the trinity.yaml of its working directory; with null there is none, and the built-in default applies.
    """

    def __init__(self, *, yaml: str | None = LLM_ONLY, **env: str) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="tri", dir="/tmp"))
        if yaml is not None:
            (self.root / "trinity.yaml").write_text(yaml)
        self.state = self.root / "s"
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("TRINITY_", "XDG_"))}
        self.env |= {"TRINITY_STATE": str(self.state), "XDG_RUNTIME_DIR": str(self.root), "NO_COLOR": "1"}
        self._ports = HeldPorts(len(PORTS))
        self.env |= dict(zip(PORTS, map(str, self._ports.numbers), strict=True)) | env
        self.paths = FleetPaths(self.state, self.root)
        self.url = f"http://127.0.0.1:{self.env['INFERENCE_PORT']}"
        self.metrics_url = f"http://127.0.0.1:{self.env['METRICS_PORT']}"
        self.health_url = f"http://127.0.0.1:{self.env['HEALTH_PORT']}"

    def __enter__(self) -> RealFleet:
        return self

    def __exit__(self, *exc: object) -> None:
        self.trinity("down", check=False)
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._ports.release()
        if exc[0] is None:
            shutil.rmtree(self.root, ignore_errors=True)

    # -- programs

    def trinity(self, *args: str, check: bool = True, timeout_s: float = 280.0) -> subprocess.CompletedProcess[str]:
        """Run a command as a user would."""
        done = subprocess.run(
            [*TRINITY, *args], env=self.env, capture_output=True, text=True, timeout=timeout_s, cwd=self.root
        )
        if check and done.returncode != 0:
            raise AssertionError(f"trinity {' '.join(args)} -> {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def json(self, *args: str) -> Any:
        """A command's JSON document."""
        return json.loads(self.trinity(*args, "--json").stdout)

    def start(self, *args: str, **kwargs: Any) -> subprocess.Popen[str]:
        """A command in the background."""
        return subprocess.Popen([*TRINITY, *args], env=self.env, text=True, cwd=self.root, **kwargs)

    def up(self, *args: str) -> None:
        self.trinity("up", "--timeout", "240", *args)

    # -- processes

    def daemon_pid(self) -> int:
        """Of the daemon that holds the lock; a new one empties the file before it writes itself down."""
        return int(wait_for(lambda: self.paths.daemon_lock.read_text().strip(), PATIENCE_S, "daemon's pid"))

    def kill_daemon(self) -> int:
        """kill -9 of trinityd; returns once it is gone."""
        pid = self.daemon_pid()
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not is_alive(pid), PATIENCE_S, "the daemon's end")
        return pid

    def processes(self) -> list[psutil.Process]:
        """Every process that carries this state directory in its environment."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get("TRINITY_STATE") == str(self.state) and process.status() != "zombie":
                    found.append(process)
        return found

    # -- the control API

    def ask(self, work: Callable[[ControlClient], Awaitable[T]]) -> T:
        async def body() -> T:
            async with ControlClient(self.paths.control_socket, timeout_s=PATIENCE_S) as client:
                return await work(client)

        return asyncio.run(body())

    def snapshot(self) -> Snapshot:
        return self.ask(lambda client: client.snapshot())

    def requests(self, **where: Any) -> list[RequestRow]:
        return self.ask(lambda client: client.rows("requests", limit=100_000, where=where or None))

    def events(self, since_ts: float = 0.0) -> list[EventRow]:
        return self.ask(lambda client: client.rows("events", since_ts=since_ts, limit=100_000))

    def actions(self) -> list[ActionRow]:
        return self.ask(lambda client: client.rows("actions", limit=100_000))

    def pids(self) -> dict[str, int | None]:
        return {view.status.name: view.status.pid for view in self.snapshot().replicas}

    def until_ready(self, count: int, workload: str = "llm", timeout_s: float = 120.0) -> Snapshot:
        """Until exactly `count` replicas exist and the edge would choose each of them."""

        def ready() -> Snapshot | None:
            snapshot = self.snapshot()
            view = next((w for w in snapshot.workloads if w.name == workload), None)
            return snapshot if view is not None and view.ready == view.total == count else None

        return wait_for(ready, timeout_s, f"{count} ready replicas of {workload}")


def is_alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for(condition: Callable[[], T | None], timeout_s: float, what: str) -> T:
    """Poll until the condition gives something true; fail the test after `timeout_s`."""
    end = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"no {what} within {timeout_s:g} s")
        time.sleep(0.02)


@contextlib.contextmanager
def real_fleet(*up_args: str, yaml: str | None = LLM_ONLY, **env: str) -> Iterator[RealFleet]:
    """A fleet that is up."""
    with RealFleet(yaml=yaml, **env) as fleet:
        fleet.up(*up_args)
        yield fleet
