"""A pretended shell in a pretended replica: says back what is typed, ends at `exit`. Runs no program."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

PROMPT: Final = b"\r\n$ "


class SimExec:
    """See `ExecSession`."""

    def __init__(self, replica: str) -> None:
        self.exit_code: int | None = None
        self._said: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._line = b""
        self._said.put_nowait(f"A pretended shell in {replica}. `exit` leaves it.".encode() + PROMPT)

    async def write(self, data: bytes) -> None:
        for at in range(len(data)):
            key = data[at : at + 1]
            if key not in (b"\r", b"\n"):
                self._line += key
                self._said.put_nowait(key)
                continue
            word, self._line = self._line.strip(), b""
            if word.split()[:1] == [b"exit"]:
                await self._end(int(word.split()[1]) if len(word.split()) > 1 else 0)
                return
            self._said.put_nowait((b"\r\n" + word if word else b"") + PROMPT)

    async def end(self) -> None:
        await self._end(0)

    async def _end(self, code: int) -> None:
        self.exit_code = code
        self._said.put_nowait(None)

    async def resize(self, columns: int, rows: int) -> None:
        self._said.put_nowait(f"\r\n[{columns}x{rows}]".encode())

    async def output(self) -> AsyncGenerator[bytes, None]:
        while (data := await self._said.get()) is not None:
            yield data

    async def close(self) -> None:
        self._said.put_nowait(None)
