"""The lines of one life of a replica, in blocks of bytes: taking them in, and where a line stands. Owns no files.

What comes is checked once for the fixed head and for rising stamps, and kept as it is; only what fails (parts of long
lines, foreign text, a clock that went back) is read line by line and written anew.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from backend.contract.log_lines import MAX_MESSAGE_BYTES, Joiner, Piece
from console.state.log_block import LogBlock
from console.state.log_head import HEAD, PLAIN_HEADS, STAMP
from console.state.log_line import held_line

BLOCK_BYTES: Final = 256 * 1024


class LogStream:
    """Blocks of one life, oldest first, and its counts."""

    def __init__(self, number: int, replica: str, incarnation: int) -> None:
        self.number, self.replica, self.incarnation = number, replica, incarnation
        self.blocks: deque[LogBlock] = deque()
        self.received = 0
        self.dropped = 0
        self.spilled = 0
        self.lost = 0
        self._rest = b""
        self._joiner: Joiner | None = None
        self._last_stamp = b""

    @property
    def held(self) -> int:
        return self.received - self.dropped

    @property
    def first_ts(self) -> float | None:
        return self.blocks[0].first_ts if self.blocks else None

    @property
    def last_ts(self) -> float | None:
        return self.blocks[-1].last_ts if self.blocks else None

    def add(self, data: bytes, *, full_at: int) -> tuple[int, int, LogBlock | None]:
        """Take stored lines; a last one without newline waits for the rest of it.

        Returns how many messages and bytes came, and a block that this filled."""
        if self._rest:
            data = self._rest + data
            self._rest = b""
        head = data[:HEAD]
        if self._joiner is None and head[:STAMP] >= self._last_stamp and _one_head(data, head):
            return self._keep(data, data.count(b"\n"), head[:STAMP], head[:STAMP], odd=False, full_at=full_at)
        lines = data.split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > MAX_MESSAGE_BYTES * 2:  # no line of ours: it must not grow for ever
            lines.append(self._rest)
            data, self._rest = data + b"\n", b""
        if not lines:
            return 0, 0, None
        if self._rest:
            data = data[: -len(self._rest)]
        heads = [line[:HEAD] for line in lines]
        if self._joiner is None and heads[0][:STAMP] >= self._last_stamp and _rising(heads):
            return self._keep(data, len(lines), heads[0][:STAMP], heads[-1][:STAMP], odd=False, full_at=full_at)
        return self._take_one_by_one(lines, full_at)

    def finish(self, *, full_at: int) -> tuple[int, int, LogBlock | None]:
        """Nothing more comes: what waits for its end is taken as it is."""
        pieces: list[Piece] = []
        joiner, rest = self._joiner, self._rest
        self._joiner, self._rest = None, b""
        if rest:
            joiner = joiner or Joiner()
            piece = joiner.feed(rest)
            pieces += [piece] if piece is not None else []
        pieces += joiner.rest() if joiner is not None else ()
        return self._keep_pieces(pieces, full_at)

    def _take_one_by_one(self, lines: list[bytes], full_at: int) -> tuple[int, int, LogBlock | None]:
        joiner = self._joiner or Joiner(self.last_ts or 0.0)
        pieces = [piece for line in lines if (piece := joiner.feed(line)) is not None]
        self._joiner = joiner if joiner.waiting else None
        return self._keep_pieces(pieces, full_at)

    def _keep_pieces(self, pieces: list[Piece], full_at: int) -> tuple[int, int, LogBlock | None]:
        if not pieces:
            return 0, 0, None
        held: list[bytes] = []
        last = self._last_stamp
        odd = False
        for piece in pieces:
            line = held_line(piece, last)
            last = line[:STAMP]
            odd = odd or line[HEAD - 2 : HEAD - 1] == b"B"
            held.append(line)
        held.append(b"")
        return self._keep(b"\n".join(held), len(pieces), held[0][:STAMP], last, odd=odd, full_at=full_at)

    def _keep(
        self, data: bytes, count: int, first: bytes, last: bytes, *, odd: bool, full_at: int
    ) -> tuple[int, int, LogBlock | None]:
        block = self.blocks[-1] if self.blocks else None
        if block is None or block.full:
            block = LogBlock(self.number, self.received, first)
            block.data = bytearray()
            self.blocks.append(block)
        assert block.data is not None
        block.data += data
        block.size += len(data)
        block.lines += count
        block.last_stamp = self._last_stamp = last
        block.odd = block.odd or odd
        self.received += count
        block.full = block.size >= full_at
        return count, len(data), block if block.full else None


def _one_head(data: bytes, head: bytes) -> bool:
    """Whether all lines have this plain head: what a shim reads at once has one stamp. Costs a count, no list."""
    last = data.rfind(b"\n", 0, -1) + 1
    return (
        head[STAMP:] in PLAIN_HEADS
        and data[last : last + HEAD] == head
        and data.endswith(b"\n")
        and data.count(b"\n" + head) == data.count(b"\n") - 1
    )


def _rising(heads: list[bytes]) -> bool:
    """Whether all heads are plain and their stamps rise. The same head stands on many lines."""
    if not all(head[STAMP:] in PLAIN_HEADS for head in set(heads)):
        return False
    if heads == sorted(heads):
        return True
    stamps = [head[:STAMP] for head in heads]  # stdout and stderr in turns
    return stamps == sorted(stamps)
