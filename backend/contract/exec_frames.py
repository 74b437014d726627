"""What goes over the socket of one exec session: a byte that says what it is, four of length (big-endian), that many.

| kind | direction | payload |
|---|---|---|
| INPUT | to the program | bytes of its input |
| END | to the program | nothing: its input has ended |
| RESIZE | to the program | columns and rows of its terminal, two bytes each (big-endian) |
| OUTPUT | from the program | what it wrote, both streams together |
| EXIT | from the program | its exit code, four bytes, signed; the last frame |
| ERROR | from the program | an ErrorInfo as JSON: it was lost; the last frame |
"""

from __future__ import annotations

import asyncio
import struct
from enum import IntEnum
from typing import Final

HEAD: Final = struct.Struct(">BI")
SIZE: Final = struct.Struct(">HH")
CODE: Final = struct.Struct(">i")
LARGEST: Final = 1024 * 1024
"""Bytes of one payload."""


class ExecFrame(IntEnum):
    """What a frame is."""

    INPUT = 0
    END = 1
    RESIZE = 2
    OUTPUT = 3
    EXIT = 4
    ERROR = 5


def encode_frame(kind: ExecFrame, payload: bytes = b"") -> bytes:
    """One frame. Raises ValueError for a payload that is too large."""
    if len(payload) > LARGEST:
        raise ValueError(f"{len(payload)} bytes do not fit into one frame")
    return HEAD.pack(kind, len(payload)) + payload


async def read_frame(reader: asyncio.StreamReader) -> tuple[ExecFrame, bytes] | None:
    """The next frame; null where the other side left, between frames or within one. Raises ValueError for what is no
    frame."""
    try:
        kind, length = HEAD.unpack(await reader.readexactly(HEAD.size))
        if length > LARGEST:
            raise ValueError(f"a frame of {length} bytes")
        return ExecFrame(kind), await reader.readexactly(length) if length else b""
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
