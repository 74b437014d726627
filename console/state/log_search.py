"""A search through everything that is held: newest first, in a process of its own, which a cancel ends at once.

Owns that process, what it is handed (a copy of the blocks in memory, descriptors of those on disk) and what it found.
A pattern that never ends costs a core until it is cancelled, never the screen.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from array import array
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from console.state.log_head import LogKey
from console.state.log_query import LogQuery
from console.state.log_scan import REPORT, BlockTask, ScanTask
from console.state.log_stream import LogStream

KEPT_MATCHES: Final = 250_000
"""Newest matches whose place is kept; older ones are counted only."""
_BUFFER: Final = 1024 * 1024
_START: Final = "import sys; sys.path[:] = sys.argv[1:]; from console.state.log_scan import main; main()"


class LogSearch:
    """Matches so far, in order, newest first: what is found later is always older. Safe to read from any thread."""

    def __init__(self, pattern: str, query: LogQuery, streams: Sequence[LogStream]) -> None:
        self.pattern, self.query = pattern, query
        self.scanned = 0
        self.total = sum(stream.held for stream in streams)
        self.count = 0
        """Matching lines found; `matches` keeps the newest KEPT_MATCHES of them."""
        self.error = ""
        self.cancelled = False
        self._ts, self._stream, self._number = array("d"), array("I"), array("Q")
        self._began = time.perf_counter()
        self._took: float | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._fds: dict[int, int] = {}
        memory: list[bytes | bytearray] = []
        tasks = {stream.number: self._blocks(stream, memory) for stream in streams if stream.blocks}
        self._thread = threading.Thread(target=self._run, args=(memory, tasks), name="log search", daemon=True)
        self._thread.start()

    def _blocks(self, stream: LogStream, memory: list[bytes | bytearray]) -> list[BlockTask]:
        """Called while the store is held still: full blocks never change again, the others are copied now."""
        tasks = []
        for block in stream.blocks:
            fd, at = -1, block.at
            if block.data is not None:
                memory.append(block.data if block.full else bytes(block.data))
            else:
                assert block.file is not None
                fd = self._fds.get(block.file.fd, -1)
                if fd < 0:
                    fd = self._fds[block.file.fd] = os.dup(block.file.fd)
            place = (block.first_number, block.lines, block.first_stamp, block.last_stamp, block.odd)
            tasks.append((fd, at, block.size, *place))
        return tasks

    # -- what is known ---------------------------------------------------------------------------------------

    @property
    def done(self) -> bool:
        """Whether it ended: all seen, cancelled or failed (`error`)."""
        return self._took is not None

    @property
    def rate_lines_per_s(self) -> float:
        """Lines scanned a second, since the search was asked for."""
        took = self._took if self._took is not None else time.perf_counter() - self._began
        return self.scanned / took if took > 0 else 0.0

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return self._took if self._took is not None else time.perf_counter() - self._began

    def matches(self) -> list[LogKey]:
        """The kept ones so far, newest first."""
        with self._lock:
            return list(zip(self._ts, self._stream, self._number, strict=True))

    def rank(self, key: LogKey) -> int | None:
        """Which match a key is, the newest being 1; None where it is none that is known."""
        with self._lock:
            at = self._newer_than(key)
            return at + 1 if at < len(self._ts) and self._key(at) == key else None

    def next(self, key: LogKey | None, direction: int) -> LogKey | None:
        """The nearest match older (direction < 0) or newer than a key; None while none is known.

        Without a key: the newest match, or the oldest known one."""
        with self._lock:
            size = len(self._ts)
            if key is None:
                return self._key(0 if direction < 0 else size - 1) if size else None
            at = self._newer_than(key)
            if direction > 0:
                return self._key(at - 1) if at else None
            if at < size and self._key(at) == key:
                at += 1
            return self._key(at) if at < size else None

    def _newer_than(self, key: LogKey) -> int:
        """How many known matches are newer than a key."""
        low, high = 0, len(self._ts)
        while low < high:
            middle = (low + high) // 2
            if self._key(middle) > key:
                low = middle + 1
            else:
                high = middle
        return low

    def _key(self, index: int) -> LogKey:
        return self._ts[index], self._stream[index], self._number[index]

    def wait(self, timeout_s: float | None = None, *, matches: int | None = None) -> bool:
        """Wait for the end, or for that many matches: whether it came. Blocks, so never on the screen's loop."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self.done or (matches is not None and self.count >= matches), timeout_s
            )

    def cancel(self) -> None:
        """End it now; what was found stays."""
        with self._changed:
            if not self.done:
                self.cancelled = True
                self._end()
                if self._process is not None:
                    self._process.kill()

    # -- the process -----------------------------------------------------------------------------------------

    def _run(self, memory: list[bytes | bytearray], tasks: dict[int, list[BlockTask]]) -> None:
        held = list(self._fds.values())
        try:
            memory_fd = _memory_file()
            held.append(memory_fd)
            process = self._start(held)
            if process is not None:
                with process, ThreadPoolExecutor(1, "log search copy") as beside:
                    placed, order = _with_memory(tasks, memory_fd)
                    self._hand_over(process, memory_fd, placed)
                    copied = beside.submit(self._copy, process, memory_fd, memory, order)
                    said = self._follow(process)
                    copied.result()
                self._fail(_words(process.returncode, said))
        except OSError as error:
            self._fail(f"The search could not run: {error.strerror or error}.")
        finally:
            for fd in held:
                os.close(fd)

    def _start(self, held: list[int]) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self.done:
                return None
            self._process = subprocess.Popen(
                [sys.executable, *_options(), "-c", _START, *filter(None, sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=held,
                bufsize=0,
            )
            return self._process

    def _hand_over(self, process: subprocess.Popen[bytes], memory_fd: int, placed: dict[int, list[BlockTask]]) -> None:
        """Tell the process what to do."""
        assert process.stdin is not None
        query = self.query
        levels = None if query.levels is None else sorted(query.levels)
        wanted = (self.pattern, list(query.include), list(query.exclude), levels)
        task: ScanTask = (*wanted, query.since_ts, query.until_ts, KEPT_MATCHES, memory_fd, placed)
        text = marshal.dumps(task)
        # Its standard input stays open: the end of it is how the process learns that we are gone.
        with contextlib.suppress(BrokenPipeError):  # it has ended: following it says why
            _write_all(process.stdin.fileno(), struct.pack("<Q", len(text)) + text)

    def _copy(
        self, process: subprocess.Popen[bytes], memory_fd: int, memory: list[bytes | bytearray], order: list[int]
    ) -> None:
        """Copy what is in memory while the process works and is followed: the newest block comes first."""
        try:
            for index in order:
                if self.done:
                    break
                _write_all(memory_fd, memory[index])
        except OSError:
            process.kill()
            raise
        finally:
            memory.clear()

    def _follow(self, process: subprocess.Popen[bytes]) -> bytes:
        """Take its reports until it ends. Returns what it said on its standard error."""
        assert process.stdout is not None
        assert process.stderr is not None
        while (head := _read_exactly(process.stdout.fileno(), REPORT.size)) is not None:
            places, scanned, count, ended = REPORT.unpack(head)
            body = _read_exactly(process.stdout.fileno(), places * 20)
            if body is None:
                break
            with self._changed:
                self._ts.frombytes(body[: places * 8])
                self._number.frombytes(body[places * 8 : places * 16])
                self._stream.frombytes(body[places * 16 :])
                self.scanned, self.count = scanned, count
                if ended:
                    self._end()
                self._changed.notify_all()
        return b"" if self.done else process.stderr.read()

    def _fail(self, sentence: str) -> None:
        with self._changed:
            if not self.done:
                self.error = sentence
                self._end()

    def _end(self) -> None:
        self._took = time.perf_counter() - self._began
        self._changed.notify_all()


def _options() -> list[str]:
    """Nothing of the environment but where byte code is kept: without it each start would compile."""
    options = ["-ISE", *(["-B"] if sys.dont_write_bytecode else [])]
    return [*options, *(["-X", f"pycache_prefix={sys.pycache_prefix}"] if sys.pycache_prefix else [])]


def _words(code: int, said: bytes) -> str:
    if code < 0:
        return f"The search process was ended by {signal.Signals(-code).name}."
    last = said.decode("utf-8", "replace").strip().splitlines()[-1:]
    return f"The search process ended with {code}: {last[0] if last else 'it said nothing'}."


def _with_memory(tasks: dict[int, list[BlockTask]], fd: int) -> tuple[dict[int, list[BlockTask]], list[int]]:
    """Blocks without a file are in this one, one after the other, in an order that is told: the newest first."""
    stamps = [block[6] for blocks in tasks.values() for block in blocks if block[0] < 0]
    sizes = [block[2] for blocks in tasks.values() for block in blocks if block[0] < 0]
    order = sorted(range(len(stamps)), key=stamps.__getitem__, reverse=True)
    starts = [0] * len(sizes)
    at = 0
    for index in order:
        starts[index], at = at, at + sizes[index]
    place = iter(starts)
    placed = {
        number: [(fd, next(place), *block[2:]) if block[0] < 0 else block for block in blocks]
        for number, blocks in tasks.items()
    }
    return placed, order


def _memory_file() -> int:
    make = getattr(os, "memfd_create", None)
    if make is not None:
        return int(make("log-search"))
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _write_all(fd: int, data: bytes | bytearray) -> None:
    with memoryview(data) as view:
        done = 0
        while done < len(view):
            done += os.write(fd, view[done:])


def _read_exactly(fd: int, size: int) -> bytes | None:
    """That many bytes, or None where the writer ended before."""
    parts: list[bytes] = []
    while size > 0:
        part = os.read(fd, min(size, _BUFFER))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
