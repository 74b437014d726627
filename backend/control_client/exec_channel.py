"""The socket of one exec session, from its user's side.

Owns one connection and its frames. Starts no program and knows no terminal.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec

from backend.contract.control import ErrorInfo
from backend.contract.errors import InternalError, Unreachable, from_wire
from backend.contract.exec_frames import CODE, LARGEST, SIZE, ExecFrame, encode_frame, read_frame


class ExecChannel:
    """Make one by `ControlClient.exec`. Leaving it ends the program."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.exit_code: int | None = None
        """The program's, once `output` has ended."""

    @classmethod
    async def connect(cls, socket: Path) -> ExecChannel:
        """Raises Unreachable."""
        try:
            return cls(*await asyncio.open_unix_connection(socket))
        except OSError as error:
            raise Unreachable(f"The program's session is gone: {error.strerror or error}.", "Start it again.") from None

    async def write(self, data: bytes) -> None:
        """To the program's input; waits while it takes no more."""
        for at in range(0, len(data), LARGEST):
            await self._send(ExecFrame.INPUT, data[at : at + LARGEST])

    async def end(self) -> None:
        """Its input has ended."""
        await self._send(ExecFrame.END)

    async def resize(self, columns: int, rows: int) -> None:
        """Its terminal has that size now."""
        await self._send(ExecFrame.RESIZE, SIZE.pack(min(columns, 65535), min(rows, 65535)))

    async def output(self) -> AsyncGenerator[bytes, None]:
        """What it writes, to its end. Raises Unreachable where the session broke off, and the daemon's own error where
        the program was lost."""
        while True:
            try:
                frame = await read_frame(self._reader)
            except ValueError as error:
                raise InternalError(f"The daemon's answer was not understood: {error}.", "See its log.") from None
            if frame is None:
                raise Unreachable("The session broke off: the daemon or the replica is gone.", "See `trinity ps`.")
            kind, payload = frame
            if kind == ExecFrame.OUTPUT:
                yield payload
            elif kind == ExecFrame.EXIT:
                self.exit_code = CODE.unpack(payload)[0]
                return
            elif kind == ExecFrame.ERROR:
                info = msgspec.json.decode(payload, type=ErrorInfo)
                raise from_wire(info.kind, info.message, info.next_step)

    async def close(self) -> None:
        """Leave. Idempotent."""
        self._writer.close()

    async def _send(self, kind: ExecFrame, payload: bytes = b"") -> None:
        """A program that has ended takes no more: its end comes by `output`."""
        try:
            self._writer.write(encode_frame(kind, payload))
            await self._writer.drain()
        except ConnectionError:
            return
