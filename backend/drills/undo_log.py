"""The undo log: `undo.jsonl` of a run, written and fsynced before each injection. The warden shares this format only.

Append-only JSON lines: an `undo` line says how one fault is taken away, a `result` line that somebody did so, a
`closed` line that the run ended with nothing left. A torn last line belongs to a fault that was never injected.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from backend.contract.faults import FaultKind, Holder

FILE_NAME: Final = "undo.jsonl"
UndoKind = Literal[
    "resume",
    "release-hold",
    "await-ready",
    "holder",
    "start-fault",
    "rescale",
    "await-edge",
    "await-daemon",
    "unsplice",
    "uncordon",
    "nothing",
]
"""`resume`: SIGCONT (only in logs of earlier versions, where no shim held a stop). `release-hold`, `start-fault`: let
supervision restart it, as it should. `await-ready`, `await-edge`, `await-daemon`: nothing is held back, it comes by
itself. `holder`: take the fault away where it is held. `rescale`: the replica count it had. `unsplice`: the workload's
replicas straight behind the edge again. `uncordon`: its node takes replicas again. `nothing`: an ordinary action that
leaves nothing behind."""


_WORDS: Final = {
    "resume": "resume",
    "release-hold": "let supervision restart",
    "await-ready": "await Ready of",
    "holder": "take the fault away from",
    "start-fault": "let starts succeed again of",
    "await-edge": "await the edge of",
    "await-daemon": "await the daemon of",
    "unsplice": "lead edge and probes straight to the replicas of",
    "nothing": "nothing is left by the action on",
}


class Undo(msgspec.Struct, frozen=True, kw_only=True, tag="undo"):
    """How one fault is taken away. `resume` and `holder` need no daemon; the others are left to the next one."""

    id: str
    kind: UndoKind
    run_id: str
    workload: str
    replica: str
    pid: int
    mark: str
    """The process's start mark (see `processes`)."""
    written_ts: float
    ttl_s: float
    """The warden undoes it this long after it was written, lease or no lease."""
    holder: Holder | None = None
    """Who holds the fault (kind `holder`)."""
    fault_id: str = ""
    """The id of the order it holds."""
    fault_kind: FaultKind | None = None
    """What it holds; some kinds can be taken away without it (`direct`)."""
    node: str = ""
    """What was cordoned (kind `uncordon`)."""
    replicas: int | None = None
    """The wanted count before (kind `rescale`)."""

    def describe(self) -> str:
        whom = f"{self.replica} (pid {self.pid})" if self.replica else self.workload
        if self.kind == "uncordon":
            return f"uncordon {self.node}"
        if self.kind == "rescale":
            return f"scale {self.workload} back to {self.replicas}"
        return f"{_WORDS[self.kind]} {whom}"


class Result(msgspec.Struct, frozen=True, kw_only=True, tag="result"):
    """That an undo was tried. Only `verified` ends it."""

    id: str
    done: bool
    verified: bool
    by: Literal["daemon", "warden", "recovery"]
    detail: str = ""
    ts: float


class Closed(msgspec.Struct, frozen=True, kw_only=True, tag="closed"):
    """The run is over and nothing is left in place."""

    ts: float


Entry = Undo | Result | Closed
_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Entry)


def append(run_dir: Path, *entries: Entry) -> None:
    """Write one line each and fsync file and directory once, before returning. Blocks: call it in a thread.

    Raises OSError.
    """
    if not entries:
        return
    path = run_dir / FILE_NAME
    fresh = not path.exists()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        lines = b"".join(_ENCODER.encode(entry) + b"\n" for entry in entries)
        if os.write(descriptor, lines) != len(lines):
            raise OSError(f"short write to {path}")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if fresh:
        directory = os.open(run_dir, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def read(run_dir: Path) -> list[Entry]:
    """All whole lines. A missing file is an empty log. Raises OSError; a damaged inner line raises msgspec errors."""
    try:
        raw = (run_dir / FILE_NAME).read_bytes()
    except FileNotFoundError:
        return []
    lines = raw.split(b"\n")
    return [_DECODER.decode(line) for line in lines[:-1] if line]


def standing(entries: Sequence[Entry]) -> dict[str, Result]:
    """What counts of each undo: its last result. A warden that could not do it is no witness against who did: slower
    than the next daemon, it writes last that this is left to the next daemon."""
    found: dict[str, Result] = {}
    for entry in entries:
        if isinstance(entry, Result):
            before = found.get(entry.id)
            if before is None or entry.verified or entry.by != "warden" or not before.verified:
                found[entry.id] = entry
    return found


def pending(entries: Sequence[Entry]) -> list[Undo]:
    """Undos that are not verified, last in first."""
    results = standing(entries)
    undos = [entry for entry in reversed(entries) if isinstance(entry, Undo)]
    return [undo for undo in undos if undo.id not in results or not results[undo.id].verified]


def is_closed(entries: Sequence[Entry]) -> bool:
    return any(isinstance(entry, Closed) for entry in entries)
