"""What a driver brings so that its replicas can be supervised: a way to start a program, and one start of it.

Protocols only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from backend.contract.fleet import ExitRecord
from backend.fleet.supervision.marks import DrillMarks
from backend.fleet.supervision.seed import ReplicaSeed


class Usage(msgspec.Struct, frozen=True):
    """`cpu_percent` of one core since the last measurement (null at the first), memory in use now, bytes/s moved."""

    cpu_percent: float | None
    memory_bytes: int
    net_rx_bytes_per_s: float | None = None
    net_tx_bytes_per_s: float | None = None


class Incarnation(Protocol):
    """One start of a replica's program, alive or ended."""

    @property
    def pid(self) -> int | None:
        """Null once it is seen to be dead."""
        ...

    @property
    def started_ts(self) -> float: ...

    @property
    def host(self) -> str | None:
        """An address of its own, at which it listens on its ports; null: they are at its workload's host."""
        ...

    @property
    def keeper_pid(self) -> int | None:
        """Of the process of ours that holds it (a shim), where there is one."""
        ...

    def watch(self, on_death: Callable[[], None], on_exit: Callable[[ExitRecord], None]) -> None:
        """Call `on_death` on the loop as soon as it is seen to be dead, `on_exit` once it is known how it ended.

        An exit that nobody was there to hear is told as well. May be called again after `unwatch`.
        """
        ...

    def unwatch(self) -> None:
        """Nothing is called from here on."""
        ...

    async def signal(self, number: int) -> None:
        """Signal the program itself. Raises TrinityError when it is not running."""
        ...

    async def stop(self, grace_s: float) -> ExitRecord:
        """Stop signal, SIGKILL after `grace_s`; it has ended on return.

        Raises Unreachable where who runs it is away."""
        ...

    async def release(self) -> None:
        """Let go of one that has ended: nothing of this start is left on return."""
        ...

    async def detach(self) -> None:
        """Let go of one that goes on."""
        ...

    def note_exit(self, seed: ReplicaSeed) -> None:
        """Write down that its end was seen, so that an adopting daemon does not tell it again. Raises OSError."""
        ...


class Starter(Protocol):
    """One replica's way to a running program."""

    @property
    def marks(self) -> DrillMarks: ...

    def hindrance(self) -> str:
        """Why no program can be started now, as a phrase for people; empty when one can. Free, never blocks."""
        ...

    def busy(self) -> str:
        """What a start under way waits for, as a phrase for people; empty for nothing in particular."""
        ...

    async def start(self, seed: ReplicaSeed) -> Incarnation:
        """Start the program. Raises TrinityError or OSError."""
        ...

    async def before_end(self) -> None:
        """Take away what would keep the program from ending in order (a freeze, a fault). Never raises."""
        ...

    async def forget(self, seed: ReplicaSeed) -> None:
        """The replica is gone for good: remove what is left of it. Raises TrinityError where that cannot be done."""
        ...
