"""What a drill may have left behind on a machine: stopped processes, frozen threads, held faults, stray programs.

Looks at the kernel and at the holders themselves, never at what a daemon says of them.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil

from backend.contract.faults import HolderAnswer, HolderOperation
from tests.e2e.harness import RealFleet

ALLOWED = ("-m backend.daemon --state", "haproxy", "light_engine.py", "backend.serving")
"""Programs of a fleet that are there when no drill runs; shims besides, each with one child."""
SHIM = "-m backend.shim"
ANSWER_S = 10.0
"""Who says nothing for so long is taken for one that holds nothing: long enough for a machine that stood still."""


class Look(msgspec.Struct, frozen=True):
    """What was found, in words; empty when the fleet is as it was."""

    stopped: tuple[str, ...]
    faults: tuple[str, ...]
    strays: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.stopped or self.faults or self.strays)

    def __str__(self) -> str:
        return "; ".join((*self.stopped, *self.faults, *self.strays)) or "nothing"


def look(fleet: RealFleet, *, proxies: bool = True) -> Look:
    """Everything of a drill that is in place now. Without `proxies`, neutral ones may be there: traffic goes through
    them until a daemon has led it straight again."""
    processes = fleet.processes()
    return Look(
        stopped=tuple(text for process in processes for text in stopped(process)),
        faults=tuple(held_faults(fleet.paths.run_dir)),
        strays=tuple(strays(processes, proxies=proxies)),
    )


def stopped(process: psutil.Process) -> Iterator[str]:
    """The process, or threads of it, in state T."""
    with contextlib.suppress(OSError, psutil.Error, ValueError):
        for task in Path(f"/proc/{process.pid}/task").iterdir():
            state = (task / "stat").read_text().rpartition(")")[2].split()[0]
            if state in "Tt":
                yield f"{process.name()} {process.pid} has thread {task.name} in state {state}"


def held_faults(run_dir: Path) -> Iterator[str]:
    """Every fault that a holder of this fleet says is active."""
    shims = [
        path for path in run_dir.glob("*.sock") if path.name != "control.sock" and not path.name.startswith("edge")
    ]
    for path in sorted([*shims, *run_dir.glob("*.ctl")]):
        for fault in ask(path, "faults").faults:
            if fault.active:
                yield f"{path.name} holds {fault.kind} ({fault.id}, {fault.left_s:.1f} s left)"


def ask(path: Path, op: HolderOperation) -> HolderAnswer:
    """A holder's answer; an empty one where nobody listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link, contextlib.suppress(OSError, msgspec.DecodeError):
        link.settimeout(ANSWER_S)
        link.connect(str(path))
        link.sendall(msgspec.json.encode({"id": 1, "op": op}) + b"\n")
        with link.makefile("rb") as lines:
            for line in lines:
                answer = msgspec.json.decode(line, type=HolderAnswer)
                if answer.id == 1:
                    return answer
    return HolderAnswer()


def strays(processes: list[psutil.Process], *, proxies: bool) -> Iterator[str]:
    """Programs that are there only for a drill: wardens, observers, generators, fault proxies, burners."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            words = " ".join(process.cmdline())
            if any(known in words for known in ALLOWED):
                continue
            is_proxy = "backend.drills.proxy" in words or ".proxy." in words
            if is_proxy and not proxies:
                continue
            parent = process.parent()
            if SHIM in words and not is_proxy:
                if parent is None or SHIM not in " ".join(parent.cmdline()):
                    continue
                words = f"a worker of shim {parent.pid}"
            if words:
                yield f"process {process.pid} is left: {words[-120:]}"
