"""What one look at a working engine shows: the evidence on which a stuck one is told from a slow one."""

from __future__ import annotations

import msgspec


class EnginePulse(msgspec.Struct, frozen=True, kw_only=True):
    """A replica's engine at one instant. Null: it does not say, or nobody can see it."""

    pid: int
    answers: int
    """How often it has answered since it is watched."""
    progress: float | None = None
    """Its counter of steps at the newest answer; any change is progress."""
    pending: bool | None = None
    """Whether it had work at the newest answer."""
    cpu_s: float | None = None
    """Processor time of all its threads so far."""
    runnable: bool = False
    """A computing thread runs, waits for a processor, or waits for the disk."""
    halted: bool = False
    """A computing thread is held by a stop signal or a tracer."""
