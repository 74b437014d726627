"""`trinityd`: arguments, lock, logs, signals, and the report to whoever started us."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import sys
from pathlib import Path

import msgspec
import uvloop

from backend.config.fleet_file import DEFAULT, parse_fleet_file, read_text
from backend.config.own_logs import configure, get_logger
from backend.config.paths import StatePaths, default_state_dir, state_dir_error
from backend.config.resolve import FleetConfig, resolve
from backend.contract.clock import SystemClock
from backend.contract.errors import InternalError, TrinityError, UsageError
from backend.daemon.lock import AlreadyRunning, DaemonLock
from backend.daemon.parts import Parts
from backend.daemon.trinityd import Trinityd
from backend.reconcile.wanted import WantedState

_log = get_logger("trinityd")
_MIN_FREE_BYTES = 64 * 1024 * 1024


class _Report:
    """One JSON line to the program that started us: did it work, and if not why."""

    def __init__(self, fd: int | None) -> None:
        self._fd = fd

    def ok(self, *, already: bool = False) -> None:
        """It serves, or (`already`) another daemon has the state directory."""
        self._send({"ok": True, "already": already})

    def failed(self, error: TrinityError) -> None:
        if self._fd is None:
            print(f"trinityd: {error}", file=sys.stderr)  # noqa: T201 - started by hand
        self._send({"ok": False, "kind": error.kind, "message": error.message, "next_step": error.next_step})

    def _send(self, value: object) -> None:
        if self._fd is None:
            return
        with contextlib.suppress(BrokenPipeError):  # the starter left; the daemon goes on
            os.write(self._fd, msgspec.json.encode(value) + b"\n")
        os.close(self._fd)
        self._fd = None


def main() -> None:
    """Entry point of `trinityd`."""
    parser = argparse.ArgumentParser(prog="trinityd", description="Trinity's control daemon.")
    parser.add_argument("--state", type=Path, default=None, help="state directory")
    parser.add_argument("--file", type=Path, default=None, help="trinity.yaml")
    parser.add_argument("--auto-port", action="store_true", help="take the next free port where one is taken")
    parser.add_argument("--report-fd", type=int, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    report = _Report(arguments.report_fd)
    if arguments.report_fd is not None:
        os.set_inheritable(arguments.report_fd, False)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    paths = StatePaths(arguments.state.expanduser().resolve() if arguments.state else default_state_dir())
    try:
        lock = _prepare(paths)
    except AlreadyRunning as running:
        report.ok(already=True) if arguments.report_fd is not None else report.failed(running)
        sys.exit(0 if arguments.report_fd is not None else running.exit_code)
    except TrinityError as error:
        report.failed(error)
        sys.exit(error.exit_code)
    try:
        config = _configuration(paths, arguments.file)
        settings = config.settings
        file = paths.daemon_log if arguments.report_fd is not None else None
        configure(settings.log_profile, level=settings.log_level, log_format=settings.log_format, file=file)
        code = uvloop.run(_serve(paths, config, arguments.auto_port, report))
    except TrinityError as error:
        report.failed(error)
        code = error.exit_code
    except Exception as error:
        _log.exception("trinityd ended by an error of its own")
        report.failed(InternalError(f"trinityd failed: {type(error).__name__}: {error}.", f"See {paths.daemon_log}."))
        code = InternalError.exit_code
    lock.release()
    sys.exit(code)


def _prepare(paths: StatePaths) -> DaemonLock:
    """Directories, room on the disk, the lock. Raises UsageError or AlreadyRunning."""
    try:
        paths.create()
        free = shutil.disk_usage(paths.state_dir).free
        probe = paths.state_dir / ".room"
        probe.write_bytes(b"\0" * 4096)
        probe.unlink()
    except OSError as error:
        raise state_dir_error(paths, error) from None
    if free < _MIN_FREE_BYTES:
        raise UsageError(
            f"The disk of the state directory {paths.state_dir} has {free / 2**20:.0f} MiB left.",
            f"Make room (at least {_MIN_FREE_BYTES / 2**20:.0f} MiB), or choose another with --state.",
        )
    return DaemonLock(paths.daemon_lock)


def _configuration(paths: StatePaths, file: Path | None) -> FleetConfig:
    """The file given, else the one this state directory last had, else the built-in default. Raises FileError."""
    if file is not None:
        text, source = read_text(file), str(file)
    else:
        text, source = _last_applied(paths.wanted_file)
    if not text:
        return resolve(DEFAULT)
    return resolve(parse_fleet_file(text, source), source, text)


def _last_applied(wanted_file: Path) -> tuple[str, str]:
    """Text and name of the file last applied here; empty where there is none. A damaged wanted state is the
    reconciler's to report and keep aside."""
    try:
        state = msgspec.json.decode(wanted_file.read_bytes(), type=WantedState)
    except (OSError, msgspec.MsgspecError):
        return "", ""
    return state.applied_yaml, state.applied_source


async def _serve(paths: StatePaths, config: FleetConfig, auto_port: bool, report: _Report) -> int:
    daemon = Trinityd(Parts(paths, config, SystemClock(), auto_port=auto_port))
    loop = asyncio.get_running_loop()
    await daemon.start()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, daemon.detach)
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    report.ok()
    _log.info("serving", state=str(paths.state_dir), pid=os.getpid(), url=daemon.parts.edge.public_url)
    await daemon.run()
    _log.info("ended", took_down=daemon.take_down)
    return 0
