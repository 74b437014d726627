"""Taking a fault away without a daemon: straight at its holder's socket, or at the process itself. Blocking.

For the warden, and for a daemon whose own way failed. Imports little: the warden must start fast and stay small.
"""

from __future__ import annotations

import socket
import time

import msgspec

from backend.contract.faults import FaultReport, HolderAnswer, HolderRequest
from backend.drills import processes
from backend.drills.undo_log import Undo

DEADLINE_S = 0.5
"""For one attempt at one holder: one that hangs must not keep others waiting."""


class Attempt(msgspec.Struct, frozen=True):
    """What one attempt came to. Not `gone`: try again."""

    gone: bool
    detail: str


class HolderSilent(Exception):
    """The holder did not answer as it should within its deadline."""


def take_away(undo: Undo, deadline_s: float = DEADLINE_S) -> Attempt:
    """One attempt at an undo of kind `resume` or `holder`. Returns within about `deadline_s`. Never raises OSError."""
    if undo.kind == "resume":
        return _resume(undo)
    assert undo.holder is not None
    if processes.is_gone(undo.holder.pid, undo.holder.mark):
        return _on_the_process(undo, "its holder has ended")
    try:
        left = heal(undo, deadline_s)
    except (OSError, HolderSilent, msgspec.MsgspecError) as error:
        return _on_the_process(undo, f"its holder does not answer ({error})", holder_ended=False)
    if left is not None:
        return Attempt(False, f"its holder still has it: {left.detail or left.kind}")
    return Attempt(False, "its holder says gone, the process does not") if still_in_kernel(undo) else _said_gone(undo)


def _said_gone(undo: Undo) -> Attempt:
    return Attempt(True, f"taken away by its {undo.holder.kind if undo.holder else 'holder'}")


def heal(undo: Undo, deadline_s: float = DEADLINE_S) -> FaultReport | None:
    """Ask the holder to heal, then what it holds: the fault if it still is active, else None.

    Raises OSError, HolderSilent or msgspec errors.
    """
    assert undo.holder is not None
    end = time.monotonic() + deadline_s
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(deadline_s)
        link.connect(undo.holder.socket_path)
        buffer = bytearray()
        _ask(link, buffer, HolderRequest(id=1, op="heal", fault_id=undo.fault_id), end)
        answer = _ask(link, buffer, HolderRequest(id=2, op="faults"), end)
    if answer.error:
        raise HolderSilent(answer.error)
    return next((report for report in answer.faults if report.id == undo.fault_id and report.active), None)


def _ask(link: socket.socket, buffer: bytearray, request: HolderRequest, end: float) -> HolderAnswer:
    """Lines with another id (a shim tells other things too) are passed over."""
    link.sendall(msgspec.json.encode(request) + b"\n")
    while True:
        while b"\n" in buffer:
            line, _, rest = bytes(buffer).partition(b"\n")
            buffer[:] = rest
            answer = _answer(line)
            if answer is not None and answer.id == request.id:
                return answer
        left = end - time.monotonic()
        if left <= 0:
            raise HolderSilent("no answer in time")
        link.settimeout(left)
        chunk = link.recv(65536)
        if not chunk:
            raise HolderSilent("it closed the connection")
        buffer += chunk


def _answer(line: bytes) -> HolderAnswer | None:
    try:
        return msgspec.json.decode(line, type=HolderAnswer)
    except msgspec.ValidationError:
        return None


def _resume(undo: Undo) -> Attempt:
    if not processes.resume(undo.pid, undo.mark):
        return Attempt(True, "the process has ended")
    return Attempt(not processes.is_stopped(undo.pid, undo.mark), "resumed")


def _on_the_process(undo: Undo, why: str, *, holder_ended: bool = True) -> Attempt:
    """What can be mended on the process itself; everything else ends with its holder."""
    if processes.is_gone(undo.pid, undo.mark):
        return Attempt(True, f"{why}; the process has ended")
    if undo.fault_kind == "stop":
        processes.resume(undo.pid, undo.mark)
    elif undo.fault_kind == "exhaust-descriptors":
        processes.free_descriptors(undo.pid, undo.mark)
    elif not holder_ended:
        return Attempt(False, why)
    return Attempt(not still_in_kernel(undo), f"{why}; the process goes on")


def still_in_kernel(undo: Undo) -> bool:
    """Whether the kernel still shows the fault on the very process; False where that cannot be seen."""
    if processes.is_gone(undo.pid, undo.mark):
        return False
    if undo.fault_kind == "stop" or undo.kind == "resume":
        return processes.is_stopped(undo.pid, undo.mark)
    if undo.fault_kind == "freeze-engine":
        return processes.stopped_threads(undo.pid)[0] > 0
    if undo.fault_kind == "exhaust-descriptors":
        return processes.lacks_descriptors(undo.pid) is True
    return False
