"""The shim's loop: one selector over signals, pipes, timers and the control socket.

Owns the life of the program: start, respawn, reload, stop, and the files that tell of it.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import time
from pathlib import Path

import msgspec

from backend.contract.clock import Clock
from backend.contract.faults import FaultReport
from backend.contract.fleet import ExitRecord
from backend.contract.log_notes import STARTS
from backend.contract.shim import ShimSpec
from backend.shim import spawn
from backend.shim.child import Child
from backend.shim.control import Connection, ControlSocket
from backend.shim.faults.board import FaultBoard
from backend.shim.faults.catalogue import fault_for
from backend.shim.faults.full_disk import FileBound
from backend.shim.faults.held import Surroundings
from backend.shim.memory import CHECK_PERIOD_S, MemoryCgroup, descendants
from backend.shim.notes import write_note
from backend.shim.output import LogWriter
from backend.shim.protocol import Message, Request
from backend.shim.record import ShimRecord, start_ticks, write_atomic
from backend.shim.respawn import RespawnDelay, is_quick

_DEFAULT_GRACE_S = 10.0
_SWEEP_S = 0.005
_RELOAD_TRIAL_S = 5.0
"""A reloaded program that ends with an error code this soon did not take over: its predecessor stays."""


class Supervisor:
    """Runs one program as its spec says. `start` raises OSError or ExecFailed; `run` returns when all is over."""

    def __init__(self, spec: ShimSpec, clock: Clock) -> None:
        self._spec, self._clock = spec, clock
        self._selector = selectors.DefaultSelector()
        self._wake_r, self._wake_w = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._log_dir = Path(spec.log_dir)
        self._writer = LogWriter(self._log_dir, max_bytes=spec.log_max_bytes, backups=spec.log_backups)
        self._listening: dict[int, socket.socket] = {}
        self._control: ControlSocket | None = None
        self._current: Child | None = None
        self._old: list[Child] = []
        self._starts = 0
        self._start_number = 0
        self._started = (0.0, 0.0)
        self._delay = RespawnDelay()
        self._held = False
        self._stopping: list[tuple[Connection, int]] | None = None
        self._last_exit: ExitRecord | None = None
        self._keep_record = True
        self._done = False
        self._respawn_at: float | None = None
        self._kill_at: float | None = None
        self._memory_at: float | None = None
        self._bound = FileBound()
        around = Surroundings(
            program=lambda: self._current,
            memory_limit_bytes=spec.memory_limit_bytes,
            nice=spec.nice,
            log_dir=spec.log_dir,
            lost_lines=lambda: self._writer.lost,
            tell_losses=self._writer.tell_losses,
            bound_files=self._bound.set,
            mono=clock.mono,
        )
        self._faults = FaultBoard(lambda order: fault_for(order, around), clock.mono)

    def start(self) -> ShimRecord:
        """Bind, listen, start the program, open the control socket, write the record."""
        self._listening = spawn.listen(self._spec.listen)
        self._start_number = spawn.first_start_number(self._counter, self._spec.files)
        self._take_signals()
        spawn.become_subreaper()
        self._control = ControlSocket(self._spec.socket_path, self._selector, self._request)
        Path(self._spec.exit_path).unlink(missing_ok=True)
        try:
            # First without a program: what cannot be recorded must not be started.
            write_atomic(self._spec.record_path, msgspec.json.encode(self._record()))
            self._start_program(self._spec.argv)
        except (OSError, spawn.ExecFailed):
            Path(self._spec.record_path).unlink(missing_ok=True)
            self._control.finish()
            raise
        return self._write_record()

    def run(self) -> None:
        """Serve until the program ended for good, or `stop` or `reap` said so."""
        while not self._done:
            for key, mask in self._selector.select(self._timeout()):
                # What was seen together may be over by now: a reaped program's pipes are closed, and the next one's
                # may have their numbers.
                known = self._selector.get_map().get(key.fd)
                if known is not None and known.data == key.data:
                    key.data(mask)
            self._run_timers()
        self._finish()

    # -- signals and timers

    def _take_signals(self) -> None:
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda _number, _frame: None)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(self._wake_w)
        self._selector.register(self._wake_r, selectors.EVENT_READ, self._signalled)

    def _signalled(self, _mask: int) -> None:
        with contextlib.suppress(BlockingIOError):
            if signal.SIGTERM in os.read(self._wake_r, 4096):
                self._stop(_DEFAULT_GRACE_S)
        self._reap_children()

    def _timeout(self) -> float | None:
        timers = (self._respawn_at, self._kill_at, self._memory_at, self._faults.due_s())
        due = [at for at in timers if at is not None]
        return max(0.0, min(due) - self._clock.mono()) if due else None

    def _run_timers(self) -> None:
        now = self._clock.mono()
        if self._kill_at is not None and now >= self._kill_at:
            self._kill_at = None
            for child in self._children():
                child.signal_group(signal.SIGKILL)
        if self._memory_at is not None and now >= self._memory_at:
            self._memory_at = now + CHECK_PERIOD_S
            for child in self._children():
                child.check_memory()
        self._faults.run()
        if self._respawn_at is not None and now >= self._respawn_at:
            self._respawn_at = None
            if self._start_again():
                self._tell_start()

    # -- the program

    @property
    def _counter(self) -> Path:
        return self._log_dir / "starts"

    def _children(self) -> list[Child]:
        return [*self._old, *([self._current] if self._current else [])]

    def _start_program(self, argv: tuple[str, ...]) -> None:
        with self._bound.lifted():  # the program must not inherit it
            self._start_unbound(argv)

    def _start_unbound(self, argv: tuple[str, ...]) -> None:
        self._starts += 1
        self._start_number += 1
        with contextlib.suppress(OSError):  # a full disk must not stop the program; file names carry the number too
            self._log_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomic(self._counter, str(self._start_number).encode())
        write_note(self._log_dir / STARTS, self._start_number, time.time_ns())  # the clock that stamps its lines
        limit = self._spec.memory_limit_bytes
        cgroup = MemoryCgroup.create(self._spec.name, limit) if limit is not None else None
        files = spawn.open_files(self._spec.files, self._start_number)
        inherited = {fd: held.fileno() for fd, held in self._listening.items()} | files
        try:
            started = spawn.start(self._spec, argv, inherited, cgroup.join if cgroup else None)
        except spawn.ExecFailed:
            if cgroup is not None:
                cgroup.remove()
            raise
        finally:
            for descriptor in files.values():
                os.close(descriptor)
        self._current = Child(started, self._spec, self._writer, self._selector, self._clock, cgroup)
        self._started = (self._current.started_ts, self._current.started_mono)
        if limit is not None:
            self._memory_at = self._clock.mono() + CHECK_PERIOD_S

    def _start_again(self) -> bool:
        """Start the program anew; a failure counts as an exit and is tried again later."""
        try:
            self._start_program(self._spec.argv)
        except (OSError, spawn.ExecFailed) as error:
            now = self._clock.mono()
            self._tell_exit(
                ExitRecord(ts=self._clock.now(), mono_s=now, code=127, reason="Error", last_lines=(str(error),))
            )
            self._respawn_at = now + max(0.1, self._delay.after_exit(now, quick=True))
            return False
        return True

    def _reap_children(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if os.WIFSTOPPED(status):  # a thread that a fault holds; it has not ended
                self._faults.thread_stopped(pid, status)
                continue
            for child in self._children():
                if child.pid == pid:
                    self._ended(child, child.ended(status, usage))

    def _ended(self, child: Child, record: ExitRecord) -> None:
        self._faults.program_ended(child.pid)
        if child is not self._current:
            self._old.remove(child)
        else:
            self._current = None
            started_again = False
            predecessor = self._old[-1] if self._old else None
            lived_s = self._clock.mono() - child.started_mono
            if predecessor is not None and record.code and lived_s < _RELOAD_TRIAL_S and self._stopping is None:
                self._current = self._old.pop()
            elif self._spec.respawn and self._stopping is None and not self._held:
                delay_s = self._delay.after_exit(self._clock.mono(), quick=is_quick(record, lived_s))
                if delay_s:
                    self._respawn_at = self._clock.mono() + delay_s
                else:
                    started_again = self._start_again()
            self._tell_exit(record)
            if started_again:
                self._tell_start()
        if not self._children():
            self._memory_at = None
            if self._stopping is not None or not self._spec.respawn:
                self._done = True

    def _tell_start(self) -> None:
        assert self._control is not None
        self._control.push(Message(event="started", record=self._write_record()))

    def _tell_exit(self, record: ExitRecord) -> None:
        self._last_exit = record
        # The push still tells it; an unwritable run directory has no better reader.
        with contextlib.suppress(OSError), self._bound.lifted():
            write_atomic(self._spec.exit_path, msgspec.json.encode(record))
        assert self._control is not None
        self._control.push(Message(event="exited", exit=record, record=self._write_record()))

    def _end_descendants(self) -> None:
        """End what left its process group or session: as subreaper we are its parent by now."""
        while True:
            for pid in descendants(os.getpid())[1:]:  # the kernel may leave some out while others end
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            try:
                reaped, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not reaped:
                time.sleep(_SWEEP_S)

    # -- requests

    def _request(self, connection: Connection, request: Request) -> None:
        if request.op == "stop":
            self._stop(request.grace_s, connection, request.id)
            return
        if request.op in ("fault", "heal", "faults"):
            self._fault_request(connection, request)
            return
        error = ""
        if request.op == "signal":
            error = self._signal(request.signum)
        elif request.op == "reload":
            error = self._reload()
        elif request.op == "hold":
            self._hold(request.on)
        elif request.op == "reap":
            error = "The program is still running." if self._children() else ""
            self._done = self._done or not error
            self._keep_record = self._keep_record and bool(error)
        connection.send(Message(id=request.id, error=error, record=self._write_record(), exit=self._last_exit))

    def _fault_request(self, connection: Connection, request: Request) -> None:
        """What a holder of faults is asked; some answers wait until the kernel shows the effect."""

        def reply(faults: tuple[FaultReport, ...], error: str) -> None:
            connection.send(Message(id=request.id, error=error, faults=faults))

        if request.op == "heal":
            self._faults.heal(request.fault_id, reply)
        elif request.op == "faults":
            reply(self._faults.reports(), "")
        elif request.order is None:
            reply((), "A fault needs an order.")
        elif self._stopping is not None:
            reply((), "It is being stopped.")
        else:
            self._faults.apply(request.order, reply)

    def _signal(self, number: int) -> str:
        if self._current is None:
            return "The program is not running."
        if number not in signal.valid_signals():
            return f"{number} is not a signal."
        os.kill(self._current.pid, number)
        return ""

    def _reload(self) -> str:
        before = self._current
        if before is None:
            return "The program is not running."
        added = tuple(word.replace("{pid}", str(before.pid)) for word in self._spec.reload_argv)
        try:
            self._start_program(self._spec.argv + added)
        except (OSError, spawn.ExecFailed) as error:
            return str(error)
        self._old.append(before)
        self._tell_start()
        return ""

    def _hold(self, on: bool) -> None:
        self._held = on
        if on:
            self._respawn_at = None
        elif self._current is None and self._spec.respawn and self._stopping is None:
            self._respawn_at = self._clock.mono()

    def _stop(self, grace_s: float, connection: Connection | None = None, request_id: int = 0) -> None:
        first = self._stopping is None
        self._faults.heal_all()  # a program that is stopped, frozen or out of descriptors could not end in order
        waiting = self._stopping or []
        self._stopping = [*waiting, (connection, request_id)] if connection else waiting
        self._respawn_at = None
        self._keep_record = False
        kill_at = self._clock.mono() + grace_s
        self._kill_at = kill_at if self._kill_at is None else min(self._kill_at, kill_at)
        for child in self._children():
            child.reason = child.reason or "Stopped"
            if first:
                os.kill(child.pid, self._spec.stop_signal)
                os.kill(child.pid, signal.SIGCONT)
        if not self._children():
            self._done = True

    # -- files

    def _write_record(self) -> ShimRecord:
        record = self._record()
        # Answered over the socket all the same.
        with contextlib.suppress(OSError), self._bound.lifted():
            write_atomic(self._spec.record_path, msgspec.json.encode(record))
        return record

    def _record(self) -> ShimRecord:
        current = self._current
        return ShimRecord(
            shim_pid=os.getpid(),
            shim_start=start_ticks(os.getpid()) or 0,
            pid=current.pid if current else None,
            pid_start=current.start_ticks if current else None,
            starts=self._starts,
            start_number=self._start_number,
            started_ts=self._started[0],
            started_mono=self._started[1],
            held=self._held,
            spec=self._spec,
        )

    def _finish(self) -> None:
        assert self._control is not None
        self._end_descendants()
        if self._last_exit is None:
            self._last_exit = ExitRecord(ts=self._clock.now(), reason="Stopped")
        for connection, request_id in self._stopping or []:
            connection.send(Message(id=request_id, exit=self._last_exit))
        if not self._keep_record:
            Path(self._spec.record_path).unlink(missing_ok=True)
        self._writer.close()
        self._control.finish()
        for held in self._listening.values():
            held.close()
