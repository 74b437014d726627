"""The generator as a program: a LoadSpec as JSON in (stdin or a file), messages as JSON lines out.

`python -m backend.load [--attached] [--nice N] [FILE]`. SIGTERM and SIGINT stop it gracefully, a second one at
once. Attached, it reads one line of JSON from stdin, stops at a `stop` line and ends at once when stdin closes.
Exit codes: 0 the run ended, 1 failed, 64 a wrong spec.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import gc
import os
import queue
import signal
import sys
import threading
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from backend.contract import exit_codes
from backend.contract.errors import FileError, TrinityError, UsageError
from backend.contract.rows import RequestRow
from backend.load.generator import run_load
from backend.load.messages import ErrorMessage, RowMessage, SummaryMessage, WireMessage, had_first_byte
from backend.load.spec import LoadSpec

MAX_SPEC_BYTES: Final = 4 * 1024 * 1024
PR_SET_PDEATHSIG: Final = 1


def main() -> None:
    """Run it; leaves with an exit code."""
    parser = argparse.ArgumentParser(prog="python -m backend.load", description="Open-loop load generator.")
    parser.add_argument("file", nargs="?", help="LoadSpec as JSON; stdin where absent")
    parser.add_argument("--attached", action="store_true", help="end when stdin closes")
    parser.add_argument("--nice", type=int, default=0, help="niceness (below 0 only where permitted)")
    arguments = parser.parse_args()
    if arguments.attached:
        _die_with_parent()
    if arguments.nice:
        with contextlib.suppress(PermissionError):
            os.nice(arguments.nice)
    writer = MessageWriter(1)
    code = exit_codes.OK
    try:
        spec = read_spec(arguments.file, attached=arguments.attached)
        # What stands now stays: collections during the run look at new objects only, which keeps arrivals on time.
        gc.collect()
        gc.freeze()
        uvloop.run(_run(spec, writer, attached=arguments.attached))
    except TrinityError as error:
        writer.put(ErrorMessage(error=error.kind, message=error.message, next_step=error.next_step))
        code = error.exit_code
    writer.close()
    sys.exit(code)


def read_spec(file: str | None, *, attached: bool) -> LoadSpec:
    """The spec from a file, from all of stdin, or (attached) from its first line. Raises UsageError, FileError."""
    source = file or "stdin"
    try:
        if file is not None:
            data = Path(file).read_bytes()
        else:
            data = _first_line(0) if attached else sys.stdin.buffer.read(MAX_SPEC_BYTES)
    except OSError as error:
        raise FileError(source, f"the load specification cannot be read: {error.strerror}.", "Check it.") from None
    try:
        return msgspec.json.decode(data, type=LoadSpec)
    except msgspec.DecodeError as error:
        raise UsageError(f"The load specification in {source} is wrong: {error}.", "Correct it.") from None


def _first_line(descriptor: int) -> bytes:
    """Bytes up to the first line feed and not one more: what follows is for the event loop."""
    line = bytearray()
    while len(line) < MAX_SPEC_BYTES and (piece := os.read(descriptor, 1)) not in (b"", b"\n"):
        line += piece
    return bytes(line)


async def _run(spec: LoadSpec, writer: MessageWriter, *, attached: bool) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(exit_codes.INTERRUPTED)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    commands = asyncio.create_task(_obey_stdin(stop)) if attached else None

    def on_row(row: RequestRow) -> None:
        writer.put(RowMessage(row=row, had_first_byte=had_first_byte(row)))

    summary = await run_load(spec, on_row, writer.put, stop=stop)
    writer.put(SummaryMessage(summary=summary))
    if commands is not None:
        commands.cancel()


async def _obey_stdin(stop: asyncio.Event) -> None:
    """A `stop` line stops; the end of stdin means our parent is gone, and nobody would read the rest."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        if line.strip() == b"stop":
            stop.set()
    os._exit(exit_codes.INTERRUPTED)


def _die_with_parent() -> None:
    """Ask the kernel (Linux) to end this process with its parent; elsewhere the end of stdin does it."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class MessageWriter:
    """JSON lines to a descriptor from a thread: a slow reader never makes an arrival late."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._queue: queue.SimpleQueue[WireMessage | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="messages", daemon=True)
        self._thread.start()

    def put(self, message: WireMessage) -> None:
        """Take a message; returns at once."""
        self._queue.put(message)

    def close(self) -> None:
        """Return once everything is written or the reader is gone."""
        self._queue.put(None)
        self._thread.join()

    def _write(self) -> None:
        encode = msgspec.json.Encoder().encode
        while (message := self._queue.get()) is not None:
            data = memoryview(encode(message) + b"\n")
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
            except BrokenPipeError:
                os._exit(exit_codes.INTERRUPTED)
