"""Bytes of a watch as whole lines, however they were cut into chunks. Pure; reads no JSON."""

from __future__ import annotations

from typing import Final

MAX_LINE: Final = 16 * 2**20
"""Objects of an API server are smaller than 2 MiB; a longer line comes from something else."""


class Garbage(Exception):
    """What came is no watch."""


class LineSplitter:
    """Feed it chunks in order."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._kept = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that are whole now, without their ends; empty lines are left out. Raises Garbage."""
        head, newline, rest = chunk.partition(b"\n")
        self._kept += len(head)
        if self._kept > MAX_LINE:
            raise Garbage(f"a line of more than {MAX_LINE} bytes")
        self._parts.append(head)
        if not newline:
            return []
        first = b"".join(self._parts)
        *lines, tail = rest.split(b"\n")
        self._parts, self._kept = [tail], len(tail)
        return [line for line in (first, *lines) if line.strip()]
