"""What a fault held by a shim is: applied, read back, taken away, read back again.

Owns the shape that all of them share. Applies nothing itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import ClassVar, Protocol

import msgspec


class FaultError(Exception):
    """A fault that cannot be applied; the text is a sentence for people. Nothing was changed."""


class Counted(Protocol):
    """A running program to whose memory limit another process can be counted."""

    pid: int

    def count(self, pid: int) -> None: ...

    def join_cgroup(self) -> None: ...


class Surroundings(msgspec.Struct, frozen=True):
    """What a fault may touch, of the shim it is held by."""

    program: Callable[[], Counted | None]
    """The running program; null while there is none."""
    memory_limit_bytes: int | None
    nice: int
    log_dir: str
    lost_lines: Callable[[], int]
    tell_losses: Callable[[], None]
    bound_files: Callable[[bool], None]
    """On: no file of the shim may take a byte."""
    mono: Callable[[], float]

    def running(self) -> Counted:
        """The running program. Raises FaultError."""
        found = self.program()
        if found is None:
            raise FaultError("The program is not running.")
        return found


class HeldFault(ABC):
    """One fault. All methods are called from the shim's loop and return at once.

    `inject` is called once, then `step` until `active` or the end of `settle_s`; `undo` again and again until `undone`.
    """

    settle_s: ClassVar[float] = 3.0
    """How long it may take to show."""
    alone: ClassVar[bool] = True
    """Whether a second one of its kind is refused meanwhile."""

    def __init__(self) -> None:
        self.pid: int | None = None
        """The program whose end is its end; null when it does not depend on one."""
        self.affected = 0
        self.detail = ""

    @abstractmethod
    def inject(self) -> None:
        """Begin. Raises FaultError with nothing changed."""

    def step(self) -> None:  # noqa: B027 - most faults are begun at once
        """Carry on with what takes time. Raises FaultError with nothing changed."""

    def stopped(self, tid: int, status: int) -> None:  # noqa: B027 - most faults trace nothing
        """The kernel reports a stop of a thread that the shim traces, with its wait status."""

    @abstractmethod
    def active(self) -> bool:
        """Whether the kernel says that it is in place."""

    @abstractmethod
    def undo(self) -> None:
        """Take it away as far as that goes now. Idempotent."""

    @abstractmethod
    def undone(self) -> bool:
        """Whether the kernel says that nothing of it is left."""


def in_pieces(total: int, piece: int) -> Iterator[int]:
    """Sizes of at most `piece` that add up to `total`."""
    while total > 0:
        yield min(piece, total)
        total -= piece
