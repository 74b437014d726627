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

from backend.config.fleet_file import read_text
from backend.config.fleet_orders import address_of, config_of, fleet_of
from backend.config.known_fleets import KnownFleet, find_fleet, read_known
from backend.config.own_logs import configure, get_logger
from backend.config.paths import StatePaths, default_state_dir, state_dir_error
from backend.config.resolve import FleetConfig
from backend.contract.clock import SystemClock
from backend.contract.control import FleetOrder
from backend.contract.errors import InternalError, TrinityError, UsageError
from backend.daemon.last_applied import last_applied
from backend.daemon.lock import AlreadyRunning, DaemonLock
from backend.daemon.parts import Parts
from backend.daemon.trinityd import Trinityd

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
    parser.add_argument(
        "--fleet", default=None, help="only that fleet, by its name or address, not the one of the file"
    )
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
        first, config = _first_fleet(paths, arguments.file, arguments.fleet)
        settings = config.settings
        file = paths.daemon_log if arguments.report_fd is not None else None
        configure(settings.log_profile, level=settings.log_level, log_format=settings.log_format, file=file)
        code = uvloop.run(_serve(paths, first, config, arguments.auto_port, report))
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
        probe.unlink(missing_ok=True)  # another one that starts at this moment makes the same
    except OSError as error:
        raise state_dir_error(paths, error) from None
    if free < _MIN_FREE_BYTES:
        raise UsageError(
            f"The disk of the state directory {paths.state_dir} has {free / 2**20:.0f} MiB left.",
            f"Make room (at least {_MIN_FREE_BYTES / 2**20:.0f} MiB), or choose another with --state.",
        )
    return DaemonLock(paths.daemon_lock)


def _first_fleet(paths: StatePaths, file: Path | None, wanted: str | None) -> tuple[KnownFleet, FleetConfig]:
    """The fleet that this daemon shows first: the one `wanted` by name or address, else that of the file given, else
    the one this state directory last had, else the built-in default. Raises FileError and UsageError."""
    if wanted and wanted != "local":
        known = find_fleet(read_known(paths.fleets_file), wanted) or fleet_of(FleetOrder(address=wanted))
        return known, config_of(known, last_applied(known.paths(paths).wanted_file))
    applied = (read_text(file), str(file)) if file is not None else last_applied(paths.wanted_file)
    config = config_of(KnownFleet(name="local"), applied)
    return KnownFleet(name=config.name, address=str(address_of(config.file))), config


async def _serve(paths: StatePaths, first: KnownFleet, config: FleetConfig, auto_port: bool, report: _Report) -> int:
    clock = SystemClock()

    def make(own: StatePaths, described: FleetConfig, is_first: bool) -> Parts:
        # The ports of the settings are the first fleet's; another one's edge takes the next that is free.
        return Parts(own, described, clock, auto_port=auto_port or not is_first)

    daemon = Trinityd(paths, first, config, make)
    loop = asyncio.get_running_loop()
    await daemon.start(auto_port=auto_port)
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, daemon.detach)
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    report.ok()
    _log.info("serving", state=str(paths.state_dir), pid=os.getpid(), fleet=first.name)
    await daemon.run()
    _log.info("ended", took_down=daemon.take_down)
    return 0
