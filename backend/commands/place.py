"""Where a command acts: the state directory, the fleet, and the daemon there (started when wanted).

Owns the options `--state`, `--fleet`, `--json` that every command takes, and the start of a daemon. What a command
needs only once it runs is imported then: `--help` shows at once.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from backend.commands.parameters import Directory
from backend.contract.errors import InternalError, TrinityError, Unreachable, UsageError, from_wire
from backend.version import VERSION

if TYPE_CHECKING:
    import subprocess

    from backend.config.paths import StatePaths
    from backend.control_client import ControlClient

T = TypeVar("T")

_START_TIMEOUT_S = 30.0
_END_TIMEOUT_S = 30.0
_OTHERS_START_S = 3.0
"""How long another starter's daemon is given before we try ourselves again."""
F = Callable[..., Any]


class Place:
    """The state directory and fleet a command was given."""

    def __init__(self, state: Path | None, fleet: str | None, as_json: bool = False) -> None:
        from backend.config.paths import StatePaths, default_state_dir

        self.paths = StatePaths(state.expanduser().resolve() if state else default_state_dir())
        self.fleet = fleet or os.environ.get("TRINITY_FLEET") or "local"
        self.json = as_json
        if self.fleet != "local":
            raise UsageError(f"There is no fleet `{self.fleet}` here.", "This daemon has: local.")

    @property
    def actor(self) -> str:
        """Who acts, for the journal."""
        import getpass

        try:
            return f"cli:{getpass.getuser()}"
        except (KeyError, OSError):
            return f"cli:uid-{os.getuid()}"

    def run(self, work: Callable[[ControlClient], Coroutine[Any, Any, T]], *, any_version: bool = False) -> T:
        """Run `work` with a client of the running daemon. Raises Unreachable when none runs."""
        import asyncio

        from backend.control_client import ControlClient

        async def body() -> T:
            async with ControlClient(self.paths.control_socket) as client:
                if not any_version:
                    await check_version(client)
                return await work(client)

        if not self.paths.control_socket.exists():
            raise Unreachable("No daemon runs for this state directory.", "Start it with `trinity up`.")
        return asyncio.run(body())


def common(*, json_option: bool = True) -> Callable[[F], F]:
    """Adds --state, --fleet (and --json) and hands the command a Place as its first argument."""

    def wrap(function: F) -> F:
        @functools.wraps(function)
        def command(*args: Any, state: Path | None, fleet: str | None, as_json: bool = False, **kwargs: Any) -> Any:
            return function(Place(state, fleet, as_json), *args, **kwargs)

        options = [
            click.option("--state", type=Directory(), help="State directory [env: TRINITY_STATE]."),
            click.option("--fleet", help="Fleet to act on (default: local) [env: TRINITY_FLEET]."),
        ]
        if json_option:
            options.append(click.option("--json", "as_json", is_flag=True, help="Print JSON."))
        for option in reversed(options):
            command = option(command)
        return command

    return wrap


async def check_version(client: ControlClient) -> None:
    """Raises when the daemon is of another version than this program."""
    running = await client.version()
    if running.version != VERSION:
        raise TrinityError(
            f"The running daemon is version {running.version}, this program is {VERSION}.",
            "Replicas survive a daemon: end it with `trinity down --daemon-only`, then start again.",
        )


class DaemonStart:
    """A trinityd on its way up. Poll or wait for its own report of success or failure."""

    def __init__(self, process: subprocess.Popen[bytes], report_fd: int) -> None:
        self._process = process
        self._fd = report_fd
        self._text = b""

    def wait(self, timeout_s: float = _START_TIMEOUT_S) -> bool:
        """True once it serves, False when another holds the state directory and this one has left.

        Raises the daemon's own error, or InternalError after `timeout_s`."""
        import json
        import select

        end = time.monotonic() + timeout_s
        try:
            while not self._text.endswith(b"\n"):
                ready, _, _ = select.select([self._fd], [], [], max(0.0, end - time.monotonic()))
                if not ready:
                    raise InternalError(f"trinityd did not report within {timeout_s:.0f} s.", "See its log.")
                piece = os.read(self._fd, 65536)
                if not piece:
                    break
                self._text += piece
        finally:
            os.close(self._fd)
        if not self._text:
            raise InternalError(f"trinityd ended at start (exit code {self._process.wait(5)}).", "See its log.")
        report = json.loads(self._text)
        if not report["ok"]:
            self._process.wait(_END_TIMEOUT_S)  # who is told of a failure finds nothing of it left
            raise from_wire(report["kind"], report["message"], report["next_step"])
        return not report.get("already", False)


def start_daemon(paths: StatePaths, *, file: Path | None = None, auto_port: bool = False) -> DaemonStart:
    """Spawn a detached trinityd for this state directory. Raises UsageError where its files cannot be made."""
    import subprocess

    from backend.config.paths import state_dir_error

    try:
        paths.create()
        log = os.open(paths.daemon_log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise state_dir_error(paths, error) from None
    read_fd, write_fd = os.pipe()
    argv = [sys.executable, "-P", "-m", "backend.daemon", "--state", str(paths.state_dir), "--report-fd", str(write_fd)]
    argv += ["--file", str(file.resolve())] if file else []
    argv += ["--auto-port"] if auto_port else []
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(write_fd,),
            start_new_session=True,
            cwd="/",
            env=_daemon_environment(paths),
        )
    finally:
        os.close(log)
        os.close(write_fd)
    return DaemonStart(process, read_fd)


def _daemon_environment(paths: StatePaths) -> dict[str, str]:
    """Ours, with the paths in it made absolute: the daemon does not run in our working directory."""
    env = dict(os.environ) | {"TRINITY_STATE": str(paths.state_dir)}
    for name in ("MODEL_PATH", "TRINITY_HAPROXY"):
        if value := env.get(name):
            env[name] = str(Path(value).expanduser().absolute())
    return env


def daemon_answers(paths: StatePaths) -> bool:
    """Whether something accepts connections on the control socket."""
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(paths.control_socket))
        except OSError:
            return False
    return True


def ensure_daemon(paths: StatePaths, *, file: Path | None = None, auto_port: bool = False) -> bool:
    """Start a daemon unless one answers. True if it was started by this call."""
    end = time.monotonic() + _START_TIMEOUT_S
    while not daemon_answers(paths):
        if start_daemon(paths, file=file, auto_port=auto_port).wait():
            return True
        if time.monotonic() > end:
            raise Unreachable(
                f"A trinityd holds {paths.state_dir} but does not answer.",
                "End it with `trinity down`, then try again.",
            )
        # Another start or end is under way.
        patience = time.monotonic() + _OTHERS_START_S
        while not daemon_answers(paths) and time.monotonic() < patience:
            time.sleep(0.05)
    return False


def file_to_start_from(file: Path | None) -> Path | None:
    """The file given, else `trinity.yaml` of the working directory where there is one.

    Raises FileError for one that cannot be used."""
    here = Path.cwd() / "trinity.yaml"
    if file is None and here.is_file():
        file = here
    if file is not None:
        from backend.config.fleet_file import read_fleet_file

        read_fleet_file(file)
    return file
