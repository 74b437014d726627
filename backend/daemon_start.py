"""Starting trinityd: detached, by whoever needs it, and once however many want it at the same time.

Owns the launch and its report of success or failure. Knows nothing of what the daemon does. Whole modules are imported
at first use: a command line imports this before it knows what it will do.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from backend.contract.errors import InternalError, Unreachable, from_wire

if TYPE_CHECKING:
    import subprocess

    from backend.config.paths import StatePaths

_START_TIMEOUT_S = 60.0
_END_TIMEOUT_S = 30.0
_OTHERS_START_S = 3.0
"""How long another starter's daemon is given before we try ourselves again."""


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
        # Who started it may live as long as it does and must not leave it a zombie.
        threading.Thread(target=self._process.wait, name="end of trinityd", daemon=True).start()
        return not report.get("already", False)


def start_daemon(
    paths: StatePaths, *, file: Path | None = None, auto_port: bool = False, fleet: str | None = None
) -> DaemonStart:
    """Spawn a detached trinityd for this state directory; with `fleet` (a name or an address) that one is its first.

    Raises UsageError where its files cannot be made."""
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
    argv += ["--fleet", fleet] if fleet else []
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


def ensure_daemon(
    paths: StatePaths, *, file: Path | None = None, auto_port: bool = False, fleet: str | None = None
) -> bool:
    """Start a daemon unless one answers. True if it was started by this call."""
    end = time.monotonic() + _START_TIMEOUT_S
    while not daemon_answers(paths):
        if start_daemon(paths, file=file, auto_port=auto_port, fleet=fleet).wait():
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
