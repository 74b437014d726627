"""Two short lists beside a replica's log files: when its program was started, and how many lines a rotated file had.

So a reader knows which life a line belongs to, and how many lines it lost with a file that was deleted unread. A note
is a line of two whole numbers. Owns names and shape; never touches files.
"""

from __future__ import annotations

from typing import Final

STARTS: Final = "starts.list"
"""`<start number> <POSIX nanoseconds>` a start: lines from that instant on are of that life."""
ROTATED: Final = "rotated.list"
"""`<name of the rotated file without .log> <lines in it>` a rotation, written before anything is deleted."""


def note(first: int, second: int) -> bytes:
    """A note as it is written."""
    return b"%d %d\n" % (first, second)


def read_notes(text: bytes) -> list[tuple[int, int]]:
    """Notes in the order they were written; a torn or foreign line is left out."""
    found = []
    for line in text.split(b"\n")[:-1]:
        first, _, second = line.partition(b" ")
        if first.isdigit() and second.isdigit():
            found.append((int(first), int(second)))
    return found
