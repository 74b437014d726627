"""How a shim is told what to run. Written as JSON by the daemon, read by the shim program.

The shim is one small process per replica incarnation (and one for the edge): it starts the program in a new
session, owns its output files and their rotation, writes its exit record, watches its memory limit and holds
listening sockets for it. It outlives the daemon. It speaks JSON lines on a unix socket (see backend/shim).
"""

from __future__ import annotations

import msgspec


class ListenSocket(msgspec.Struct, frozen=True, kw_only=True):
    """A TCP socket the shim binds and listens on before the program starts, inherited as descriptor `fd`."""

    name: str
    host: str
    port: int
    fd: int
    backlog: int = 4096


class InheritedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file opened for appending at each program start, inherited as descriptor `fd`.

    `{start}` in `path` becomes a number that rises with each start and survives the shim (zero-padded to 8).
    """

    path: str
    fd: int


class ShimSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a shim needs; no other source of configuration exists for it."""

    name: str
    workload: str
    argv: tuple[str, ...]
    env: dict[str, str] = {}
    cwd: str | None = None
    socket_path: str
    """The shim's control socket (short: it lives in the run directory)."""
    record_path: str
    """JSON record with the shim's pid, the program's pid and start time; removed after a clean `reap`."""
    exit_path: str
    """Where the ExitRecord of the last exit is written (atomically)."""
    log_dir: str
    """Output goes to `<log_dir>/current.log`, rotated to `<log_dir>/<first-line-ts-ns>.log`."""
    log_max_bytes: int = 10 * 1024 * 1024
    log_backups: int = 5
    memory_limit_bytes: int | None = None
    nice: int = 5
    listen: tuple[ListenSocket, ...] = ()
    files: tuple[InheritedFile, ...] = ()
    respawn: bool = False
    """Start the program again at once by ourselves when it dies (the edge); else exit after the record."""
    reload_argv: tuple[str, ...] = ()
    """Appended to argv on `reload`, with `{pid}` filled in (HAProxy: `-sf {pid}`)."""
    stop_signal: int = 15
    meta: dict[str, str] = {}
    """Copied verbatim into the record, so that a new daemon can rebuild its view (ports, revision, spec)."""
