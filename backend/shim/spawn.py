"""Starting one program: fork, place descriptors, die with the shim, exec.

Owns the code that runs between fork and exec, and the listening sockets and files a program inherits.
Linux only, single-threaded only.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from backend.contract.shim import InheritedFile, ListenSocket, ShimSpec

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_libc = ctypes.CDLL(None, use_errno=True)


class ExecFailed(Exception):
    """The program could not be executed; the text says which and why."""


class Started(msgspec.Struct, frozen=True):
    """A program that was executed, and the read ends of its output."""

    pid: int
    stdout: int
    stderr: int


def become_subreaper() -> None:
    """Descendants whose parent dies become our children, so that none is left a zombie or an orphan."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def fork_worker(work: Callable[[], None], nice: int, before: Callable[[], None] | None = None) -> int:
    """Fork a child that does `work` with no descriptor of ours, dies with us, and never returns. Returns its pid."""
    parent = os.getpid()
    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
    pid = os.fork()
    if pid == 0:
        try:
            _start_afresh(parent, nice)
            if before is not None:
                before()
            os.closerange(0, os.sysconf("SC_OPEN_MAX"))
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            work()
        finally:
            os._exit(1)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    return pid


def _start_afresh(parent: int, nice: int) -> None:
    """In a new child: signals as they were by default, and death with the parent."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
    if nice > os.getpriority(os.PRIO_PROCESS, 0):
        os.setpriority(os.PRIO_PROCESS, 0, nice)


def listen(sockets: tuple[ListenSocket, ...]) -> dict[int, socket.socket]:
    """Bind and listen on each; keyed by the descriptor number it is passed as. Raises OSError (filename = name)."""
    held: dict[int, socket.socket] = {}
    for wanted in sockets:
        family = socket.AF_INET6 if ":" in wanted.host else socket.AF_INET
        opened = socket.socket(family, socket.SOCK_STREAM)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            opened.bind((wanted.host, wanted.port))
            opened.listen(wanted.backlog)
        except OSError as error:
            opened.close()
            for other in held.values():
                other.close()
            raise OSError(error.errno, error.strerror, wanted.name) from error
        held[wanted.fd] = opened
    return held


def first_start_number(counter: Path, files: tuple[InheritedFile, ...]) -> int:
    """The highest start number used so far: from the counter file and from the files that carry one."""
    try:
        highest = int(counter.read_text())
    except (OSError, ValueError):
        highest = 0
    for file in files:
        path = Path(file.path)
        if "{start}" not in path.name:
            continue
        pattern = re.compile(re.escape(path.name).replace(re.escape("{start}"), r"(\d+)"))
        if path.parent.is_dir():
            found = (pattern.fullmatch(entry.name) for entry in path.parent.iterdir())
            highest = max([highest, *(int(match[1]) for match in found if match)])
    return highest


def open_files(files: tuple[InheritedFile, ...], start_number: int) -> dict[int, int]:
    """Open each for appending; keyed by the descriptor number it is passed as. Raises OSError.

    On a full disk the program gets /dev/null instead: it must run all the same.
    """
    opened: dict[int, int] = {}
    for file in files:
        path = Path(file.path.replace("{start}", f"{start_number:08d}"))
        flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            opened[file.fd] = os.open(path, flags | os.O_CREAT, 0o600)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            opened[file.fd] = os.open(os.devnull, flags)
    return opened


def start(
    spec: ShimSpec, argv: tuple[str, ...], inherited: dict[int, int], before_exec: Callable[[], None] | None = None
) -> Started:
    """Fork and exec `argv`; `inherited` maps target descriptor to ours. Returns after exec. Raises ExecFailed."""
    stdout_r, stdout_w = os.pipe()
    stderr_r, stderr_w = os.pipe()
    report_r, report_w = os.pipe()
    shim_pid = os.getpid()
    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
    pid = os.fork()
    if pid == 0:
        _become_program(spec, argv, {**inherited, 1: stdout_w, 2: stderr_w}, report_w, shim_pid, before_exec)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for descriptor in (stdout_w, stderr_w, report_w):
        os.close(descriptor)
    with os.fdopen(report_r, "rb") as report:
        failure = report.read().decode("utf-8", "replace")
    if failure:
        os.close(stdout_r)
        os.close(stderr_r)
        os.waitpid(pid, 0)
        raise ExecFailed(failure)
    return Started(pid, stdout_r, stderr_r)


def _become_program(
    spec: ShimSpec,
    argv: tuple[str, ...],
    descriptors: dict[int, int],
    report: int,
    shim_pid: int,
    before_exec: Callable[[], None] | None,
) -> None:
    """The child's side; never returns."""
    try:
        os.setpgid(0, 0)
        _start_afresh(shim_pid, spec.nice)
        if before_exec is not None:
            before_exec()
        report = _place(descriptors, report)
        if spec.cwd is not None:
            os.chdir(spec.cwd)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.execvpe(argv[0], argv, {**os.environ, **spec.env})  # noqa: S606 - no shell on purpose
    except FileNotFoundError as error:
        where = f"directory {spec.cwd}" if spec.cwd is not None and error.filename == spec.cwd else f"program {argv[0]}"
        os.write(report, f"There is no {where}.".encode())
    except OSError as error:
        os.write(report, f"{argv[0]} cannot be started: {error.strerror}.".encode())
    finally:
        os._exit(127)


def _place(descriptors: dict[int, int], report: int) -> int:
    """Put each descriptor on its number without clobbering another; returns where `report` is now."""
    floor = max(descriptors) + 1
    moved = {target: fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, floor) for target, source in descriptors.items()}
    report = fcntl.fcntl(report, fcntl.F_DUPFD_CLOEXEC, floor)
    for target, source in moved.items():
        os.dup2(source, target, inheritable=True)
    return report
