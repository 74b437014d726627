"""The generator as a child process of its own: start it, read its messages, stop it.

Owns the child's life. The child ends when it is told to, when its schedule ends, or when this process dies (its
stdin closes, and on Linux the kernel ends it): it leaves no orphan.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from typing import Final

import msgspec

from backend.contract.errors import InternalError, TrinityError, from_wire
from backend.load.messages import ErrorMessage, LoadMessage, LoadSummary, SummaryMessage, WireMessage
from backend.load.spec import LoadSpec, check_spec

LINE_LIMIT: Final = 1024 * 1024
STOP_MARGIN_S: Final = 5.0
STOP_LINE: Final = b"stop\n"

_decode: Final = msgspec.json.Decoder(WireMessage)


class LoadProcess:
    """A running generator. Iterate over it for its messages; the summary is the last one."""

    def __init__(self, spec: LoadSpec, process: asyncio.subprocess.Process) -> None:
        """Use `start`."""
        self.spec = spec
        self._process = process
        self._messages: asyncio.Queue[LoadMessage | None] = asyncio.Queue()
        self._end: asyncio.Future[LoadSummary] = asyncio.get_running_loop().create_future()
        # Somebody may never ask for the end; its failure is then no news to anyone.
        self._end.add_done_callback(lambda end: end.cancelled() or end.exception())
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, spec: LoadSpec, *, nice: int = 0) -> LoadProcess:
        """Start the child at this niceness. Raises UsageError for a wrong spec before anything is started."""
        check_spec(spec)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "backend.load",
            "--attached",
            "--nice",
            str(nice),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_LIMIT,
        )
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(spec) + b"\n")
        return cls(spec, process)

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    @property
    def finished(self) -> bool:
        """Whether its summary (or its failure) is known."""
        return self._end.done()

    async def __aiter__(self) -> AsyncIterator[LoadMessage]:
        """Messages in order until the summary. Raises TrinityError when the child failed. One reader only."""
        while (message := await self._messages.get()) is not None:
            yield message
        self._end.result()

    async def wait(self) -> LoadSummary:
        """The summary, once the schedule has ended. Raises TrinityError when the child failed."""
        return await asyncio.shield(self._end)

    async def stop(self, grace_s: float | None = None) -> LoadSummary:
        """No more arrivals; requests in flight finish within `grace_s` (default the spec's), then the summary.

        Idempotent. Raises TrinityError when the child failed; it is gone in every case.
        """
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(ConnectionError, RuntimeError):
            if not self.finished:
                stdin.write(STOP_LINE)
                await stdin.drain()
        wait_s = (self.spec.grace_s if grace_s is None else grace_s) + STOP_MARGIN_S
        try:
            async with asyncio.timeout(wait_s):
                return await asyncio.shield(self._end)
        except TimeoutError:
            await self.kill()
            if self._end.exception() is None:
                return self._end.result()  # it had stopped in time: we are who was late to hear of it
            raise InternalError(
                f"The load generator did not stop within {wait_s:g} s.", "It was killed; start the load again."
            ) from None
        finally:
            await self.kill()

    async def kill(self) -> None:
        """End the child at once if it still runs, and wait until it is gone."""
        with contextlib.suppress(ProcessLookupError):
            if self._process.returncode is None:
                if not self.finished:
                    self._process.kill()
                await self._process.wait()
        await asyncio.wait({self._reader})

    async def _read(self) -> None:
        failure: TrinityError | None = None
        summary: LoadSummary | None = None
        assert self._process.stdout is not None
        try:
            async for line in self._process.stdout:
                message = _decode.decode(line)
                if isinstance(message, ErrorMessage):
                    failure = from_wire(message.error, message.message, message.next_step)
                    continue
                if isinstance(message, SummaryMessage):
                    summary = message.summary
                self._messages.put_nowait(message)
        except (msgspec.DecodeError, ValueError) as error:
            failure = InternalError(f"The load generator wrote a line that is no message: {error}.")
        finally:
            code = await self._process.wait()
            if not self._end.done():
                if summary is not None:
                    self._end.set_result(summary)
                else:
                    self._end.set_exception(
                        failure or InternalError(f"The load generator ended with code {code} before its summary.")
                    )
            self._messages.put_nowait(None)
