"""A run in a process of its own, outside the daemon: what that process (the observer) keeps in the run's directory.

`observer.json` says who runs it, `view.json` how it stands, `events.jsonl` what it has to say, `stop.json` why it was
asked to end. Daemon and CLI read these whether or not the other lives. Runs nothing itself.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from backend.contract.control import DrillView
from backend.contract.rows import EventRow
from backend.drills import processes
from backend.drills.check import Compiled
from backend.drills.scenario import FaultName

OBSERVER: Final = "observer.json"
VIEW: Final = "view.json"
EVENTS: Final = "events.jsonl"
STOP: Final = "stop.json"
OUTSIDE_FAULTS: Final[frozenset[FaultName]] = frozenset({"daemon.kill"})
"""Faults that end the daemon, so that a run with one of them cannot live in it."""

T = TypeVar("T")


class Observer(msgspec.Struct, frozen=True, kw_only=True):
    """The process that runs a drill outside the daemon."""

    pid: int
    mark: str


class StopWish(msgspec.Struct, frozen=True, kw_only=True):
    """Why the run is to end now."""

    reason: str


def is_outside(compiled: Compiled) -> bool:
    """Whether the scenario must run outside the daemon."""
    return any(injection.fault in OUTSIDE_FAULTS for injection in compiled.scenario.injections())


def refusal(compiled: Compiled) -> str:
    """Why such a run cannot be; empty when it can. Outside the daemon there is no gateway for other faults."""
    others = [j for j in compiled.scenario.injections() if j.fault not in OUTSIDE_FAULTS]
    if not is_outside(compiled) or not others:
        return ""
    return f"A drill that kills the daemon takes no other fault ({others[0].id} is {others[0].fault})."


def announce(run_dir: Path) -> None:
    """Say that this process runs the drill. Raises OSError."""
    _write(run_dir / OBSERVER, Observer(pid=os.getpid(), mark=processes.start_mark(os.getpid()) or ""))


def observer(run_dir: Path) -> Observer | None:
    """Who runs or ran it outside the daemon; None for a run inside."""
    return _read(run_dir / OBSERVER, Observer)


def observed(run_dir: Path) -> bool:
    """Whether a living process runs it, so that nobody else may finish or undo it."""
    who = observer(run_dir)
    return who is not None and not processes.is_gone(who.pid, who.mark)


def ask_stop(run_dir: Path, reason: str) -> bool:
    """Ask the observer to roll back and end; False when none lives. Needs no daemon. The first reason counts."""
    who = observer(run_dir)
    if who is None or processes.is_gone(who.pid, who.mark):
        return False
    if not (run_dir / STOP).exists():
        _write(run_dir / STOP, StopWish(reason=reason))
    try:
        os.kill(who.pid, signal.SIGTERM)
    except ProcessLookupError:
        return False
    return True


def stop_reason(run_dir: Path) -> str:
    """Why it was asked to end."""
    wish = _read(run_dir / STOP, StopWish)
    return wish.reason if wish else "the observer was asked to end"


def write_view(run_dir: Path, view: DrillView) -> None:
    """How the run stands, whole or not at all. Raises OSError."""
    _write(run_dir / VIEW, view)


def read_view(run_dir: Path) -> DrillView | None:
    """How the run stands; None before it said so."""
    return _read(run_dir / VIEW, DrillView)


def append_events(run_dir: Path, events: Sequence[EventRow]) -> None:
    """Keep events for the daemons to take into the ledger. Raises OSError."""
    with (run_dir / EVENTS).open("ab", buffering=0) as file:
        file.write(b"".join(msgspec.json.encode(event) + b"\n" for event in events))


def read_events(run_dir: Path, offset: int) -> tuple[list[EventRow], int]:
    """Whole events from a byte offset on, and the offset after them."""
    try:
        with (run_dir / EVENTS).open("rb") as file:
            file.seek(offset)
            raw = file.read()
    except FileNotFoundError:
        return [], offset
    whole = raw[: raw.rfind(b"\n") + 1]
    return [msgspec.json.decode(line, type=EventRow) for line in whole.splitlines()], offset + len(whole)


def _read(path: Path, kind: type[T]) -> T | None:
    """A file that is replaced whole is either there or not."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None


def _write(path: Path, value: msgspec.Struct) -> None:
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    draft.write_bytes(msgspec.json.encode(value) + b"\n")
    draft.replace(path)
